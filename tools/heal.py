"""Mending what an interrupted run left: a dead process's lock, pending operations, things that the state does not know.

A data volume is never removed. Docker makes a volume of a known name by handing back the one that exists, so the next
`up` takes an unknown data volume into the state with all it holds.
"""

import json
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from components.names import Label, Role
from tools.console import Failure, Progress, capture
from tools.driver import Stack

CONTAINER: Final = "docker:index/container:Container"
NETWORK: Final = "docker:index/network:Network"
VOLUME: Final = "docker:index/volume:Volume"
REMOVABLE_VOLUMES: Final = frozenset({Role.CONFIG.value})
"""Made again from what is declared; every other volume may hold data."""


# Locks


def runs_pulumi(pid: int, proc: Path = Path("/proc")) -> bool:
    """Whether a process of that id runs and is a `pulumi` (ids are used again).

    A killed one whose parent is gone too may stand there as a zombie: it is dead.
    """
    try:
        name, _, rest = (proc / str(pid) / "stat").read_text(encoding="utf-8").partition("(")[2].rpartition(")")
    except OSError:
        return False
    return name.startswith("pulumi") and rest.split()[:1] not in (["Z"], ["X"])


def remove_dead_locks(
    state: Path, stack: str, *, host: str | None = None, alive: Callable[[int], bool] = runs_pulumi
) -> int:
    """Remove the locks of this stack whose process is dead on this host; how many those were.

    Raises:
        Failure: when one is held by a living process or by another host: nothing is removed then.
    """
    here = host or socket.gethostname()
    dead: list[Path] = []
    for path in sorted((state / ".pulumi" / "locks").glob(f"**/{stack}/*.json")):
        try:
            lock = json.loads(path.read_text(encoding="utf-8"))
            pid, owner, since = int(lock["pid"]), str(lock["hostname"]), lock.get("timestamp", "")
        except (json.JSONDecodeError, KeyError, TypeError, ValueError):
            dead.append(path)  # cut off while it was written: its writer never got the lock
            continue
        if owner != here:
            raise Failure(
                f"the stack {stack} is locked by process {pid} on {owner} since {since}",
                f"if nothing runs there any more: `. .agentstack/env && pulumi cancel --yes --stack {stack}`",
            )
        if alive(pid):
            raise Failure(
                f"another pulumi (process {pid}) works on the stack {stack} since {since}",
                "wait until it has ended, or end it; then run the same command again",
            )
        dead.append(path)
    for path in dead:
        path.unlink(missing_ok=True)
        path.with_name(f"{path.name}.attrs").unlink(missing_ok=True)
    return len(dead)


# What the state knows


@dataclass(frozen=True)
class Known:
    """What a state says: ids of what it has, and the Docker names of what it was about to make when it was cut off."""

    ids: frozenset[str] = frozenset()
    pending_names: frozenset[str] = frozenset()
    pending: int = 0


def known_of(export: Mapping[str, Any]) -> Known:
    """Read a state (`pulumi stack export`)."""
    deployment = export.get("deployment") or {}
    operations = deployment.get("pending_operations") or []
    return Known(
        ids=frozenset(
            str(resource["id"])
            for resource in deployment.get("resources") or []
            if resource.get("type") in (CONTAINER, NETWORK, VOLUME) and resource.get("id")
        ),
        pending_names=frozenset(
            str(name)
            for operation in operations
            if (name := (operation.get("resource") or {}).get("inputs", {}).get("name"))
        ),
        pending=len(operations),
    )


def without_pending(export: Mapping[str, Any]) -> dict[str, Any]:
    """The same state, its pending operations given up: what they made is removed, what they changed is seen anew."""
    deployment = {key: value for key, value in export["deployment"].items() if key != "pending_operations"}
    return {**export, "deployment": deployment}


# What the engine has


