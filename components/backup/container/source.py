"""The running server as the backup sees it: its heartbeat, its archiver, and what it holds."""

import time
from dataclasses import dataclass

from components.backup.container.shell import JobError, Server

ARCHIVE_SECONDS = 300

_ARCHIVER = """
SELECT (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'),
       (coalesce(last_failed_time, '-infinity') > coalesce(last_archived_time, '-infinity'))::int
FROM pg_stat_archiver
"""
_TABLES = """
SELECT format('SELECT %L, count(*) FROM %I.%I', n.nspname || '.' || c.relname, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname IN ('public', 'agentstack') ORDER BY 1
"""


def tables_sql(server: Server, database: str) -> str:
    """One statement for each table, which counts its rows."""
    return ";\n".join(line for line in server.query(_TABLES, database).splitlines() if line) + ";"


def parse_counts(text: str) -> dict[str, int]:
    """``public.spans|12`` -> {"public.spans": 12}."""
    rows = (line.rsplit("|", 1) for line in text.splitlines() if "|" in line)
    return {name: int(count) for name, count in rows}


@dataclass(frozen=True)
class Snapshot:
    """What the source held at a moment, and the name of the restore point made right after it."""

    point: str
    canary: int
    counts: dict[str, int]


class Source:
    """The primary, over its socket."""

    def __init__(self, server: Server, database: str) -> None:
        self.server = server
        self.database = database

    def beat(self) -> int:
        """Write a canary row, so that even an idle server has something to archive; the row's id."""
        return int(self.server.query("SELECT agentstack.beat()", self.database, seconds=30))

    def archiver(self) -> tuple[int, bool]:
        """How many segments wait to be archived, and whether the newest attempt failed."""
        waiting, failing = self.server.query(_ARCHIVER, seconds=30).split("|")
        return int(waiting), failing == "1"

    def flush(self, seconds: float = ARCHIVE_SECONDS) -> str:
        """Close the present segment and wait until it is archived; its name.

        Raises:
            JobError: when it is not archived in time.
        """
        segment = self.server.query("SELECT pg_walfile_name(pg_switch_wal())")
        done = f"SELECT coalesce(substr(last_archived_wal, 1, 24) >= '{segment}', false) FROM pg_stat_archiver"  # noqa: S608
        deadline = time.monotonic() + seconds
        while self.server.query(done) != "t":
            if time.monotonic() > deadline:
                raise JobError(f"WAL segment {segment} was not archived within {seconds:.0f} s")
            time.sleep(0.5)
        return segment

    def snapshot(self, label: str) -> Snapshot:
        """Counts of all tables at one moment, then a restore point, then its log in the archive."""
        canary = self.beat()
        counting = tables_sql(self.server, self.database)
        text = self.server.query(
            f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n{counting}\nCOMMIT;", self.database, seconds=6 * 3600
        )
        self.server.query(f"SELECT pg_create_restore_point('{label}')")
        self.flush()
        return Snapshot(point=label, canary=canary, counts=parse_counts(text))
