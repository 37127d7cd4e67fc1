"""Carries the log from the local repository to the second one.

PostgreSQL archives to the local repository alone: with both written by PostgreSQL, a dead S3 stops the local archive
as well (seen: no segment in 300 s). What is missing in the second repository is read back from the first, where it is
known to be whole, and pushed: the same files, each checked by pgBackRest on both ways.
"""

import re
import shutil
from pathlib import Path

from components.backup.container.config import STANZA, Config, Repository
from components.backup.container.pgbackrest import PgBackRest, Segment
from components.backup.container.shell import run, say

BATCH = 64
"""Segments of one run: what is left waits for the next, so that a long outage does not block the other jobs."""
_HISTORY = re.compile(r"(?:^|/)([0-9A-F]{8}\.history)$")


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


class Carrier:
    """From the local repository to ``remote``."""

    def __init__(self, config: Config, remote: Repository) -> None:
        self.local = PgBackRest(config.repository("local"))
        self.remote = PgBackRest(remote)
        self.work = config.scratch / "carry"
        self.pgdata = config.pgdata

    def run(self) -> tuple[int, int]:
        """Carry one batch; how many segments were carried, and how many still wait.

        Raises:
            JobError: when a repository can't be read or written.
        """
        waiting = missing(self.local.segments(), self.remote.segments())
        self.work.mkdir(parents=True, exist_ok=True)
        try:
            self._histories()
            for segment in waiting[:BATCH]:
                self._carry(segment.name)
        finally:
            shutil.rmtree(self.work, ignore_errors=True)
        carried = min(len(waiting), BATCH)
        if carried:
            say(f"carried {carried} WAL segments to {self.remote.repository.name}, {len(waiting) - carried} wait")
        return carried, len(waiting) - carried

    def drain(self) -> None:
        """Carry until nothing waits."""
        while self.run()[1]:
            pass

    def _histories(self) -> None:
        """Histories of timelines: without them no restore finds its way past an earlier restore."""

        def names(repository: PgBackRest) -> set[str]:
            words = repository.command("repo-ls", "--recurse", "--output=text")
            text = run([*[w for w in words if not w.startswith("--stanza=")], f"archive/{STANZA}"], seconds=300)
            return {match.group(1) for line in text.splitlines() if (match := _HISTORY.search(line.strip()))}

        for name in sorted(names(self.local) - names(self.remote)):
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
