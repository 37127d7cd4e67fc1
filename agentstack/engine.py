"""The Docker engine through its command line, so that contexts and DOCKER_HOST hold as they do for the operator."""

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from agentstack.errors import CommandError
from components.names import Label

TIMEOUT_SECONDS: Final = 60
_UNITS: Final = {
    "B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4,
    "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4,
}  # fmt: skip
_NO_TIME: Final = "0001-01-01T00:00:00Z"


@dataclass(frozen=True)
class Container:
    """What the engine says of one container."""

    name: str
    service: str
    role: str
    replica: int
    status: str
    """created, running, paused, restarting, exited, dead"""
    health: str | None
    """starting, healthy, unhealthy; None without a health check"""
    image_id: str
    image: str
    started_at: datetime | None
    restarts: int
    memory_limit_bytes: int
    exit_code: int
    raw: dict[str, Any] = field(repr=False, default_factory=dict)


def docker(*arguments: str, timeout_seconds: int = TIMEOUT_SECONDS) -> bytes:
    """Standard output of a `docker` command.

    Raises:
        CommandError: when docker is missing, does not answer or fails.
    """
    try:
        done = subprocess.run(
            ["docker", *arguments],
            capture_output=True,
            check=False,
            timeout=timeout_seconds,
        )
    except FileNotFoundError as error:
        raise CommandError("the docker command was not found", "install Docker, or run `make up`") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(
            f"`docker {arguments[0]}` did not answer within {timeout_seconds} s", "is the engine overloaded?"
        ) from error
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip()
        raise CommandError(
            f"`docker {' '.join(arguments[:2])}` failed: {message}",
            "is a Docker engine running, and may this user reach it?" if "daemon" in message else "",
        )
    return done.stdout


def parse_time(text: str) -> datetime | None:
    """Docker's time stamps carry nanoseconds; None for the one that means "never"."""
    if not text or text == _NO_TIME:
        return None
    return datetime.fromisoformat(re.sub(r"\.(\d{6})\d*", r".\1", text)).astimezone(UTC)


def parse_size(text: str) -> int:
    """``12.5MiB`` -> bytes.

    Raises:
        ValueError: for anything else.
    """
    match = re.fullmatch(r"\s*([0-9.]+)\s*([A-Za-z]+)\s*", text)
    if match is None or match.group(2) not in _UNITS:
        raise ValueError(f"{text!r} is not a size")
    return round(float(match.group(1)) * _UNITS[match.group(2)])


def to_container(raw: dict[str, Any]) -> Container:
    """From `docker inspect`."""
    state, labels = raw["State"], raw["Config"].get("Labels") or {}
    return Container(
        name=raw["Name"].lstrip("/"),
        service=labels.get(Label.SERVICE, ""),
        role=labels.get(Label.ROLE, ""),
        replica=int(labels.get(Label.REPLICA, "1")),
        status=state["Status"],
        health=(state.get("Health") or {}).get("Status"),
        image_id=raw["Image"],
        image=raw["Config"]["Image"],
        started_at=parse_time(state.get("StartedAt", "")),
        restarts=int(raw.get("RestartCount", 0)),
        memory_limit_bytes=int(raw["HostConfig"].get("Memory", 0)),
        exit_code=int(state.get("ExitCode", 0)),
        raw=raw,
    )


def containers(stack: str) -> dict[str, Container]:
    """Every container that carries this stack's label, running or not: name -> what the engine says."""
    for last in (False, True):
        listed = docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={Label.STACK}={stack}")
        ids = listed.decode().split()
        try:
            raws = json.loads(docker("container", "inspect", *ids)) if ids else []
        except CommandError:
            if last:
                raise
            continue  # one of them went between the two questions: ask again
        return {container.name: container for container in map(to_container, raws)}
    raise AssertionError("unreachable")


def memory_use(names: Sequence[str]) -> dict[str, int]:
    """Resident memory in bytes, page cache not counted, of running containers."""
    if not names:
        return {}
    text = docker("stats", "--no-stream", "--format", "{{json .}}", *names).decode()
    return parse_stats(text)


def parse_stats(text: str) -> dict[str, int]:
    """Lines of `docker stats --format json` -> bytes by name; a container that just went is left out."""
    used: dict[str, int] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        row = json.loads(line)
        try:
            used[row["Name"]] = parse_size(row["MemUsage"].split("/")[0])
        except ValueError:
            continue
    return used


def image_names(ids: Sequence[str]) -> dict[str, str]:
    """Image id -> the tag or digest it is known by, where it has one."""
    names: dict[str, str] = {}
    for raw in json.loads(docker("image", "inspect", *sorted(set(ids)))) if ids else []:
        known = raw.get("RepoTags") or raw.get("RepoDigests") or []
        if known:
            names[raw["Id"]] = known[0]
    return names
