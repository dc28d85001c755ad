#!/bin/sh
# Starts Postgres as the official image does, for the variables that this repository uses: POSTGRES_USER,
# POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE, POSTGRES_DB, PGDATA. Runs as the user `postgres`, on a read-only root.
set -eu
PATH=/usr/lib/postgresql/17/bin:$PATH
PGDATA=${PGDATA:-/var/lib/postgresql/data}
export PATH PGDATA

if [ "${1:-postgres}" != postgres ]; then
  exec "$@"
fi
shift 2>/dev/null || true

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # PGDATA may be a folder of a mount; Postgres insists that nobody else can read it.
  mkdir -p -m 0700 "$PGDATA"
  if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
    POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
  fi
  if [ -z "${POSTGRES_PASSWORD:-}" ]; then
    echo 'the database is new: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE' >&2
    exit 78
  fi
  user=${POSTGRES_USER:-postgres}
  database=${POSTGRES_DB:-$user}
  # The cluster is made beside its place and PG_VERSION arrives last, so a first start that was killed half-way is made
  # again from nothing.
  find "$PGDATA" -mindepth 1 -delete
  new=$PGDATA/.new
  password_file=/tmp/initdb-password
  (umask 077 && printf '%s\n' "$POSTGRES_PASSWORD" >"$password_file")
  initdb --pgdata="$new" --username="$user" --pwfile="$password_file" --encoding=UTF8 --locale=C.UTF-8 \
    --auth-host=scram-sha-256 --auth-local=trust --no-instructions >/dev/null
  rm -f "$password_file"
  echo 'host all all all scram-sha-256' >>"$new/pg_hba.conf"
  if [ "$database" != postgres ]; then
    # This first server listens on its socket only, so nobody takes it for the real one.
    pg_ctl --pgdata="$new" --silent --wait -o "-c listen_addresses='' -c unix_socket_directories=/tmp" start
    psql --quiet --no-psqlrc --host=/tmp --username="$user" --dbname=postgres --set=name="$database" <<'SQL'
CREATE DATABASE :"name";
SQL
    pg_ctl --pgdata="$new" --silent --wait --mode=fast stop
  fi
  for entry in "$new"/*; do
    case $entry in */PG_VERSION) ;; *) mv "$entry" "$PGDATA/" ;; esac
  done
  mv "$new/PG_VERSION" "$PGDATA/" && rmdir "$new"
fi
unset POSTGRES_PASSWORD
# The socket goes where every start finds the same rights. A tmpfs on /var/run/postgresql, which is no folder of this image, is
# everybody's at the first start of a container and root's alone when runc 1.1 starts it again.
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
