#!/bin/sh
# A throw-away PostgreSQL 15 for the integration tests.
#
#   scripts/postgres.sh start   installs Debian's postgresql-15 if it is absent (as root, apt-get), starts a server as
#                               user postgres in a new temporary folder and prints its URL, and nothing else, on stdout
#   scripts/postgres.sh stop URL   stops the server at that URL and removes its folder
#
# The server trusts every local connection and does not wait for the disk: not for data that anyone wants to keep.
set -eu

say() { echo "postgres.sh: $*" >&2; }

bin_dir() {
  for dir in /usr/lib/postgresql/15/bin /usr/local/opt/postgresql@15/bin /opt/homebrew/opt/postgresql@15/bin; do
    if [ -x "$dir/initdb" ]; then echo "$dir"; return; fi
  done
}

# Runs a command as a user that PostgreSQL accepts: it refuses root.
as_user() {
  if [ "$(id -u)" = 0 ]; then su postgres -s /bin/sh -c "$*"; else sh -c "$*"; fi
}

start() {
  if [ -z "$(bin_dir)" ]; then
    say 'installing postgresql-15'
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql-15; } >&2
  fi
  bin=$(bin_dir)
  [ -n "$bin" ] || { say 'no PostgreSQL 15 here'; exit 1; }
  dir=$(mktemp -d "${TMPDIR:-/tmp}/autodj-postgres.XXXXXX")
  [ "$(id -u)" != 0 ] || chown postgres "$dir"
  port=$(free_port)
  as_user "$bin/initdb -D $dir/data -U autodj -A trust -E UTF8 --locale=C.UTF-8 -N" >"$dir.log" 2>&1 ||
    { cat "$dir.log" >&2; exit 1; }
  rm -f "$dir.log"
  as_user "cat >> $dir/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$dir'
max_connections = 300
fsync = off
synchronous_commit = off
full_page_writes = off
CONF
  as_user "$bin/pg_ctl -D $dir/data -l $dir/log -w start" >&2 || { cat "$dir/log" >&2; exit 1; }
  echo "postgresql://autodj@127.0.0.1:$port/postgres"
}

free_port() {
  node -e "const s = require('node:net').createServer().listen(0, '127.0.0.1', () => { console.log(s.address().port); s.close() })"
}

stop() {
  bin=$(bin_dir)
  data=$("$bin/psql" "$1" -Atc 'show data_directory')
  case "$data" in */autodj-postgres.*/data) ;; *) say "$data was not made by this script"; exit 1 ;; esac
  as_user "$bin/pg_ctl -D $data -m immediate -w stop" >&2
  rm -rf "${data%/data}"
}

case "${1-}" in
  start) start ;;
  stop) [ -n "${2-}" ] || { say 'stop wants the URL'; exit 2; }; stop "$2" ;;
  *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
