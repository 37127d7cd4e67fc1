"""The restore in place: writers stopped, the log closed, the data made beside the present one, swapped, proved.

Whatever fails before the swap leaves the running data as it was; what fails after it is swapped back.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agentstack.engine import containers, docker
from agentstack.errors import CommandError
from agentstack.outputs import StackOutputs
from agentstack.recovery.sidecar import Sidecar
from components.names import Service, docker_name
from components.postgres import RECONCILE_JOB, STOP_GRACE_SECONDS

HEALTHY_SECONDS: Final = 600
WRITERS: Final = (Service.PHOENIX, Service.PGBOUNCER)
"""Stopped before; the Collector goes on and keeps what arrives in its disk queue."""


@dataclass
class Timings:
    """Seconds of each phase, in their order."""

    phases: dict[str, float] = field(default_factory=dict)

    def timed(self, name: str, step: Callable[[], Any]) -> Any:
        """Run one phase."""
        begun = time.monotonic()
        try:
            return step()
        finally:
            self.phases[name] = round(time.monotonic() - begun, 1)

    @property
    def total(self) -> float:
        """All of them."""
        return round(sum(self.phases.values()), 1)


def target_words(to: str | None, backup: str | None) -> list[str]:
    """The target as the container takes it."""
    if to:
        return ["--to", to]
    return ["--backup", backup] if backup else ["--latest"]


def stop(names: Sequence[str], grace_seconds: int) -> None:
    """Stop containers; those that are stopped already stay so."""
    if names:
        docker("stop", "--time", str(grace_seconds), *names, timeout_seconds=grace_seconds * len(names) + 60)


def start(names: Sequence[str]) -> None:
    """Start containers."""
    if names:
        docker("start", *names)


def await_healthy(stack: str, names: Sequence[str], seconds: float = HEALTHY_SECONDS) -> None:
    """Wait until all are healthy.

    Raises:
        CommandError: when one is not in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = containers(stack)
        sick = [name for name in names if found.get(name) is None or found[name].health != "healthy"]
        if not sick:
            return
        if time.monotonic() > deadline:
            raise CommandError(
                f"{', '.join(sick)} not healthy within {seconds:.0f} s", f"`docker logs {sick[0]}` shows why"
            )
        time.sleep(1)


@dataclass
class InPlace:
    """One restore of one stack."""

    outputs: StackOutputs
    repository: str
    say: Callable[[str], None]
    timings: Timings = field(default_factory=Timings)

    def __post_init__(self) -> None:
        """Find the containers."""
        self.sidecar = Sidecar.of(self.outputs)
        self.postgres = self.outputs.containers[Service.POSTGRES.value][0]
        self.writers = [name for service in WRITERS for name in self.outputs.containers.get(service.value, ())]

    def plan(self, words: Sequence[str]) -> dict[str, Any]:
        """What it will do."""
        return self.sidecar.ask("plan", "--repository", self.repository, *words)

    def run(self, words: Sequence[str]) -> dict[str, Any]:
        """Do it; what was made, with the seconds of each phase.

        Raises:
            CommandError: when it fails; the data that ran before is in place again, and its services run.
        """
        self.say("stopping the writers (the Collector keeps what arrives)")
        try:
            self.timings.timed("stop writers", lambda: stop(self.writers, 40))
            made = self._prepare(words)
            self._replace(made["name"])
        finally:
            start(self.writers)
        self.timings.timed("writers healthy", lambda: await_healthy(self.outputs.stack, self.writers))
        # The old backups belong to the history that was left: a new one makes the next restore simple.
        docker("exec", "--detach", self.sidecar.container, *self.sidecar.command("now", "full-local")[3:])
        self.say("a full backup of the restored data runs in the background")
        return {**made, "seconds": self.timings.phases, "total_seconds": self.timings.total}

    def _prepare(self, words: Sequence[str]) -> dict[str, Any]:
        point: list[str] = []
        if "--backup" not in words:
            closed = self.timings.timed("close the log", self._close_log)
            point = ["--point", closed] if closed and "--latest" in words else []
        made: dict[str, Any] = self.timings.timed(
            "restore and recover", lambda: self.sidecar.ask("make", "--repository", self.repository, *words, *point)
        )
        return made

    def _close_log(self) -> str | None:
        try:
            point = self.sidecar.ask("close-log")["point"]
        except CommandError as error:
            raise CommandError(
                f"the server runs but can't archive its log ({error.what}): a restore would lose what it holds",
                "mend the archive first (runbook WalArchiveStuck), or go to a backup as it is with --backup LABEL",
            ) from error
        if point is None:
            self.say("the server does not answer: what it had not archived is lost")
            return None
        return str(point)

    def _replace(self, name: str) -> None:
        def swap() -> None:
            stop([self.postgres], STOP_GRACE_SECONDS)
            aside = self.sidecar.ask("swap", name)["aside"]
            if aside:
                self.say(f"the old data is kept in {aside}: `agentstack backup forget` removes it")
            if self.repository != "local":
                self.sidecar.ask("adopt")

        try:
            self.timings.timed("swap", swap)
            start([self.postgres])
            self.timings.timed("server healthy", lambda: await_healthy(self.outputs.stack, [self.postgres]))
            self.timings.timed("reconcile roles", self._reconcile)
        except CommandError as error:
            self._undo(name, error)
            raise

    def _reconcile(self) -> None:
        """The backup has the roles of its day; the job gives them today's passwords and grants."""
        job = docker_name(self.outputs.stack, RECONCILE_JOB)
        docker("start", "--attach", job, timeout_seconds=HEALTHY_SECONDS)

    def _undo(self, name: str, error: CommandError) -> None:
        self.say(f"the restored data can't be used ({error.what}): putting the old data back")
        stop([self.postgres], STOP_GRACE_SECONDS)
        try:
            self.sidecar.ask("swap-back", name)
        except CommandError as second:
            self.say(f"there is no old data to put back: {second.what}")
        start([self.postgres])
