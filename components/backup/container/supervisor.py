"""Runs the jobs when they are due: each in a process of its own, never twice at once, made up for when missed.

A scheduler of our own and not cron, because a container that was down at two in the morning must take its backup when
it is back, a job that failed must be tried again before the next day, and each outcome must be a metric.
"""

import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from components.backup.container.config import LOCAL, Config
from components.backup.container.schedule import Schedule
from components.backup.container.shell import say
from components.backup.container.state import State, Store

TICK_SECONDS = 1.0
PAGE_SECONDS = 30
ALIVE = Path("/tmp/agentstack-alive")  # noqa: S108 (the container's own tmpfs)
"""Touched at every tick: what the health check looks at."""
HEARTBEAT_SECONDS = 300
COLLECT_SECONDS = 60
COLLECT_FAR_SECONDS = 900
"""All names of the second repository, which is paid by the request; carrying the log sees its newest end."""
CARRY_SECONDS = 30
PREPARE_SECONDS = 10
RETRY_SECONDS = 900
SETTLE_SECONDS = 45
"""The first backup of a new stack waits so long, so that it does not compete with the start of the others."""


@dataclass
class Timer:
    """When a job is due: by a schedule, or every so many seconds. ``after``: jobs that must have succeeded before."""

    job: str
    schedule: Schedule | None = None
    every_seconds: float | None = None
    after: tuple[str, ...] = ()
    until_success: bool = False
    """True: only until it has succeeded once in this life of the container."""
    at_first: bool = False
    """True: due at once on a stack where it never ran."""


@dataclass
class Run:
    """A job's process."""

    process: subprocess.Popen[bytes]
    started: float


def timers(config: Config) -> list[Timer]:
    """All timers of a stack."""
    found = [
        Timer("heartbeat", every_seconds=HEARTBEAT_SECONDS),
        Timer("collect", every_seconds=COLLECT_SECONDS, after=(f"prepare-{LOCAL}",)),
    ]
    for repository in config.repositories:
        name = repository.name
        prepared = (f"prepare-{name}",)
        found += [
            Timer(f"prepare-{name}", every_seconds=PREPARE_SECONDS, until_success=True),
            Timer(f"full-{name}", schedule=repository.full, after=prepared, at_first=True),
            Timer(f"diff-{name}", schedule=repository.differential, after=(*prepared, f"full-{name}")),
            Timer(f"verify-{name}", schedule=config.verify, after=(f"full-{name}",)),
            Timer(f"check-{name}", schedule=config.check, after=(f"full-{name}",)),
        ]
        if name != LOCAL:
            found.append(Timer(f"carry-{name}", every_seconds=CARRY_SECONDS, after=prepared))
            # Also before it was ever prepared: that it can't be reached is to be known.
            found.append(Timer(f"collect-{name}", every_seconds=COLLECT_FAR_SECONDS))
    return found


def due(timer: Timer, store: Store, now: float, born: float) -> bool:
    """True when the job should begin now.

    Args:
        timer: of the job.
        store: what was remembered of earlier runs.
        now: Unix seconds.
        born: when this life of the container began.
    """
    jobs = store.get("jobs", {})
    job = jobs.get(timer.job, {})
    if not _allowed(timer, jobs, born):
        return False
    started, ended = job.get("started", 0), job.get("ended", 0)
    if timer.until_success and job.get("success", -1) >= born:
        return False
    if timer.schedule is None:
        return bool(now - started >= (timer.every_seconds or 0))
    if job.get("exit_code") and ended >= started:
        return bool(now - ended >= RETRY_SECONDS)
    if not started and timer.at_first:
        return bool(now - born >= SETTLE_SECONDS)
    moment = timer.schedule.last_due(datetime.fromtimestamp(now, UTC))
    baseline = max(started, store.get("created", 0))
    return moment is not None and moment.timestamp() > baseline


def _allowed(timer: Timer, jobs: Store, born: float) -> bool:
    """True when all jobs that it comes after have succeeded.

    A stanza is prepared anew in each life of the container; of a backup it is enough that there is one.
    """
    return all(
        jobs.get(other, {}).get("success", -1) >= (born if other.startswith("prepare-") else 0) for other in timer.after
    )


@dataclass
class Supervisor:
    """The loop."""

    config: Config
    state: State
    runs: dict[str, Run] = field(default_factory=dict)
    stopping: bool = False

    def run(self) -> int:
        """Until SIGTERM; then the jobs are asked to end and waited for."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        born = time.time()
        all_timers = timers(self.config)
        page = 0.0
        say(f"supervising {', '.join(timer.job for timer in all_timers)}")
        while not self.stopping:
            ALIVE.touch()
            self._reap()
            now = time.time()
            store = self.state.read()
            for timer in all_timers:
                if due(timer, store, now, born):
                    self._start(timer, now)
            if now - page >= PAGE_SECONDS:
                page = now
                self.state.update(lambda kept, moment=now: kept.update(supervisor=int(moment)))  # type: ignore[misc]
            time.sleep(TICK_SECONDS)
        for run in self.runs.values():
            run.process.terminate()
        for run in self.runs.values():
            run.process.wait()
        return 0

    def _stop(self, number: int, _: FrameType | None) -> None:
        say(f"ending by signal {number}")
        self.stopping = True

    def _start(self, timer: Timer, now: float) -> None:
        name = timer.job
        running = self.runs.get(name)
        if running:
            # A scheduled moment that passes while the job runs is skipped, and counted; a periodic one just waits.
            if timer.schedule:
                self.state.update(lambda store: skip(store, name, now))
            return
        command = [sys.executable, "-m", "components.backup.container.main", "run", name]
        self.runs[name] = Run(subprocess.Popen(command), now)
        self.state.update(lambda store: store.setdefault("jobs", {}).setdefault(name, {}).update(started=int(now)))

    def _reap(self) -> None:
        for name, run in list(self.runs.items()):
            code = run.process.poll()
            if code is not None:
                del self.runs[name]
                record(self.state, name, run.started, code)


def skip(store: Store, name: str, now: float) -> None:
    """Note a due moment at which the job was still running."""
    job = store.setdefault("jobs", {}).setdefault(name, {})
    job["skipped"] = job.get("skipped", 0) + 1
    job["started"] = int(now)


def record(state: State, name: str, started: float, code: int) -> None:
    """Note a job's outcome."""
    ended = time.time()

    def note(store: Store) -> None:
        job = store.setdefault("jobs", {}).setdefault(name, {})
        job.update(started=int(started), ended=int(ended), exit_code=code, duration=round(ended - started, 3))
        if code == 0:
            job["success"] = int(ended)

    state.update(note)
