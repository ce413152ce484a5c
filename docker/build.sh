#!/usr/bin/env bash
# Builds the image where packages come from a place of your own: the sources are secrets of the build and are in no layer of the image.
#
#   docker/build.sh [docker build's options]      TAG=td-image-worker
#
#   PIP_CONFIG_FILE   a pip.conf with your index
#   PIP_CERT          certificate authorities for pip
#   APT_SOURCES       a file like /etc/apt/sources.list.d/debian.sources
#   DOCKER            the command (docker); podman works, too
#
# Secrets need BuildKit or podman. The Dockerfile itself does not, so that it builds everywhere; this adds the mounts to its RUN lines.
set -euo pipefail
cd "$(dirname "$0")/.."

options=() mounts=""
secret() { # id, file, where the build sees it
  [ -n "$2" ] || return 0
  [ -s "$2" ] || { echo "$0: there is no file $2" >&2; exit 1; }
  options+=(--secret "id=$1,src=$2")
  mounts+="--mount=type=secret,id=$1,target=$3,mode=0444 "
}
secret pip_conf "${PIP_CONFIG_FILE:-}" /etc/pip.conf
secret pip_cert "${PIP_CERT:-}" /run/secrets/pip_cert
secret apt_sources "${APT_SOURCES:-}" /etc/apt/sources.list.d/debian.sources

certificate=""
[ -z "${PIP_CERT:-}" ] || certificate="export PIP_CERT=/run/secrets/pip_cert; "
sed "s|^RUN |RUN ${mounts}${certificate}|" docker/Dockerfile |
  DOCKER_BUILDKIT=1 "${DOCKER:-docker}" build "${options[@]}" -t "${TAG:-td-image-worker}" "$@" -f - .
