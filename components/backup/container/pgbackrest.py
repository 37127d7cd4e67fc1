"""pgBackRest as we use it: one configuration file for each repository, so that a dead one never holds up the other.

Traps it works around (each seen): `verify` ends with 0 when it finds damage, and sees no missing WAL segment at all; a
restore to the end of the archive stops at a hole without a word.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.backup.container.config import STANZA, Repository
from components.backup.container.shell import JobError, run

SEGMENTS_PER_LOG = 256
"""WAL segments of 16 MiB in one 4 GiB log file: what the second and third part of a segment's name count."""
_ARCHIVE = re.compile(r"\d+-\d+")
_HISTORY = re.compile(r"[0-9A-F]{8}\.history")
_FOLDER = re.compile(r"[0-9A-F]{16}")
_SEGMENT = re.compile(r"(?:^|/)(?P<archive>\d+-\d+)/[0-9A-F]{16}/(?P<name>[0-9A-F]{24})-[0-9a-f]{40}")


@dataclass(frozen=True)
class BackupSet:
    """One backup in a repository; times are Unix seconds, sizes bytes."""

    label: str
    kind: str
    started: int
    stopped: int
    wal_start: str
    wal_stop: str
    database_bytes: int
    repository_bytes: int
    failed: bool


@dataclass(frozen=True)
class Segment:
    """One WAL segment in a repository, and when it came there (Unix seconds)."""

    archive: str
    name: str
    stored: int

    @property
    def timeline(self) -> str:
        """The first 8 digits of the name."""
        return self.name[:8]

    @property
    def position(self) -> int:
        """Its place in the log, counted in segments."""
        return segment_position(self.name)


@dataclass(frozen=True)
class Gap:
    """Missing segments: after which, before which, how many."""

    after: str
    before: str
    missing: int


def segment_position(name: str) -> int:
    """``000000010000000200000005`` -> 2 * 256 + 5."""
    return int(name[8:16], 16) * SEGMENTS_PER_LOG + int(name[16:24], 16)


def parse_info(text: str) -> tuple[BackupSet, ...]:
    """`info --output=json`, oldest backup first.

    Raises:
        JobError: when the repository says that it is not in order.
    """
    stanzas: list[dict[str, Any]] = json.loads(text)
    if not stanzas:
        raise JobError("the repository is empty: no stanza was made in it")
    stanza = stanzas[0]
    # 0 ok, 1 missing stanza, 2 no valid backups (new), others: unreadable, locked, mixed.
    if stanza["status"]["code"] not in {0, 2}:
        raise JobError(f"the repository is not in order: {stanza['status']['message']}")
    return tuple(
        BackupSet(
            label=item["label"],
            kind=item["type"],
            started=item["timestamp"]["start"],
            stopped=item["timestamp"]["stop"],
            wal_start=item["archive"]["start"] or "",
            wal_stop=item["archive"]["stop"] or "",
            database_bytes=item["info"]["size"],
            repository_bytes=item["info"]["repository"].get("delta", 0),
            failed=bool(item.get("error")),
        )
        for item in stanza["backup"]
    )


def parse_segments(text: str) -> tuple[Segment, ...]:
    """`repo-ls --recurse --output=json` of the archive, in order."""
    entries: dict[str, dict[str, Any]] = json.loads(text)
    found = []
    for path, entry in entries.items():
        match = _SEGMENT.search(path)
        if match:
            found.append(Segment(match["archive"], match["name"], int(entry.get("time") or 0)))
    return tuple(sorted(set(found), key=lambda segment: (segment.archive, segment.name)))


def gaps(segments: tuple[Segment, ...], since: str = "") -> list[Gap]:
    """Holes within a timeline, from segment ``since`` on (what comes before the oldest backup may be gone).

    A new timeline begins where the old one was left, which is in the middle of a segment: between two timelines
    there is a hole only when the new one begins after the old one's end.
    """
    start = segment_position(since) if since else 0
    found: list[Gap] = []
    previous: Segment | None = None
    for segment in segments:
        if segment.position < start:
            continue
        same_log = previous is not None and previous.archive == segment.archive
        if same_log and previous is not None and segment.position > previous.position + 1:
            found.append(Gap(previous.name, segment.name, segment.position - previous.position - 1))
        previous = segment
    return found