@dataclass(frozen=True)
class Thing:
    """A container, network or volume with our label. ``networks`` are the ids that a container is attached to."""

    id: str
    name: str
    role: str
    running: bool = False
    networks: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Found:
    """Everything on the engine that carries a stack's label."""

    containers: tuple[Thing, ...] = ()
    networks: tuple[Thing, ...] = ()
    volumes: tuple[Thing, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What to remove, and what shows that another checkout's stack of the same name runs here."""

    containers: tuple[Thing, ...] = ()
    networks: tuple[Thing, ...] = ()
    volumes: tuple[Thing, ...] = ()
    foreign: tuple[Thing, ...] = field(default=())


def plan(known: Known, found: Found) -> Plan:
    """Decide about what the state does not know.

    A service that runs, unknown, on a network that is unknown too and that no pending operation was making, belongs to
    another state: a second checkout with the same stack name. Then nothing may be removed.
    """
    containers = tuple(thing for thing in found.containers if thing.id not in known.ids)
    networks = tuple(thing for thing in found.networks if thing.id not in known.ids)
    strange = {thing.id for thing in networks if thing.name not in known.pending_names}
    foreign = tuple(
        thing
        for thing in containers
        if thing.running
        and thing.role == Role.SERVICE
        and thing.name not in known.pending_names
        and thing.networks
        and thing.networks <= strange
    )
    volumes = tuple(thing for thing in found.volumes if thing.id not in known.ids and thing.role in REMOVABLE_VOLUMES)
    return Plan(containers, networks, volumes, foreign)


def _docker(env: Mapping[str, str], *arguments: str) -> str:
    return capture(["docker", *arguments], env, timeout_seconds=120)


def _inspect(env: Mapping[str, str], kind: str, names: Iterable[str]) -> list[dict[str, Any]]:
    listed = list(names)
    if not listed:
        return []
    found: list[dict[str, Any]] = json.loads(_docker(env, kind, "inspect", *listed))
    return found


def look(env: Mapping[str, str], stack: str) -> Found:
    """Ask the engine for everything with this stack's label."""
    label = ["--filter", f"label={Label.STACK}={stack}"]
    containers = _inspect(env, "container", _docker(env, "ps", "--all", "--quiet", "--no-trunc", *label).split())
    networks = _inspect(env, "network", _docker(env, "network", "ls", "--quiet", "--no-trunc", *label).split())
    volumes = _inspect(env, "volume", _docker(env, "volume", "ls", "--quiet", *label).split())
    return Found(
        containers=tuple(
            Thing(
                id=item["Id"],
                name=item["Name"].lstrip("/"),
                role=(item["Config"].get("Labels") or {}).get(Label.ROLE, ""),
                running=bool(item["State"].get("Running")),
                networks=frozenset(
                    str(network["NetworkID"])
                    for network in (item["NetworkSettings"].get("Networks") or {}).values()
                    if network.get("NetworkID")
                ),
            )
            for item in containers
        ),
        networks=tuple(
            Thing(item["Id"], item["Name"], (item.get("Labels") or {}).get(Label.ROLE, "")) for item in networks
        ),
        volumes=tuple(
            Thing(item["Name"], item["Name"], (item.get("Labels") or {}).get(Label.ROLE, "")) for item in volumes
        ),
    )


def carry_out(env: Mapping[str, str], decided: Plan, progress: Progress) -> None:
    """Remove what was decided; a network or volume that is still in use stays, and is named."""
    for thing in decided.containers:
        progress.say(f"removing the container {thing.name}, which the state does not know")
        _docker(env, "rm", "--force", thing.id)
    for kind, things in (("network", decided.networks), ("volume", decided.volumes)):
        for thing in things:
            try:
                _docker(env, kind, "rm", thing.id)
                progress.say(f"removed the {kind} {thing.name}, which the state does not know")
            except Failure as failure:
                progress.say(
                    f"the {kind} {thing.name}, which the state does not know, can't be removed: {failure.what}"
                )


def heal(stack: Stack) -> dict[str, Any]:
    """Everything above, for a stack that was selected and whose locks are gone; returns the state.

    Raises:
        Failure: when another checkout's stack of the same name runs on this engine; nothing is touched then.
    """
    export = stack.export()
    known = known_of(export)
    decided = plan(known, look(stack.env, stack.name))
    if decided.foreign:
        names = ", ".join(thing.name for thing in decided.foreign[:3])
        raise Failure(
            f"a stack {stack.name} runs on this engine ({names}, ...) of which the state in {stack.layout.state} knows "
            "nothing: it is another checkout's",
            "use that checkout, take its stack down there (`make down`), or choose another stack name, other subnets "
            f"and ports. If its checkout is gone: `docker rm -f $(docker ps -aqf label={Label.STACK}={stack.name})`, "
            "then run the same command again (its data volumes stay)",
        )
    carry_out(stack.env, decided, stack.progress)
    if known.pending:
        stack.progress.say(f"an earlier run was cut off: {known.pending} operation(s) are done anew")
        export = without_pending(export)
        scratch = stack.layout.home / f".import-{os.getpid()}.json"
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                json.dump(export, out)
            stack.pulumi("stack", "import", "--stack", stack.name, "--force", "--file", str(scratch))
        finally:
            scratch.unlink(missing_ok=True)
    return export
