#!/usr/bin/env bash
# Writes docker/requirements.txt (what the worker and its page run with), docker/requirements-build.txt (what builds its wheel) and
# docker/requirements-cluster.txt (what it needs beside the first for a cluster): the version of each package, and the hashes of all its
# files, so of those for x86-64 and for arm64, and for each Python. Needs uv (`pip install uv`).
#
#   docker/lock.sh              after a change in pyproject.toml
#   docker/lock.sh --upgrade    to the newest versions that pyproject.toml allows
set -euo pipefail
cd "$(dirname "$0")/.."

lock() { # what is needed, as requirements; the file; uv's options
  local file=$2
  printf '%s\n' "$1" | uv pip compile - --quiet --output-file "$file" --generate-hashes --python-version 3.11 --python-platform linux \
    --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command docker/lock.sh "${@:3}"
}
listed() { python3 -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))$1, sep='\n')"; }

needed="$(listed "['project']['dependencies']")"
page="$(listed "['project']['optional-dependencies']['page']")"
lock "$needed"$'\n'"$page" docker/requirements.txt "$@"
lock "$(listed "['build-system']['requires']")" docker/requirements-build.txt "$@"
# What a cluster needs beside the first file, and the page of its scheduler.
lock "$(listed "['project']['optional-dependencies']['cluster']")
$(listed "['project']['optional-dependencies']['dashboard']")" docker/requirements-cluster.txt --constraint docker/requirements.txt "$@"
