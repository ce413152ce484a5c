#!/usr/bin/env bash
# A Docker engine for the tests of the image.
#
#   docker/engine.sh start    exit 0 if one answers now: it did already, or the lab beside this repository has set one up
#   docker/engine.sh stop     removes what the tests may have left, and stops an engine that `start` has started
set -euo pipefail
cd "$(dirname "$0")/.."

LAB=../shared/container-lab.sh
OURS=${TMPDIR:-/tmp}/td-image-worker-engine.started
LABEL=td-image-worker.test

answers() { command -v docker >/dev/null && docker info >/dev/null 2>&1; }

start() {
  if answers; then
    echo "docker engine $(docker version -f '{{.Server.Version}}') answers"
    return
  fi
  if [ ! -f "$LAB" ]; then
    echo "!!! NO DOCKER ENGINE answers here, and there is no $LAB that could set one up." >&2
    return 1
  fi
  touch "$OURS"
  if bash "$LAB" docker && answers; then return; fi
  echo "!!! NO DOCKER ENGINE: $LAB could not set one up; its last lines are above." >&2
  stop
  return 1
}

stop() {
  if answers; then
    for kind in container volume network; do
      # shellcheck disable=SC2046 # several names
      set -- $(docker "$kind" ls -q $([ $kind = container ] && echo -a) --filter "label=$LABEL")
      [ $# = 0 ] || docker "$kind" rm $([ $kind != container ] || echo -f) "$@" >/dev/null
    done
  fi
  if [ -f "$OURS" ]; then
    rm -f "$OURS"
    bash "$LAB" stop
  fi
}

case ${1:-} in
  start | stop) "$1" ;;
  *) echo "usage: $0 start|stop" >&2; exit 2 ;;
esac
