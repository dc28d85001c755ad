#!/bin/sh
# Splits a workspace by what changes how often, for the stages of a Dockerfile: split-workspace.sh FROM TO
#
#   TO/dependencies     every manifest without what changes no dependency, the lock, cargo's configuration, and an empty source
#                       for every target: compiling it compiles the packages from the registry and nothing else
#   TO/libraries        the sources of the members that are no image: those that have no Dockerfile beside their manifest
#   TO/members/PACKAGE  the manifest, the sources and the lock of one member that is an image
#
# `COPY --from` is keyed by content, so each part gives a layer that is built again when that part changes. Versions of members
# are masked with 0.0.0 in the dependencies, and those of images everywhere but in their own part: a release of a member compiles
# no dependency, and that of an image nothing of another one.
set -eu
from=$1 to=$2
mask=0.0.0
mkdir -p "$to/dependencies" "$to/libraries" "$to/members"
cd "$from"

# The value of a key in the [package] table (or another one) of a manifest.
value() {
  awk -v table="$3" -v key="$2" '
    /^\[/ { inside = ($0 == "[" table "]") }
    inside && $1 == key && $2 == "=" { sub(/^[^=]*= */, ""); sub(/^"/, ""); sub(/".*$/, ""); print; exit }
  ' "$1"
}

# A manifest without comments, blank lines, descriptions and metadata, its version masked.
manifest() {
  awk -v mask="$mask" '
    /^ *#/ || /^ *$/ { next }
    /^\[/ { table = $0; skipped = (table ~ /^\[(package|workspace)\.metadata/ || table == "[lints]" || table ~ /^\[lints\./) }
    skipped { next }
    # A value that goes on in the next lines stays.
    table == "[package]" && $1 ~ /^(description|readme|repository|homepage|documentation|keywords|categories|authors|publish|license)(\.workspace)?$/ && !/(\[|""")[ \t]*$/ { next }
    (table == "[package]" || table == "[workspace.package]") && ($1 == "version" || $1 == "version.workspace") { print "version = \"" mask "\""; next }
    { print }
  ' "$1"
}

# The lock with the versions of all members masked: they are the packages without a source. The named ones keep their own.
lock() {
  awk -v mask="$mask" -v kept=" $* " '
    function flush() {
      if (member && index(kept, " " name " ") == 0) sub(/\nversion = "[^"]*"/, "\nversion = \"" mask "\"", block)
      printf "%s", block
      block = ""
    }
    /^\[\[package\]\]/ { flush(); member = 1; name = "" }
    /^name = / { name = $3; gsub(/"/, "", name) }
    /^source = / { member = 0 }
    { block = block $0 "\n" }
    END { flush() }
  ' Cargo.lock
}

# An empty source for every target that cargo finds by its place or that the manifest names.
stubs() {
  source=$1 target=$2
  mkdir -p "$target/src"
  # A member of which only the manifest is here is a library to everybody else.
  if [ -f "$source/src/main.rs" ]; then echo 'fn main() {}' >"$target/src/main.rs"; fi
  if [ -f "$source/src/lib.rs" ] || [ ! -f "$source/src/main.rs" ]; then : >"$target/src/lib.rs"; fi
  if [ -f "$source/build.rs" ]; then echo 'fn main() {}' >"$target/build.rs"; fi
  for file in "$source"/src/bin/*.rs; do
    if [ -f "$file" ]; then mkdir -p "$target/src/bin"; echo 'fn main() {}' >"$target/src/bin/${file##*/}"; fi
  done
  awk '$1 == "path" && $2 == "=" && /\.rs"/ { gsub(/"/, "", $3); print $3 }' "$source/Cargo.toml" | while read -r file; do
    mkdir -p "$target/$(dirname "$file")"
    [ -f "$target/$file" ] || echo 'fn main() {}' >"$target/$file"
  done
}

# Everything in a member's folder but its manifest and its tests.
sources() {
  (cd "$1" && find . -type f ! -name Cargo.toml ! -name Dockerfile ! -path './tests/*' ! -path './benches/*' ! -path './examples/*' ! -path './target/*' -print0 |
    tar -cf - --null --no-recursion -T -) | tar -xf - -C "$2"
}

# The whole manifest, with the version that it inherits written out: the one at the root is masked.
own_manifest() {
  version=$(value "$1/Cargo.toml" version package)
  [ -n "$version" ] || version=$(value Cargo.toml version workspace.package)
  sed "s/^version\.workspace *= *true/version = \"$version\"/; s/^version *= *{ *workspace *= *true *}/version = \"$version\"/" "$1/Cargo.toml"
}

manifest Cargo.toml >"$to/dependencies/Cargo.toml"
lock >"$to/dependencies/Cargo.lock"
for file in rust-toolchain.toml rust-toolchain .cargo/config.toml; do
  if [ -f "$file" ]; then mkdir -p "$to/dependencies/$(dirname "$file")"; cp "$file" "$to/dependencies/$file"; fi
done

# Each member once: its name and its folder. A workspace of one package has it at the root.
members=$(
  find . -name Cargo.toml ! -path '*/target/*' | sed 's|^\./||; s|/*Cargo\.toml$||' | sort | while read -r folder; do
    name=$(value "${folder:-.}/Cargo.toml" name package)
    if [ -n "$name" ]; then echo "$name ${folder:-.}"; fi
  done
)
libraries=$(echo "$members" | while read -r name path; do if [ ! -f "$path/Dockerfile" ]; then echo "$name"; fi; done | tr '\n' ' ')
# shellcheck disable=SC2086 # names without blanks, each a word
lock $libraries >"$to/libraries/Cargo.lock"

echo "$members" | while read -r name path; do
  mkdir -p "$to/dependencies/$path"
  if [ "$path" != . ]; then manifest "$path/Cargo.toml" >"$to/dependencies/$path/Cargo.toml"; fi
  stubs "$path" "$to/dependencies/$path"
  echo "$name" >>"$to/dependencies/.members"
  if [ -f "$path/Dockerfile" ]; then
    part="$to/members/$name"
    echo "$name" >>"$to/libraries/.images"
  else
    part="$to/libraries"
  fi
  mkdir -p "$part/$path"
  if [ "$path" != . ]; then own_manifest "$path" >"$part/$path/Cargo.toml"; fi
  sources "$path" "$part/$path"
  if [ -f "$path/Dockerfile" ]; then
    # shellcheck disable=SC2086
    lock "$name" $libraries >"$part/Cargo.lock"
  fi
done

# Folders get their times from the copying, and cargo asks files alone.
find "$to" -exec touch -d @0 {} +
