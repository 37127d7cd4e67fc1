"""Restore verification: the newest backup and the log behind it really make a database again.

Restores into the scratch volume up to a restore point made a moment before, with the log replayed from the archive
alone; checks every index and every row (amcheck), reads everything (dump), compares the counts of all tables and the
canary rows' hashes with the source. A named restore point is the target because a restore to the end of the archive
ends early at a hole in it without a word, while a point that is never reached is an error.
"""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.backup.container import scratch
from components.backup.container.config import Config, Repository
from components.backup.container.pgbackrest import PgBackRest
from components.backup.container.shell import JobError, Server, run, say
from components.backup.container.source import Source, parse_counts, tables_sql

DRIFT_PARTS_PER_MILLION = 1000
"""Writers go on between the count and the restore point: so much may differ, and `DRIFT_ROWS` whatever the size."""
DRIFT_ROWS = 500

CANARIES = "SELECT count(*) FROM agentstack.canary WHERE sum <> encode(sha256(payload::bytea), 'hex')"


@dataclass
class Result:
    """What was found; ``phase`` is where it ended."""

    phase: str = "start"
    phases: dict[str, float] = field(default_factory=dict)
    bytes: int = 0
    mismatched: int | None = None
    drift: int | None = None
    bad_canaries: int | None = None
    success: bool = False


def tree_bytes(directory: Path) -> int:
    """Size of all files below."""
    return sum((Path(parent) / name).lstat().st_size for parent, _, names in os.walk(directory) for name in names)


def compare(expected: dict[str, int], found: dict[str, int]) -> tuple[list[str], int]:
    """The tables whose counts differ beyond the drift of writers, and the rows of difference in all."""
    wrong, drift = [], 0
    for table, count in sorted(expected.items()):
        difference = abs(found.get(table, 0) - count)
        drift += difference
        if table not in found or difference > max(DRIFT_ROWS, count * DRIFT_PARTS_PER_MILLION // 1_000_000):
            wrong.append(f"{table}: {count} in the source, {found.get(table, 'missing')} restored")
    return wrong, drift


class Verification:
    """One verification of one repository."""

    def __init__(
        self, config: Config, repository: Repository, before_restore: Callable[[str], None] | None = None
    ) -> None:
        self.config = config
        self.repository = repository
        self.before_restore = before_restore
        """Called with the restore point's name: carries the log to a repository that PostgreSQL does not write to."""
        self.work = config.scratch / f"verify-{repository.name}"
        self.data = self.work / "data"
        self.result = Result()

    def run(self) -> Result:
        """Do it; the result also when it fails (then ``success`` is false and the log says why)."""
        try:
            self._run()
        except JobError as error:
            say(f"verification of {self.repository.name} failed in phase {self.result.phase}: {error}")
        finally:
            shutil.rmtree(self.work, ignore_errors=True)
        return self.result

    def _phase(self, name: str, step: Callable[[], Any]) -> Any:
        self.result.phase = name
        begun = time.monotonic()
        try:
            return step()
        finally:
            self.result.phases[name] = round(time.monotonic() - begun, 3)

    def _run(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        self.data.mkdir(parents=True, mode=0o700)
        source = Source(Server(self.config.socket), self.config.database)
        label = f"agentstack_verify_{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        snapshot = self._phase("expect", lambda: source.snapshot(label))
        if self.before_restore:
            before = self.before_restore
            self._phase("carry", lambda: before(label))
        target = ("--type=name", f"--target={label}", "--target-action=promote", "--archive-mode=off")
        backrest = PgBackRest(self.repository)
        self._phase("restore", lambda: backrest.restore(self.data, target, self.config.processes))
        self.result.bytes = tree_bytes(self.data)
        begun = time.monotonic()
        self.result.phase = "recovery"
        with scratch.running(self.data, self.work, durable=False, archive=False) as server:
            self.result.phases["recovery"] = round(time.monotonic() - begun, 3)
            self._look_inside(server, snapshot.counts, snapshot.canary)
        self.result.phase = "done"
        self.result.success = True

    def _look_inside(self, server: Server, expected: dict[str, int], canary: int) -> None:
        database = self.config.database
        connection = server.connection(database)
        check = ["pg_amcheck", *connection, "--install-missing", "--heapallindexed", f"--jobs={self.config.processes}"]
        self._phase("amcheck", lambda: run(check))
        self._phase("dump", lambda: run(["pg_dump", *connection, "-Fc", "-Z0", "--no-sync", "-f", "/dev/null"]))

        def counts() -> None:
            found = parse_counts(server.query(tables_sql(server, database), database, seconds=6 * 3600))
            wrong, self.result.drift = compare(expected, found)
            self.result.mismatched = len(wrong)
            self.result.bad_canaries = int(server.query(CANARIES, database))
            newest = server.query(f"SELECT count(*) FROM agentstack.canary WHERE id = {canary}", database)  # noqa: S608
            if newest != "1":
                wrong.append("the canary row written just before the restore point is missing")
            if self.result.bad_canaries:
                wrong.append(f"{self.result.bad_canaries} canary rows have a wrong hash")
            if wrong:
                raise JobError("; ".join(wrong))

        self._phase("compare", counts)
