"""What the backup does: each job is a function that ends well or raises JobError."""

import fcntl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.backup.container.carry import Carrier
from components.backup.container.config import LOCAL, Config, Repository
from components.backup.container.pgbackrest import BackupSet, PgBackRest, gaps
from components.backup.container.shell import JobError, Server, say
from components.backup.container.source import Source
from components.backup.container.state import State, Store
from components.backup.container.verify import Verification

LOCKS = Path("/tmp")  # noqa: S108 (the container's own tmpfs)
LOCK_SECONDS = 6 * 3600
CARRY_SECONDS = 3.0
CLUSTER_MARK = ".agentstack-cluster"
"""In the data volume: a cluster was here. The server refuses to make an empty one in its place."""


@contextmanager
def exclusive(name: str, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """One at a time: PostgreSQL lets one backup of a cluster run, whatever the repository.

    Raises:
        JobError: when the other one has not ended in time.
    """
    deadline = time.monotonic() + seconds
    with (LOCKS / f"agentstack-{name}.lock").open("a") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise JobError(f"another {name} still runs after {seconds:.0f} s") from None
                time.sleep(0.5)
        yield


@dataclass(frozen=True)
class Jobs:
    """All jobs of one stack."""

    config: Config
    state: State

    @property
    def source(self) -> Source:
        """The running server."""
        return Source(Server(self.config.socket), self.config.database)

    def named(self) -> dict[str, Callable[[], None]]:
        """Every job by name: ``heartbeat``, ``collect``, ``full-local``, ``verify-s3``, ..."""
        found: dict[str, Callable[[], None]] = {"heartbeat": self.heartbeat, "collect": self.collect}
        for repository in self.config.repositories:
            name = repository.name
            found[f"prepare-{name}"] = lambda r=repository: self.prepare(r)  # type: ignore[misc]
            found[f"full-{name}"] = lambda r=repository: self.backup(r, "full")  # type: ignore[misc]
            found[f"diff-{name}"] = lambda r=repository: self.backup(r, "diff")  # type: ignore[misc]
            found[f"verify-{name}"] = lambda r=repository: self.verify(r)  # type: ignore[misc]
            found[f"check-{name}"] = lambda r=repository: self.check(r)  # type: ignore[misc]
            if name != LOCAL:
                found[f"carry-{name}"] = lambda r=repository: self.carry(r)  # type: ignore[misc]
                found[f"collect-{name}"] = lambda r=repository: self.collect_repository(r)  # type: ignore[misc]
        return found

    # ---- the repository

    def prepare(self, repository: Repository) -> None:
        """Make the stanza. PostgreSQL archives nothing before the local one is there: pgBackRest's own order."""
        PgBackRest(repository).run("stanza-create", seconds=120)
        mark = self.config.volume / CLUSTER_MARK
        if not mark.exists():
            mark.write_text("A database cluster was made in this volume; an empty one is never put in its place.\n")

    def backup(self, repository: Repository, kind: str) -> None:
        """One backup; what is too old is expired after it."""
        with exclusive("backup"), self._carrying(repository):
            say(f"backup: {kind} to {repository.name}")
            PgBackRest(repository).run("backup", f"--type={kind}", stream=True)
        self.collect_repository(repository)

    def carry(self, repository: Repository) -> None:
        """The log to the second repository."""
        carrier = Carrier(self.config, repository)
        try:
            with exclusive("carry"):
                carrier.run()
        except JobError:
            self._note_repository(repository.name, {"up": 0})
            raise
        self._note_repository(repository.name, {"up": 1, "wal_newest": carrier.newest})

    @contextmanager
    def _carrying(self, repository: Repository) -> Iterator[None]:
        """Meanwhile carry the log there: a backup ends only when its own log is in its repository."""
        if repository.name == LOCAL:
            yield
            return
        ended = threading.Event()

        def carry() -> None:
            while not ended.wait(CARRY_SECONDS):
                try:
                    self.carry(repository)
                except JobError as error:
                    say(f"the log can't be carried to {repository.name}: {error}")

        worker = threading.Thread(target=carry, name="carry")
        worker.start()
        try:
            yield
        finally:
            ended.set()
            worker.join()

    def check(self, repository: Repository) -> None:
        """Read the whole repository; damage is a failure."""
        faults = PgBackRest(repository).verify()

        def note(store: Store) -> None:
            store.setdefault("repositories", {}).setdefault(repository.name, {})["check_faults"] = len(faults)

        self.state.update(note)
        if faults:
            raise JobError(f"repository {repository.name} is damaged: {'; '.join(faults[:5])}")

    def verify(self, repository: Repository) -> None:
        """A real restore; its figures are kept whether it passes or not."""

        def drain(_: str) -> None:
            with exclusive("carry"):
                Carrier(self.config, repository).drain()

        with exclusive("verify"):
            result = Verification(self.config, repository, None if repository.name == LOCAL else drain).run()
        now = int(time.time())
        success = now if result.success else None

        def note(store: Store) -> None:
            kept = store.setdefault("verify", {}).get(repository.name, {}).get("last_success")
            store["verify"][repository.name] = {
                "success": int(result.success),
                "run": now,
                "last_success": success or kept,
                "phase": result.phase,
                "phases": result.phases,
                "bytes": result.bytes,
                "mismatched": result.mismatched,
                "drift": result.drift,
                "bad_canaries": result.bad_canaries,
            }
            seconds = result.phases.get("restore")
            if result.success and seconds:
                store.setdefault("repositories", {}).setdefault(repository.name, {})["restore_rate"] = (
                    result.bytes / seconds
                )

        self.state.update(note)
        if not result.success:
            raise JobError(f"restore verification of {repository.name} failed in phase {result.phase}")
        say(f"verified {repository.name}: {result.bytes} bytes, {result.phases}")

    # ---- what is looked at all the time

    def heartbeat(self) -> None:
        """A canary row: gives an idle server something to archive."""
        self.source.beat()

    def collect(self) -> None:
        """Everything that the metrics page tells about the archiver and the local repository."""
        try:
            ready, failing = self.source.archiver()
        except JobError as error:
            say(f"the archiver can't be asked: {error}")
        else:
            self.state.update(lambda store: store.update(archive={"ready": ready, "failing": int(failing)}))
        self.collect_repository(self.config.repository(LOCAL))

    def collect_repository(self, repository: Repository) -> None:
        """Sets, sizes and the log of one repository; raises when it can't be read."""
        backrest = PgBackRest(repository)
        try:
            sets, segments = backrest.sets(), backrest.segments()
        except JobError:
            self._note_repository(repository.name, {"up": 0})
            raise
        usable = [item for item in sets if not item.failed]
        found: dict[str, Any] = {
            "up": 1,
            "sets": len(usable),
            "newest": newest_by_kind(usable),
            "repository_bytes": sum(item.repository_bytes for item in usable),
            "wal_segments": len(segments),
            "wal_missing_segments": sum(g.missing for g in gaps(segments, usable[0].wal_start)) if usable else 0,
        }
        if usable:
            found["database_bytes"] = usable[-1].database_bytes
        if repository.name == LOCAL:
            found["wal_newest"] = max((segment.stored for segment in segments), default=None)
        self._note_repository(repository.name, found)

    def _note_repository(self, name: str, found: dict[str, Any]) -> None:
        self.state.update(lambda store: store.setdefault("repositories", {}).setdefault(name, {}).update(found))


def newest_by_kind(sets: list[BackupSet]) -> dict[str, int]:
    """{"full": time, "any": time}: a full backup counts as the newest of the differential ones too."""
    newest: dict[str, int] = {}
    for item in sets:
        newest["any"] = max(newest.get("any", 0), item.stopped)
        if item.kind == "full":
            newest["full"] = max(newest.get("full", 0), item.stopped)
    return newest
