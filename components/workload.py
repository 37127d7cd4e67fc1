"""The one description of a thing that runs, whatever runs it.

A component describes a :class:`Workload`; a runtime (``runtime.py``) turns it into Docker resources.
Nothing here names Docker's resource types, so that another runtime can be put in its place.

Hardened by default: non-root, read-only root, no capabilities, no privilege gain, limits on memory, cpu,
descriptors and logs. A service that needs less of it says so by name and with a reason in
``exceptions``; :data:`EXCEPTIONS` lists the names that exist, and the unit tests list who uses them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pulumi

from components.names import NetworkName, Service

EXCEPTIONS: Final[Mapping[str, str]] = {
    "root": "runs as uid 0 (without any capability unless one is named)",
    "capability": "keeps a capability",
    "writable-root": "its root file system is writable",
    "host-path": "sees a path of the host",
    "host-pid": "shares the host's process ids",
    "docker-socket": "sees the Docker socket",
    "no-healthcheck": "has no health check",
}


@dataclass(frozen=True)
class ConfigFile:
    """One file of a workload: text (often a secret Output) and its mode ("0440"), owned by the workload's user."""

    content: pulumi.Input[str]
    mode: str = "0440"


@dataclass(frozen=True)
class DataVolume:
    """A named volume that outlives containers: protected, never removed by a heal; owned by the workload's user."""

    name: str
    target: str
    read_only: bool = False
    mode: str = "0700"
    shared: bool = False
    """True: another workload declares (and initialises) it; only mount it."""


@dataclass(frozen=True)
class HostPath:
    """A path of the host, read-only unless said otherwise; needs the exception ``host-path``."""

    source: str
    target: str
    read_only: bool = True


@dataclass(frozen=True)
class Attachment:
    """Membership of one network, and the extra names the workload answers to there (its service name always)."""

    network: NetworkName
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublishedPort:
    """A TCP port published on the stack's bind address. Only the edges have any."""

    host: int
    container: int


@dataclass(frozen=True)
class Resources:
    """Limits and reservations: cpu in cores, memory in MiB. Swap is never allowed on top."""

    cpus: float
    memory_mib: int
    cpus_reserved: float = 0.0
    memory_reserved_mib: int = 0


@dataclass(frozen=True)
class ReloadKeeps:
    """One line to a Unix socket inside the container, and the file that keeps the answer."""

    socket: str
    ask: str
    answer: str


@dataclass(frozen=True)
class Health:
    """A health check: the probe's arguments (see images/probe), times in seconds.

    ``restart_after`` consecutive failures make the probe end the sick process from inside, and the restart policy
    starts it again: Docker alone only marks a container unhealthy. 0 switches that off.
    """

    probe: tuple[str, ...]
    interval_seconds: int = 10
    timeout_seconds: int = 6
    retries: int = 3
    start_period_seconds: int = 30
    restart_after: int = 6
    wait_timeout_seconds: int = 180
    reload_signal: str | None = None
    """Sent (HUP, USR1, USR2) to the service when its live files have changed; None: it looks at them by itself."""
    reload_keeps: ReloadKeeps | None = None
    """What the service is asked before that signal, for it to find again afterwards."""


@dataclass(frozen=True)
class Workload:
    """Everything about one service.

    Paths of ``files`` are below /etc/agentstack, those of ``live_files`` below /etc/agentstack-live.
    """

    service: Service
    image: pulumi.Input[str]
    resources: Resources
    networks: tuple[Attachment, ...]
    uid: int
    gid: int
    health: Health | None
    entrypoint: Sequence[str] | None = None
    command: Sequence[pulumi.Input[str]] = ()
    env: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    files: Mapping[str, ConfigFile] = field(default_factory=dict)
    live_files: Mapping[str, ConfigFile] = field(default_factory=dict)
    volumes: tuple[DataVolume, ...] = ()
    host_paths: tuple[HostPath, ...] = ()
    tmpfs: Mapping[str, int] = field(default_factory=dict)
    """Mount point -> size in MiB; mounted noexec, nosuid, nodev, mode 1777."""
    ports: tuple[PublishedPort, ...] = ()
    capabilities: tuple[str, ...] = ()
    """Capabilities kept (``CAP_...``); each needs the exception ``capability``."""
    replicas: int = 1
    shm_mib: int = 64
    nofile: int = 8192
    working_dir: str | None = None
    """None: the image's own."""
    stop_signal: str = "SIGTERM"
    stop_grace_seconds: int = 30
    start_after: tuple[pulumi.Resource, ...] = ()
    host_pid: bool = False
    init: bool = True
    """docker-init as PID 1: it reaps, forwards signals, and lets the probe end the service (not possible as PID 1)."""
    exceptions: Mapping[str, str] = field(default_factory=dict)
    """Name of an exception from EXCEPTIONS -> the reason."""

    def __post_init__(self) -> None:
        """Refuse what is not hardened and not said to be an exception."""
        unknown = set(self.exceptions) - set(EXCEPTIONS)
        if unknown:
            raise ValueError(f"{self.service}: unknown exceptions {sorted(unknown)}; known: {sorted(EXCEPTIONS)}")
        needed = {
            "root": self.uid == 0,
            "capability": bool(self.capabilities),
            "host-path": bool(self.host_paths),
            "host-pid": self.host_pid,
            "no-healthcheck": self.health is None,
        }
        for name, used in needed.items():
            if used and not self.exceptions.get(name):
                raise ValueError(f"{self.service}: needs the exception {name!r} with its reason in `exceptions`")


@dataclass(frozen=True)
class Job:
    """A one-shot: runs to its end before what starts after it.

    A non-zero exit fails this `up` and is tried again by the next.
    """

    name: str
    service: Service
    image: pulumi.Input[str]
    command: Sequence[pulumi.Input[str]]
    uid: int
    gid: int
    networks: tuple[Attachment, ...] = ()
    entrypoint: Sequence[str] | None = None
    env: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    files: Mapping[str, ConfigFile] = field(default_factory=dict)
    volumes: tuple[DataVolume, ...] = ()
    tmpfs: Mapping[str, int] = field(default_factory=dict)
    memory_mib: int = 256
    cpus: float = 1.0
    start_after: tuple[pulumi.Resource, ...] = ()