def verify_faults(text: str) -> list[str]:
    """What `verify --output=text --verbose` complains about; empty when all is well."""
    faults = [line.strip() for line in text.splitlines() if re.search(r"(invalid|missing|size|other): [1-9]", line)]
    statuses = [line.strip() for line in text.splitlines() if re.match(r"\s*status: (?!ok)", line)]
    if "status: ok" not in text and not statuses:
        statuses.append("no status was reported")
    return [*statuses, *faults]


class PgBackRest:
    """One repository."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository

    def command(self, name: str, *words: str) -> list[str]:
        """The whole command line."""
        return ["pgbackrest", f"--config={self.repository.config}", f"--stanza={STANZA}", *words, name]

    def run(self, name: str, *words: str, seconds: float | None = None, stream: bool = False) -> str:
        """Run one of its commands.

        Raises:
            JobError: when it fails.
        """
        return run(self.command(name, *words), seconds=seconds, stream=stream)

    def sets(self) -> tuple[BackupSet, ...]:
        """The backups, oldest first.

        Raises:
            JobError: when the repository can't be read.
        """
        return parse_info(self.run("info", "--output=json", "--log-level-console=error", seconds=120))

    def _listing(self, path: str, *words: str) -> str:
        # repo-ls takes its path after the command's name, and no stanza.
        command = [
            word for word in self.command("repo-ls", "--output=json", *words) if not word.startswith("--stanza=")
        ]
        return run([*command, f"archive/{STANZA}{path}"], seconds=300)

    def segments(self) -> tuple[Segment, ...]:
        """All WAL segments, in order.

        Raises:
            JobError: when the repository can't be read.
        """
        return parse_segments(self._listing("", "--recurse"))

    def log_folders(self) -> tuple[str, ...]:
        """The folders of the log (256 segments each), in order: ``17-1/0000000100000002``.

        Raises:
            JobError: when the repository can't be read.
        """
        archives = [name for name in json.loads(self._listing("")) if _ARCHIVE.fullmatch(name)]
        found = [
            f"{archive}/{name}"
            for archive in archives
            for name in json.loads(self._listing(f"/{archive}"))
            if _FOLDER.fullmatch(name)
        ]
        return tuple(sorted(found))

    def histories(self) -> set[str]:
        """Names of the timelines' history files.

        Raises:
            JobError: when the repository can't be read.
        """
        archives = [name for name in json.loads(self._listing("")) if _ARCHIVE.fullmatch(name)]
        names = {name for archive in archives for name in json.loads(self._listing(f"/{archive}"))}
        return {name for name in names if _HISTORY.fullmatch(name)}

    def segments_in(self, folders: Sequence[str]) -> tuple[Segment, ...]:
        """The WAL segments of some of these folders, in order.

        Raises:
            JobError: when the repository can't be read.
        """
        found: list[Segment] = []
        for folder in folders:
            entries: dict[str, Any] = json.loads(self._listing(f"/{folder}"))
            found += parse_segments(json.dumps({f"{folder}/{name}": entry for name, entry in entries.items()}))
        return tuple(found)

    def verify(self) -> list[str]:
        """Read everything in the repository and compare checksums; the faults found.

        Raises:
            JobError: when it could not be done at all.
        """
        words = ("--output=text", "--verbose", "--log-level-console=error")
        return verify_faults(self.run("verify", *words, seconds=24 * 3600))

    def restore(self, into: Path, target: tuple[str, ...], processes: int) -> None:
        """Copy the files of a backup into an empty directory, with what recovery needs to know.

        Args:
            into: the directory; it becomes the data directory.
            target: `--type`, `--target`, `--set` as pgBackRest takes them.
            processes: how many at once.

        Raises:
            JobError: when it fails.
        """
        words = (f"--pg1-path={into}", f"--process-max={processes}", "--log-level-console=warn", *target)
        self.run("restore", *words, stream=True)


def local_time(seconds: float) -> str:
    """Unix seconds as recovery targets and people read them, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S+00")
