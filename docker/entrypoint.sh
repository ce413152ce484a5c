#!/bin/sh
# Settles who writes into /data, then makes room for the worker: after the last line this shell is gone.
set -eu
umask "${UMASK:-022}"
owner=$(stat -c %u:%g /data)
if [ "$(id -u)" = 0 ] && [ "${owner%:*}" != 0 ]; then # --user 0: go on as the user who owns the volume
  become="setpriv --reuid ${owner%:*} --regid ${owner#*:} --clear-groups --"
  $become true || { echo "Root without capabilities cannot become $owner, who owns /data; start with --user $owner instead." >&2; exit 1; }
  chown -R "$owner" /state
elif [ ! -w /data ]; then
  echo "/data belongs to $owner and cannot be written as $(id -u):$(id -g); start with --user $owner (compose: TD_USER=$owner)." >&2
fi
# shellcheck disable=SC2086 # several words, or none
exec ${become:-} tini -s -- td-image-worker "$@"
