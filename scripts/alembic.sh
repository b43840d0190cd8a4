#!/bin/sh
# Real Alembic for the tests in test/application: makes a Python environment of its own (PyPI, the versions that the application pins), once, in
# AUTODJ_TOOLS (default ~/.cache/autodj-tools), and prints the path of its Python, and nothing else, on stdout.
#
#   export TEST_ALEMBIC=$(sh scripts/alembic.sh)
set -eu
say() { echo "alembic.sh: $*" >&2; }

packages='alembic==1.14.0 sqlalchemy==2.0.36 psycopg2-binary==2.9.10'
folder=${AUTODJ_TOOLS:-$HOME/.cache/autodj-tools}/alembic-$(echo "$packages" | cksum | cut -d' ' -f1)
python=$folder/bin/python
if ! "$python" -c 'import alembic, psycopg2' 2>/dev/null; then
  rm -rf "$folder"
  mkdir -p "$(dirname "$folder")"
  if ! python3 -m venv "$folder" >&2; then
    say 'installing python3-venv'
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends python3-venv; } >&2
    rm -rf "$folder"
    python3 -m venv "$folder" >&2
  fi
  # shellcheck disable=SC2086 # several words
  "$folder/bin/pip" install --quiet --disable-pip-version-check $packages >&2
fi
echo "$python"
