"""The way back: choose a backup, restore it beside the present data, replay the log, look inside, swap.

Until the swap, which is two renames in one volume while the server is stopped, the present data is not touched: a
restore that fails leaves everything as it was. The old data stays aside until it is told to go.
"""

import re
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from components.backup.container import scratch
from components.backup.container.config import LOCAL, Config, Repository
from components.backup.container.pgbackrest import BackupSet, PgBackRest, Segment, gaps, local_time
from components.backup.container.shell import JobError, Server, run, say
from components.backup.container.source import Source
from components.backup.container.state import State
from components.backup.container.verify import CANARIES, tree_bytes

Kind = Literal["latest", "time", "backup"]
NEW = "restored-"
OLD = "before-"
_NAME = re.compile(r"^[0-9TZ]{16}$")
SPACE_FACTOR = 1.1
"""Free space that a restore asks for, as a multiple of the database's size: its log comes on top."""


@dataclass(frozen=True)
class Target:
    """Where to go: the end of the archive, a moment (Unix seconds), or a backup as it stands."""

    kind: Kind
    moment: float | None = None
    label: str | None = None


@dataclass(frozen=True)
class Plan:
    """What a restore will do, for a person to agree to. Times are UTC texts, sizes bytes."""

    repository: str
    label: str
    kind: str
    backup_ended: str
    wal_from: str
    wal_to: str
    reaches: str
    """Up to when the data will be there."""
    lost_seconds: int | None
    """What is younger than that and exists now; None when the server does not answer."""
    database_bytes: int
    free_bytes: int
    expected_seconds: int | None


def parse_moment(text: str) -> float:
    """A time with its zone, as ISO 8601 or as PostgreSQL writes it, in Unix seconds.

    Raises:
        JobError: without a zone it would be a guess; that is refused.
    """
    cleaned = re.sub(r"([+-]\d{2})$", r"\1:00", text.strip().replace(" ", "T", 1).replace("Z", "+00:00"))
    try:
        moment = datetime.fromisoformat(cleaned)
    except ValueError:
        raise JobError(f"{text!r} is not a time; write for example 2026-11-24 14:30:00+00:00") from None
    if moment.tzinfo is None:
        raise JobError(f"{text!r} has no time zone; add +00:00 for UTC")
    return moment.timestamp()


def choose(sets: tuple[BackupSet, ...], target: Target) -> BackupSet:
    """The backup to start from: the named one, or the newest that ended before the target.

    Raises:
        JobError: when there is none.
    """
    usable = [item for item in sets if not item.failed]
    if target.kind == "backup":
        for item in usable:
            if item.label == target.label:
                return item
        raise JobError(f"there is no usable backup {target.label!r}: `agentstack backup list` shows them")
    before = [item for item in usable if target.moment is None or item.stopped < target.moment]
    if not before:
        oldest = f"; the oldest backup ended at {local_time(usable[0].stopped)}" if usable else ""
        raise JobError(f"no backup ended before the time asked for{oldest}")
    return before[-1]


def refuse_holes(segments: tuple[Segment, ...], chosen: BackupSet, target: Target) -> None:
    """Refuse a way through a hole in the log: a restore to its end would stop there without a word.

    Raises:
        JobError: with what is missing, and where one can go instead.
    """
    if target.kind == "backup":
        return
    stored = {segment.name: segment.stored for segment in segments}
    until = target.moment or time.time()
    holes = [hole for hole in gaps(segments, chosen.wal_start) if stored[hole.after] <= until]
    if holes:
        first = holes[0]
        raise JobError(
            f"{first.missing} WAL segments are missing after {first.after}, stored {local_time(stored[first.after])}: "
            "the log can't be replayed past it. Restore from the other repository, to a time before it, or to the "
            f"backup itself with --backup {chosen.label}"
        )


