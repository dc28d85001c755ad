#!/bin/sh
# mmdebstrap calls this with the root directory of the new system: the entrypoint, and the folder that the official
# image has as well, owned by the database's user, so that one compose.yaml serves both.
set -eu
root=$1
install -m 0755 "$POSTGRES_ENTRYPOINT" "$root/usr/local/bin/docker-entrypoint.sh"
install -d -o "$(sed -n 's/^postgres:[^:]*:\([0-9]*\):.*/\1/p' "$root/etc/passwd")" \
  -g "$(sed -n 's/^postgres:[^:]*:[0-9]*:\([0-9]*\):.*/\1/p' "$root/etc/passwd")" -m 0700 \
  "$root/var/lib/postgresql/data"
rm -rf "$root/var/lib/apt/lists" "$root/var/cache/apt" "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/locale"
