#!/bin/sh
# Installs the S3 server the integration tests and the bench run against, once, outside the repository, and prints
# the folder it is in. Needs Go. The version is pinned: test/integration/object-store.test.ts knows its ways.
set -eu
versitygw=v1.8.0

tools=${AUTODJ_TOOLS:-$HOME/.cache/autodj-tools}
bin=$tools/versitygw-$versitygw
if [ ! -x "$bin/versitygw" ]; then
  command -v go >/dev/null || { echo 'tools.sh: Go is needed to build versitygw (https://go.dev/dl)' >&2; exit 1; }
  mkdir -p "$bin"
  GOBIN=$bin go install "github.com/versity/versitygw/cmd/versitygw@$versitygw" >&2
fi
echo "$bin"
