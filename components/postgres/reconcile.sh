#!/bin/sh
# Wait for the server on its socket (not for the one of the very first start, which has no network yet), then reconcile.
set -eu
deadline=$(($(date +%s) + ${RECONCILE_WAIT_SECONDS:-120}))
until [ "$(psql -XAtqc "SELECT current_setting('listen_addresses') <> ''" 2>&1)" = t ]; do
  if [ "$(date +%s)" -ge "$deadline" ]; then
    echo "PostgreSQL does not answer on $PGHOST: see the log of the service postgres" >&2
    psql -XAtqc 'SELECT 1' >&2 || exit 1
  fi
  sleep 0.5
done
exec psql -X --no-password -f "${0%/*}/reconcile.sql"
