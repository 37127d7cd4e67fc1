"""What the backup is told, by a JSON file: where things are, and when what runs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from components.backup.container.schedule import Schedule

SETTINGS = Path("/etc/agentstack/backup/settings.json")
STANZA = "phoenix"
LOCAL = "local"
S3 = "s3"


@dataclass(frozen=True)
class Repository:
    """One repository of pgBackRest: ``local`` (PostgreSQL archives to it) or ``s3`` (only the backup writes to it)."""

    name: str
    config: Path
    full: Schedule
    differential: Schedule


@dataclass(frozen=True)
class Config:
    """Everything that the jobs need to know. Paths are those of the container."""

    volume: Path
    pgdata: Path
    socket: Path
    scratch: Path
    state: Path
    page: Path
    """The directory of the metrics page."""
    database: str
    repositories: tuple[Repository, ...]
    verify: Schedule
    check: Schedule
    processes: int
    archive_timeout_seconds: int
    secrets_fingerprint: str
    escrow_maximum_days: int

    def repository(self, name: str) -> Repository:
        """The repository of that name.

        Raises:
            KeyError: with the names that exist.
        """
        for repository in self.repositories:
            if repository.name == name:
                return repository
        known = ", ".join(repository.name for repository in self.repositories)
        raise KeyError(f"there is no repository {name!r}; this stack has: {known}")


def parse(raw: dict[str, Any]) -> Config:
    """The JSON object as a Config."""
    zone = ZoneInfo(raw["time_zone"])
    return Config(
        volume=Path(raw["volume"]),
        pgdata=Path(raw["pgdata"]),
        socket=Path(raw["socket"]),
        scratch=Path(raw["scratch"]),
        state=Path(raw["state"]),
        page=Path(raw["page"]),
        database=raw["database"],
        repositories=tuple(
            Repository(
                name=item["name"],
                config=Path(item["config"]),
                full=Schedule(item["full"], zone),
                differential=Schedule(item["differential"], zone),
            )
            for item in raw["repositories"]
        ),
        verify=Schedule(raw["verify"], zone),
        check=Schedule(raw["check"], zone),
        processes=raw["processes"],
        archive_timeout_seconds=raw["archive_timeout_seconds"],
        secrets_fingerprint=raw["secrets_fingerprint"],
        escrow_maximum_days=raw["escrow_maximum_days"],
    )


def load(path: Path = SETTINGS) -> Config:
    """Read the settings file."""
    return parse(json.loads(path.read_text()))
