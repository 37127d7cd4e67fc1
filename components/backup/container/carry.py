"""Carries the log from the local repository to the second one.

PostgreSQL archives to the local repository alone: with both written by PostgreSQL, a dead S3 stops the local archive
as well (seen: no segment in 300 s). What is missing in the second repository is read back from the first, where it is
known to be whole, and pushed: the same files, each checked by pgBackRest on both ways.
"""

import shutil
from pathlib import Path

from components.backup.container.config import Config, Repository
from components.backup.container.pgbackrest import PgBackRest, Segment
from components.backup.container.shell import run, say

BATCH = 64
"""Segments of one run: what is left waits for the next, so that a long outage does not block the other jobs."""


def missing(local: tuple[Segment, ...], remote: tuple[Segment, ...]) -> list[Segment]:
    """What the second repository lacks, oldest first.

    It begins with the newest segment of the day it was added: older ones are of no use without a backup there. What is
    older than everything that it holds was expired there.
    """
    if not remote:
        return list(local[-1:])
    held = {(segment.archive, segment.name) for segment in remote}
    floor = min(held)
    return [s for s in local if (s.archive, s.name) not in held and (s.archive, s.name) > floor]


def recent(local: tuple[str, ...], remote: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The log folders in which the two may differ: from the last but one of the second repository on.

    All of it would be tens of thousands of names every half minute, and S3 is paid by the request.
    """
    if not remote:
        return list(local[-1:]), []
    floor = remote[-2:][0]
    return [folder for folder in local if folder >= floor], list(remote[-2:])


class Carrier:
    """From the local repository to ``remote``."""

    def __init__(self, config: Config, remote: Repository) -> None:
        self.local = PgBackRest(config.repository("local"))
        self.remote = PgBackRest(remote)
        self.work = config.scratch / "carry"
        self.pgdata = config.pgdata
        self.newest: int | None = None
        """When the newest segment that is there now was archived here (Unix seconds)."""

    def run(self) -> int:
        """Carry one batch; how many segments still wait.

        Raises:
            JobError: when a repository can't be read or written.
        """
        here, there = recent(self.local.log_folders(), self.remote.log_folders())
        local, remote = self.local.segments_in(here), self.remote.segments_in(there)
        waiting = missing(local, remote)
        self.work.mkdir(parents=True, exist_ok=True)
        try:
            self._histories()
            for segment in waiting[:BATCH]:
                self._carry(segment.name)
        finally:
            shutil.rmtree(self.work, ignore_errors=True)
        left = waiting[BATCH:]
        arrived = [segment.stored for segment in local if segment not in left]
        self.newest = max(arrived, default=None)
        if waiting:
            say(f"carried {len(waiting) - len(left)} WAL segments to {self.remote.repository.name}, {len(left)} wait")
        return len(left)

    def drain(self) -> None:
        """Carry until nothing waits."""
        while self.run():
            pass

    def _histories(self) -> None:
        """Histories of timelines: without them no restore finds its way past an earlier restore."""
        for name in sorted(self.local.histories() - self.remote.histories()):
            self._carry(name)

    def _carry(self, name: str) -> None:
        file = self.work / name
        common = ("--log-level-console=warn", f"--pg1-path={self.pgdata}", "--no-archive-async")
        self._command(self.local, "archive-get", common, name, file)
        self._command(self.remote, "archive-push", common, file)
        file.unlink()

    @staticmethod
    def _command(repository: PgBackRest, name: str, options: tuple[str, ...], *arguments: str | Path) -> None:
        run([*repository.command(name, *options), *arguments], seconds=600)
