#!/bin/sh
# mmdebstrap calls this with the root directory of the new system: the host's own Rust toolchain goes in, so that the
# container compiles with the compiler the developer has. RUST_SYSROOT is what `rustc --print sysroot` says, PROGRAMS a folder with
# the programs that bases.toml names.
set -eu
root=$1
install -d "$root/usr/local/rust"
cp -a "$RUST_SYSROOT/bin" "$RUST_SYSROOT/lib" "$root/usr/local/rust/"
find "$PROGRAMS" -type f -exec install -m 0755 -t "$root/usr/local/bin" {} +
rm -rf "$root/var/lib/apt/lists" "$root/var/cache/apt" "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/locale"
