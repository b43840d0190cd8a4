#!/bin/sh
# Installs S3 servers that others wrote, once, outside the repository, for `npm run test:stores`. Those that take minutes
# to build (MinIO, rclone) or to unpack (Ceph RGW, Debian's: scripts/ceph.sh makes a cluster of it in a folder) only with
# --all. What cannot be installed here is left out, and the test skips it aloud. One that runs already is named by
# TEST_STORE_ENDPOINT, TEST_STORE_KEY (access:secret), TEST_STORE_NAME and TEST_STORE_VERSION.
set -u
moto=5.2.5
s3mock=4.12.4
minio=v0.0.0-20260212201848-7aac2a2c5b7c
rclone=v1.73.5

tools=${AUTODJ_TOOLS:-$HOME/.cache/autodj-tools}
mkdir -p "$tools"
"$(dirname "$0")/tools.sh" >/dev/null || echo 'stores.sh: no versitygw' >&2

if [ ! -x "$tools/moto/bin/moto_server" ]; then
  rm -rf "$tools/moto"
  { python3 -m venv "$tools/moto" && "$tools/moto/bin/pip" install -q "moto[server]==$moto"; } >&2 ||
    echo 'stores.sh: no moto' >&2
fi
if [ ! -f "$tools/s3mock/s3mock.jar" ]; then
  mkdir -p "$tools/s3mock"
  mvn -q -B dependency:copy "-Dartifact=com.adobe.testing:s3mock:$s3mock:jar:exec" \
    "-DoutputDirectory=$tools/s3mock" -Dmdep.stripVersion=true -Dmdep.stripClassifier=true >&2 ||
    echo 'stores.sh: no S3Mock' >&2
fi
if [ "${1:-}" = --all ]; then
  [ -x "$tools/minio/minio" ] || GOBIN=$tools/minio go install "github.com/minio/minio@$minio" >&2
  [ -x "$tools/rclone/rclone" ] || GOBIN=$tools/rclone go install "github.com/rclone/rclone@$rclone" >&2
  if ! command -v radosgw >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends ceph-mon ceph-osd ceph-common radosgw >&2 ||
      echo 'stores.sh: no Ceph RGW' >&2
  fi
fi
echo "$tools"
