"""What the program asks of the Docker engine before it declares anything: its size, its networks, its one-shots.

Read through the Docker command line, so that contexts, ``DOCKER_HOST`` and TLS settings hold as they do for
the operator.
"""

import ipaddress
import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from typing import Any

from components.names import Label, Role


class EngineError(RuntimeError):
    """The Docker engine could not be asked; the message says why and what to do."""


@dataclass(frozen=True)
class JobState:
    """A one-shot container on the engine: how its last run ended, and how often it was tried."""

    attempt: int
    succeeded: bool


@dataclass(frozen=True)
class Engine:
    """A look at the engine: version, cores, memory and free disk in MiB, foreign networks, our one-shots and sick."""

    version: str
    cpus: int
    memory_mib: int
    disk_free_mib: int | None
    disk_total_mib: int | None = None
    has_data: bool = False
    """This stack's data volumes are there: it was made before."""
    networks: dict[str, ipaddress.IPv4Network] = field(default_factory=dict)
    """Every network that is not this stack's: name -> IPv4 range."""
    jobs: dict[str, JobState] = field(default_factory=dict)
    unwell: frozenset[str] = frozenset()
    """This stack's services that run but are not healthy."""


def _docker(*arguments: str) -> str:
    binary = shutil.which("docker")
    if binary is None:
        raise EngineError("the docker command was not found: install Docker's command line (`make up` does it for you)")
    try:
        done = subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"`docker {arguments[0]}` did not answer within 60 s: is the engine overloaded?") from error
    if done.returncode:
        raise EngineError(
            f"`docker {' '.join(arguments[:2])}` failed: {done.stderr.strip() or done.stdout.strip()}. "
            "Is a Docker engine running, and may this user reach it?"
        )
    return done.stdout


def _json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _inspect(kind: str, names: list[str]) -> list[dict[str, Any]]:
    if not names:
        return []
    found: list[dict[str, Any]] = json.loads(_docker(kind, "inspect", *names))
    return found


def _networks(stack: str) -> dict[str, ipaddress.IPv4Network]:
    found: dict[str, ipaddress.IPv4Network] = {}
    for network in _inspect("network", _docker("network", "ls", "--quiet").split()):
        if (network.get("Labels") or {}).get(Label.STACK) == stack:
            continue
        for config in (network.get("IPAM") or {}).get("Config") or []:
            try:
                found[network["Name"]] = ipaddress.IPv4Network(config.get("Subnet", ""), strict=False)
            except ValueError:
                continue
    return found


def _jobs(stack: str) -> dict[str, JobState]:
    names = []
    for role in (Role.JOB, Role.INIT):
        listed = _docker(
            "ps",
            "--all",
            "--quiet",
            "--filter",
            f"label={Label.STACK}={stack}",
            "--filter",
            f"label={Label.ROLE}={role}",
        )
        names += listed.split()
    return {
        container["Name"].lstrip("/"): JobState(
            attempt=int((container["Config"]["Labels"] or {}).get(Label.ATTEMPT, "1")),
            succeeded=container["State"]["Status"] != "exited" or container["State"]["ExitCode"] == 0,
        )
        for container in _inspect("container", names)
    }


def _unwell(stack: str) -> frozenset[str]:
    wanted = (f"label={Label.STACK}={stack}", f"label={Label.ROLE}={Role.SERVICE}")
    names = _docker("ps", "--all", "--quiet", *(f"--filter={one}" for one in wanted)).split()
    return frozenset(
        container["Name"].lstrip("/")
        for container in _inspect("container", names)
        if (container["State"].get("Health") or {}).get("Status", "healthy") != "healthy"
    )


def wait_until_healthy(container: str, timeout_seconds: float) -> None:
    """Wait for a container's health check.

    Raises:
        EngineError: when it is not healthy in time; with what its last check said.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        [found] = _inspect("container", [container])
        health = found["State"].get("Health") or {}
        if health.get("Status") == "healthy":
            return
        if time.monotonic() >= deadline:
            said = (health.get("Log") or [{}])[-1].get("Output", "").strip() or "nothing yet"
            raise EngineError(
                f"{container} is not healthy after {timeout_seconds:.0f} s; its health check says: {said}. "
                f"Read `docker logs {container}`, mend the cause and run `up` again"
            )
        time.sleep(1)


def _disk_mib(root: str) -> tuple[int | None, int | None]:
    """Free and total space of the engine's data directory, where it is on this machine."""
    try:
        stat = os.statvfs(root)
    except OSError:
        return None, None
    mebibyte = 1024 * 1024
    return stat.f_bavail * stat.f_frsize // mebibyte, stat.f_blocks * stat.f_frsize // mebibyte


def inspect_engine(stack: str) -> Engine:
    """Ask the engine.

    Raises:
        EngineError: when it can't be reached.
    """
    info: dict[str, Any] = json.loads(_docker("info", "--format", "{{json .}}"))
    if info.get("ServerErrors"):
        raise EngineError(f"the Docker engine can't be reached: {'; '.join(info['ServerErrors'])}")
    free, total = _disk_mib(str(info.get("DockerRootDir", "/var/lib/docker")))
    ours = ("--filter", f"label={Label.STACK}={stack}")
    return Engine(
        version=str(info["ServerVersion"]),
        cpus=int(info["NCPU"]),
        memory_mib=int(info["MemTotal"]) // 1024 // 1024,
        disk_free_mib=free,
        disk_total_mib=total,
        has_data=bool(_docker("volume", "ls", "--quiet", *ours, "--filter", f"label={Label.ROLE}={Role.DATA}").split()),
        networks=_networks(stack),
        jobs=_jobs(stack),
        unwell=_unwell(stack),
    )