def target_words(target: Target, chosen: BackupSet, point: str | None) -> tuple[str, ...]:
    """The target as pgBackRest takes it."""
    words = (f"--set={chosen.label}", "--target-action=promote")
    if target.kind == "backup":
        return (f"--set={chosen.label}", "--type=immediate", "--target-action=promote")
    if target.kind == "time" and target.moment is not None:
        moment = datetime.fromtimestamp(target.moment, UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")
        return ("--type=time", f"--target={moment}", *words)
    if point:
        return ("--type=name", f"--target={point}", *words)
    return ("--type=default", f"--set={chosen.label}")


class Restore:
    """Restores of one stack's database from one repository."""

    def __init__(self, config: Config, repository: Repository, state: State) -> None:
        self.config = config
        self.repository = repository
        self.state = state
        self.backrest = PgBackRest(repository)
        self.server = Server(config.socket)

    # ---- before

    def plan(self, target: Target) -> Plan:
        """What a restore to ``target`` means.

        Raises:
            JobError: when it can't be done, and why.
        """
        chosen = choose(self.backrest.sets(), target)
        segments = self.backrest.segments()
        refuse_holes(segments, chosen, target)
        newest = max((segment.stored for segment in segments), default=chosen.stopped)
        reached = {"backup": float(chosen.stopped), "time": target.moment, "latest": float(newest)}[target.kind]
        alive = self.server.answers()
        free = shutil.disk_usage(self.config.volume).free
        needed = int(chosen.database_bytes * SPACE_FACTOR)
        if free < needed:
            raise JobError(f"the data volume has {free} bytes free, a restore beside the present data needs {needed}")
        rate = self.state.read().get("repositories", {}).get(self.repository.name, {}).get("restore_rate")
        behind = [s for s in segments if chosen.wal_start <= s.name]
        return Plan(
            repository=self.repository.name,
            label=chosen.label,
            kind=target.kind,
            backup_ended=local_time(chosen.stopped),
            wal_from=chosen.wal_start,
            wal_to=behind[-1].name if behind and target.kind != "backup" else chosen.wal_stop,
            reaches=local_time(reached if reached is not None else newest),
            lost_seconds=max(0, int(time.time() - reached)) if alive and reached is not None else None,
            database_bytes=chosen.database_bytes,
            free_bytes=free,
            expected_seconds=int(chosen.database_bytes / rate) + 60 if rate else None,
        )

    def close_log(self) -> str | None:
        """While the server still answers: a restore point at its very end, and the log up to it in the archive.

        Its name; None when the server does not answer.
        """
        if not self.server.answers():
            return None
        source = Source(self.server, self.config.database)
        point = f"agentstack_restore_{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        self.server.query(f"SELECT pg_create_restore_point('{point}')")
        source.beat()
        source.flush()
        return point

    # ---- doing it

    def make(self, target: Target, point: str | None = None, into: Path | None = None) -> dict[str, Any]:
        """Restore, recover and look inside; ready for `swap` (or, with ``into``, for inspection).

        Returns:
            name, seconds of each phase, bytes, and what was found inside.

        Raises:
            JobError: when anything is not as it must be; what was restored so far is removed.
        """
        name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        data = into or self.config.volume / f"{NEW}{name}"
        if data.exists() and any(data.iterdir()):
            raise JobError(f"{data} is not empty")
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        work = self.config.scratch / f"restore-{name}"
        try:
            found = self._make(target, point, data, work)
        except BaseException:
            shutil.rmtree(data, ignore_errors=True)
            raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return {"name": name, **found}

    def _make(self, target: Target, point: str | None, data: Path, work: Path) -> dict[str, Any]:
        chosen = choose(self.backrest.sets(), target)
        refuse_holes(self.backrest.segments(), chosen, target)
        begun = time.monotonic()
        say(f"restoring {chosen.label} of repository {self.repository.name} into {data}")
        self.backrest.restore(data, target_words(target, chosen, point), self.config.processes)
        copied = time.monotonic()
        size = tree_bytes(data)
        say(f"restored {size} bytes in {copied - begun:.1f} s; replaying the log")
        with scratch.running(data, work, durable=True, archive=True) as server:
            recovered = time.monotonic()
            inside = self._look_inside(server)
        say(f"recovered in {recovered - copied:.1f} s: {inside}")
        return {
            "label": chosen.label,
            "bytes": size,
            "phases": {"restore": round(copied - begun, 3), "recovery": round(recovered - copied, 3)},
            "inside": inside,
        }

    def _look_inside(self, server: Server) -> dict[str, Any]:
        database = self.config.database
        bad = int(server.query(CANARIES, database))
        if bad:
            raise JobError(f"{bad} canary rows have a wrong hash: this data is damaged")
        newest = server.query("SELECT coalesce(max(at)::text, '') FROM agentstack.canary", database)
        has_spans = server.query("SELECT to_regclass('public.spans') IS NOT NULL", database) == "t"
        spans = server.query("SELECT count(*) FROM public.spans", database, seconds=3600) if has_spans else "0"
        return {"newest_canary": newest, "spans": int(spans)}

    def drill(self) -> dict[str, Any]:
        """The exercise on a copy: what a sudden loss of the database right now would cost, without touching it.

        Returns:
            what `make` does, and ``rto`` and ``rpo`` in seconds. The log is *not* closed before: what the server has
            not archived counts as lost.

        Raises:
            JobError: when the exercise fails, which is what it is for.
        """
        lost_at = time.time()
        data = self.config.scratch / "drill"
        shutil.rmtree(data, ignore_errors=True)
        begun = time.monotonic()
        try:
            made = self.make(Target("latest"), into=data)
            rto = time.monotonic() - begun
        finally:
            shutil.rmtree(data, ignore_errors=True)
        newest = made["inside"]["newest_canary"]
        rpo = max(0.0, lost_at - parse_moment(newest)) if newest else lost_at
        found = {**made, "rto": round(rto, 3), "rpo": round(rpo, 3), "timestamp": int(lost_at)}
        self.state.update(lambda store: store.update(drill={k: found[k] for k in ("timestamp", "rto", "rpo")}))
        return found

    # ---- the swap

    def swap(self, name: str) -> dict[str, Any]:
        """Put the restored directory in place; the server must be stopped. Where the old data now is.

        Raises:
            JobError: when the server still runs, or there is no such restored directory.
        """
        if not _NAME.fullmatch(name):
            raise JobError(f"{name!r} is not the name of a restore")
        restored = self.config.volume / f"{NEW}{name}"
        if not (restored / "PG_VERSION").is_file():
            raise JobError(f"{restored} is not there")
        if (self.config.socket / ".s.PGSQL.5432").exists() and self.server.answers():
            raise JobError("the server still runs: stop it first")
        aside = self.config.volume / f"{OLD}{name}"
        if self.config.pgdata.exists():
            self.config.pgdata.rename(aside)
        try:
            restored.rename(self.config.pgdata)
        except OSError as error:
            if aside.exists():
                aside.rename(self.config.pgdata)
            raise JobError(f"the swap failed, the old data is back in place: {error}") from error
        return {"data": str(self.config.pgdata), "aside": str(aside) if aside.exists() else ""}

    def swap_back(self, name: str) -> None:
        """Undo `swap`: the server must be stopped.

        Raises:
            JobError: when there is nothing to go back to.
        """
        aside = self.config.volume / f"{OLD}{name}"
        if not _NAME.fullmatch(name) or not aside.is_dir():
            raise JobError(f"there is no old data of the restore {name!r}")
        self.config.pgdata.rename(self.config.volume / f"{NEW}{name}")
        aside.rename(self.config.pgdata)

    def leftovers(self) -> list[dict[str, Any]]:
        """Directories of earlier restores: what was set aside, what was never put in place."""
        found = [*self.config.volume.glob(f"{OLD}*"), *self.config.volume.glob(f"{NEW}*")]
        return [{"path": str(path), "bytes": tree_bytes(path)} for path in sorted(found)]

    def forget(self) -> list[str]:
        """Remove them."""
        removed = [str(item["path"]) for item in self.leftovers()]
        for path in removed:
            shutil.rmtree(path)
        return removed


def adopt_stanza(config: Config) -> None:
    """After a restore of another cluster's data (from the second repository alone): let the local one take it on.

    Raises:
        JobError: when pgBackRest refuses.
    """
    run(PgBackRest(config.repository(LOCAL)).command("stanza-upgrade", "--no-online"), seconds=120)
