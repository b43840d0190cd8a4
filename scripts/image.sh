#!/bin/sh
# Builds the image of the Dockerfile without a daemon (buildah) and runs it as production does: another user than root,
# no capabilities, nothing to gain, a read-only root, no network. Prints its size; exits with 1 and says what is wrong.
#
#   npm run test:image          as root, on Linux; Debian: apt-get install buildah iproute2; takes minutes, most for ffmpeg
#   IMAGE=NAME npm run test:image   only runs an image that is there
#
# The base image is pulled, unless there is one of that name. What decodes audio in the image is also put before the tests
# that know every format.
set -eu
cd "$(dirname "$0")/.."
for program in buildah unshare setpriv ip; do
  command -v "$program" >/dev/null || { echo "image.sh: $program is not installed" >&2; exit 1; }
done
# Files copied instead of mounted: what works inside another container, too.
export STORAGE_DRIVER="${STORAGE_DRIVER:-vfs}"
work=$(mktemp -d)
container='' server=''
trap 'test -z "$server" || kill "$server" 2>/dev/null; test -z "$container" || buildah rm "$container" >/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
  echo "image.sh: $1" >&2
  [ ! -f "$work/out" ] || tail -30 "$work/out" >&2
  exit 1
}

if [ -z "${IMAGE:-}" ]; then
  # Docker's format: that of OCI has no health check.
  buildah bud --isolation chroot --network host --format docker --pull=ifmissing --tag autodj:test . >"$work/out" 2>&1 ||
    fail 'it does not build'
fi
container=$(buildah from --pull-never "${IMAGE:-autodj:test}")
root=$(buildah mount "$container")
export root

# in_image COMMAND...: it is process 1, as docker makes it.
in_image() {
  unshare --mount --pid --fork --net sh -c '
    mount --bind "$root" "$root" && mount --bind /dev "$root/dev" && mount -t proc proc "$root/proc"
    for one in tmp work; do mount -t tmpfs -o mode=1777 tmpfs "$root/$one"; done
    mount -o remount,ro,bind "$root" && ip link set lo up
    exec chroot "$root" setpriv --reuid 1000 --regid 1000 --clear-groups --no-new-privs --bounding-set=-all \
      env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/home/node NODE_ENV=production AUDIO_ROOT=/audio \
      S3_BUCKET_NAME=music CLOUDFRONT_DOMAIN=http://127.0.0.1:9 sh -c "cd /work && exec \"\$@\"" sh "$@"
  ' sh "$@"
}
autodj() { in_image tini -- autodj "$@" >"$work/out" 2>&1; }

autodj --version || fail '--version does not run'
grep -qx "$(node -p 'require("./package.json").version')" "$work/out" || fail 'another version'
if in_image touch /app/x 2>"$work/out"; then fail 'its root can be written to'; fi
autodj demo || fail 'the demo fails'
autodj doctor || true # without a bucket most of it fails
grep -q 'decoded by ffmpeg' "$work/out" || fail 'doctor does not find ffmpeg'

in_image sh -c 'autodj migrate && exec tini -- autodj serve --host 0.0.0.0' >"$work/out" 2>&1 &
server=$!
tries=0
until tini=$(pgrep --full --newest '^tini -- autodj serve') &&
  nsenter --target "$tini" --mount --pid --net chroot "$root" setpriv --reuid 1000 --clear-groups --regid 1000 node /app/docker-health.js; do
  tries=$((tries + 1))
  [ $tries -lt 60 ] || fail 'serve does not become healthy'
  sleep 1
done
kill -TERM "$tini"
wait "$server" || fail 'serve does not end with 0 at SIGTERM'
server=''

mkdir "$work/bin"
cp "$root/usr/local/bin/ffmpeg" "$work/bin/"
# Two tests have ffmpeg encode what they decode, which this one does not.
PATH="$work/bin:$PATH" node_modules/.bin/vitest run -t '^(?!.*for a digital output)' \
  test/contract/decoder.test.ts test/contract/formats.test.ts >"$work/out" 2>&1 ||
  fail 'its ffmpeg does not decode what the tests know'
du -sm "$root" | awk '{ print $1 " MB" }'
