#!/bin/sh
# Builds the image of the Dockerfile without a daemon (buildah) and runs it as production does (podman): another user than
# root, a read-only root, no capabilities, no network. Prints the image's size; exits with 1 and says what is wrong.
#
#   npm run test:image    as root; Debian: apt-get install buildah podman crun; takes minutes, most of them for ffmpeg
#
# The base image is pulled, unless there is one of that name already. What decodes audio in the image is then put before
# the tests that know every format.
set -eu
cd "$(dirname "$0")/.."
for program in buildah podman; do
  command -v "$program" >/dev/null || { echo "image.sh: $program is not installed" >&2; exit 1; }
done
# Files copied instead of mounted, and no control groups: what works inside another container, too.
export STORAGE_DRIVER="${STORAGE_DRIVER:-vfs}" BUILDAH_ISOLATION=chroot
image=autodj:test
work=$(mktemp -d)
server=
trap 'test -z "$server" || podman rm --force "$server" >/dev/null 2>&1; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
  echo "image.sh: $1" >&2
  [ ! -f "$work/out" ] || tail -30 "$work/out" >&2
  exit 1
}
# in_image FLAGS -- COMMAND...
in_image() {
  flags=
  while [ "$1" != -- ]; do flags="$flags $1"; shift; done
  shift
  # shellcheck disable=SC2086 # several words on purpose
  podman run --rm --read-only --tmpfs /tmp --tmpfs /work:mode=1777 --cap-drop all --security-opt no-new-privileges \
    --network none --cgroups disabled $flags "$image" "$@" >"$work/out" 2>&1
}

# Docker's format: that of OCI has no health check.
buildah bud --format docker --pull=ifmissing --network host --tag "$image" . >"$work/out" 2>&1 || fail 'it does not build'

in_image -- --version || fail '--version does not run'
grep -qx "$(node -p 'require("./package.json").version')" "$work/out" || fail 'another version'
in_image --entrypoint=id -- -u || fail 'id does not run'
grep -qx 1000 "$work/out" || fail 'it runs as another user than 1000'
if in_image --entrypoint=touch -- /app/x; then fail 'its root can be written to'; fi
in_image -- demo || fail 'the demo fails'
if in_image -- doctor; then fail 'doctor is content without settings'; fi
grep -q 'decoded by ffmpeg' "$work/out" || fail 'doctor does not find ffmpeg'

server=$(podman run --detach --read-only --tmpfs /tmp --tmpfs /work:mode=1777 --network none --cgroups disabled \
  "$image" serve --host 0.0.0.0)
tries=0
until podman healthcheck run "$server" >"$work/out" 2>&1; do
  tries=$((tries + 1))
  [ $tries -lt 60 ] || { podman logs "$server" >>"$work/out" 2>&1; fail 'serve does not become healthy'; }
  sleep 1
done
podman stop --time 30 "$server" >/dev/null
[ "$(podman inspect --format '{{.State.ExitCode}}' "$server")" = 0 ] || fail 'serve does not end with 0 at SIGTERM'

mkdir "$work/bin"
podman create --name autodj-image-test "$image" >/dev/null
podman cp autodj-image-test:/usr/local/bin/ffmpeg "$work/bin/ffmpeg"
podman rm autodj-image-test >/dev/null
PATH="$work/bin:$PATH" node_modules/.bin/vitest run test/contract/decoder.test.ts test/contract/formats.test.ts >"$work/out" 2>&1 ||
  fail 'its ffmpeg does not decode what the tests know'
podman image inspect --format '{{.Size}}' "$image" | awk '{ printf "%d MB\n", $1 / 1e6 }'
