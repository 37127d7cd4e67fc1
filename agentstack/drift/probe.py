"""What neither state nor refresh can see: health, pause, loops, networks, images, strangers. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from agentstack.drift.declared import Declared, DeclaredContainer
from agentstack.drift.finding import Finding
from agentstack.drift.kinds import Kind
from agentstack.drift.look import Look, ours
from agentstack.engine import parse_time
from components.names import NetworkName, Role, docker_name

LOOP_RESTARTS: Final = 3
LOOP_SECONDS: Final = 300
"""A container that was restarted three times or more, last within five minutes, and is not healthy, loops."""
OPEN_NETWORKS: Final = frozenset({NetworkName.APPLICATION})
"""Where containers that are not the stack's may be."""


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def sick_since(state: Mapping[str, Any]) -> str | None:
    """When the health checks began to fail, as far back as Docker remembers."""
    since = None
    for entry in reversed((state.get("Health") or {}).get("Log") or []):
        if entry.get("ExitCode") == 0:
            break
        since = parse_time(entry.get("Start", ""))
    return _stamp(since)


def _last_words(state: Mapping[str, Any]) -> str:
    log = (state.get("Health") or {}).get("Log") or []
    return " ".join(str(log[-1].get("Output", "")).split())[:160] if log else ""


def of_service(container: DeclaredContainer, raw: Mapping[str, Any], now: datetime) -> Iterator[Finding]:
    """A service's container must run and be well."""
    state = raw["State"]
    health = (state.get("Health") or {}).get("Status")
    restarts = int(raw.get("RestartCount", 0))
    started = parse_time(state.get("StartedAt", ""))
    young = started is not None and now - started < timedelta(seconds=LOOP_SECONDS)

    def finding(kind: Kind, actual: str, since: str | None, repair: str) -> Finding:
        return Finding(kind, container.name, "running and healthy", actual, since, repair, container.urn)

    if state["Status"] == "paused":
        yield finding(Kind.PAUSED, "paused", None, "unpause it")
    elif state["Status"] == "restarting" or (restarts >= LOOP_RESTARTS and young and health != "healthy"):
        yield finding(
            Kind.RESTART_LOOP,
            f"restarted {restarts} times, last exit code {state.get('ExitCode')}",
            _stamp(parse_time(state.get("FinishedAt", ""))),
            f"replace it; `agentstack logs {container.service}` says why it ends",
        )
    elif state["Status"] != "running":
        yield finding(
            Kind.STOPPED,
            f"{state['Status']}, exit code {state.get('ExitCode')}",
            _stamp(parse_time(state.get("FinishedAt", ""))),
            "start it",
        )
    elif health == "unhealthy":
        words = _last_words(state)
        yield finding(
            Kind.UNHEALTHY, f"unhealthy: {words}" if words else "unhealthy", sick_since(state), "replace the container"
        )


def of_job(container: DeclaredContainer, raw: Mapping[str, Any]) -> Iterator[Finding]:
    """A one-shot must have ended well."""
    state = raw["State"]
    if state["Status"] in {"exited", "dead"} and state.get("ExitCode"):
        yield Finding(
            Kind.JOB_FAILED,
            container.name,
            "exit code 0",
            f"exit code {state['ExitCode']}",
            _stamp(parse_time(state.get("FinishedAt", ""))),
            "run it again",
            container.urn,
        )


def of_networks(container: DeclaredContainer, raw: Mapping[str, Any], ids: Mapping[str, str]) -> Iterator[Finding]:
    """A container must be on exactly its networks, under its names.

    Args:
        ids: network name -> id, to read declarations by either.
    """
    names = {**{identity: name for name, identity in ids.items()}, **{name: name for name in ids}}
    expected = {names.get(network, network): aliases for network, aliases in container.networks.items()}
    attached = (raw.get("NetworkSettings") or {}).get("Networks") or {}
    actual = {name: tuple(entry.get("Aliases") or ()) for name, entry in attached.items() if name != "none"}
    if not expected and set(actual) <= {"bridge", "host"}:
        return
    missing = sorted(set(expected) - set(actual))
    extra = sorted(set(actual) - set(expected))
    nameless = {
        name: sorted(set(aliases) - set(actual[name]))
        for name, aliases in expected.items()
        if name in actual and set(aliases) - set(actual[name])
    }
    if not (missing or extra or nameless):
        return
    told = [", ".join(sorted(actual)) or "none"]
    told += [f"not called {', '.join(lost)} on {name}" for name, lost in sorted(nameless.items())]
    yield Finding(
        Kind.NETWORK,
        container.name,
        ", ".join(sorted(expected)) or "none",
        "; ".join(told),
        None,
        "connect and disconnect it as declared",
        container.urn,
        details={
            "connect": {name: list(expected[name]) for name in [*missing, *nameless]},
            "disconnect": [*extra, *nameless],
        },
    )


