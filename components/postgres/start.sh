#!/bin/sh
# An empty cluster is never made where there was one: a lost data directory is restored, not replaced.
set -eu
mark="${PGDATA%/*}/.agentstack-cluster"
if [ -s "$PGDATA/PG_VERSION" ]; then
  : >"$mark"
elif [ -e "$mark" ]; then
  echo "the data directory $PGDATA is gone, but this volume held a database: run \`agentstack restore --latest\`" >&2
  exit 1
fi
exec docker-entrypoint.sh "$@"
