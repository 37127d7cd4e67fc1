#!/bin/sh
# archive_command: one finished segment of the log to the local repository. A failure is tried again by PostgreSQL.
set -eu
if [ ! -e /var/lib/pgbackrest/archive/phoenix/archive.info ]; then
  echo "the backup has not made its repository yet; this segment waits" >&2
  exit 1
fi
exec pgbackrest --config=@CONF@ --stanza=phoenix archive-push "$1"