def of_image(container: DeclaredContainer, raw: Mapping[str, Any], look: Look) -> Iterator[Finding]:
    """A container must run the image that was declared."""
    expected = container.image if container.image.startswith("sha256:") else look.image_ids.get(container.image, "")
    if expected and raw["Image"] != expected:
        yield Finding(
            Kind.IMAGE,
            container.name,
            f"image {expected}",
            f"image {raw['Image']}",
            _stamp(parse_time(raw.get("Created", ""))),
            "replace the container",
            container.urn,
        )


def of_references(references: Mapping[str, str], look: Look) -> Iterator[Finding]:
    """A reference must mean the image that it meant when it was taken."""
    for reference, expected in sorted(references.items()):
        actual = look.image_ids.get(reference)
        if expected and actual != expected:
            yield Finding(
                Kind.IMAGE,
                reference,
                f"image {expected}",
                f"image {actual}" if actual else "not on the engine",
                None,
                "give the name back to the image that runs",
                details={"tag": reference, "image": expected},
            )


def of_strangers(stack: str, declared: Declared, look: Look) -> Iterator[Finding]:
    """Nothing else may carry the stack's label or name, or be attached to its inner networks."""
    known = {container.id for container in declared.containers}
    for identity, raw in look.containers.items():
        name = raw["Name"].lstrip("/")
        if identity not in known and ours(stack, name, raw["Config"].get("Labels")):
            yield _foreign("container", name, raw.get("Created"))
    for name, raw in look.networks.items():
        if raw["Id"] not in declared.networks.values():
            yield _foreign("network", name, raw.get("Created"))
    for name, raw in look.volumes.items():
        if name not in declared.volumes:
            yield _foreign("volume", name, raw.get("CreatedAt"))
    inner = {docker_name(stack, network) for network in NetworkName if network not in OPEN_NETWORKS}
    for identity, raw in look.containers.items():
        name = raw["Name"].lstrip("/")
        if identity in known or ours(stack, name, raw["Config"].get("Labels")):
            continue
        for network in sorted(inner & set((raw.get("NetworkSettings") or {}).get("Networks") or {})):
            yield Finding(
                Kind.INTRUDER,
                name,
                f"only the stack's own containers on {network}",
                f"attached to {network}",
                _stamp(parse_time(raw["State"].get("StartedAt", ""))),
                f"disconnect it: `agentstack repair --remove {name}`",
                details={"network": network, "container": identity},
            )


def _foreign(what: str, name: str, created: str | None) -> Finding:
    repair = (
        "look what it holds, then `docker volume rm` it yourself: a volume is never removed by a repair"
        if what == "volume"
        else f"remove it: `agentstack repair --remove {name}`"
    )
    return Finding(
        Kind.FOREIGN,
        name,
        f"no {what} of that name or label outside the state",
        f"a {what} that the state does not know",
        _stamp(parse_time(created or "")),
        repair,
        details={"what": what},
    )


def findings(stack: str, declared: Declared, look: Look, now: datetime) -> Iterator[Finding]:
    """All that the probe finds, configuration volumes excepted."""
    for container in declared.containers:
        raw = look.containers.get(container.id)
        if raw is None:
            continue  # refresh says so
        if container.runs:
            yield from of_service(container, raw, now)
            yield from of_networks(container, raw, declared.networks)
        elif container.role in {Role.JOB, Role.INIT}:
            yield from of_job(container, raw)
        yield from of_image(container, raw, look)
    yield from of_strangers(stack, declared, look)
