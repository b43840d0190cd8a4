#!/bin/sh
# Runs a command with a real S3 server beside it, named by TEST_S3_*, on a free port and a folder that goes away:
#   scripts/versitygw.sh npm run test:integration
set -eu
bin=$("$(dirname "$0")/tools.sh")
dir=$(mktemp -d)
server=
trap 'test -z "$server" || kill "$server" 2>/dev/null; rm -rf "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir "$dir/data" "$dir/versions"
port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })')

"$bin/versitygw" --access autodj --secret autodj-secret --port "127.0.0.1:$port" --keep-alive --quiet \
  posix --versioning-dir "$dir/versions" "$dir/data" >"$dir/log" 2>&1 &
server=$!
tries=0
until node -e "require('net').connect($port, '127.0.0.1').on('connect', () => process.exit(0)).on('error', () => process.exit(1))"; do
  tries=$((tries + 1))
  if [ $tries -gt 50 ] || ! kill -0 "$server" 2>/dev/null; then
    echo 'versitygw.sh: the server did not start:' >&2
    cat "$dir/log" >&2
    exit 1
  fi
  sleep 0.1
done

TEST_S3_ENDPOINT=http://127.0.0.1:$port TEST_S3_ACCESS_KEY=autodj TEST_S3_SECRET_KEY=autodj-secret \
  TEST_S3_SERVER=versitygw "$@"
