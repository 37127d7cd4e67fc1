"""The configuration of an edge as text: one renderer for both edges, pure, from frozen inputs.

The text itself is in ``templates/``; here is what goes into its holes. Two edges, because a container on
application-network reaches whatever listens on an edge's address there: no user interface may.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from components.edge import maps
from components.edge.limits import LIMITS, RETRY_SECONDS, retry
from components.edge.messages import MESSAGES
from components.edge.reload import SERVERS_FILE, SOCKET
from components.names import APPLICATION_HEADER, CONFIG_DIR, Port, Service
from components.settings.sizing import MAX_REPLICAS

STOP_GRACE_SECONDS: Final = 40
HARD_STOP_SECONDS: Final = 35
LOOPBACK: Final = "127.0.0.0/8"
_WORD: Final = re.compile(r"[A-Za-z0-9.:/*\[\]_~@-]+")
_APPLICATION_PREFIX: Final = APPLICATION_HEADER.removesuffix("application")


@dataclass(frozen=True)
class Sizing:
    """What an edge may use, so that it fits its memory limit even while two workers run (a reload)."""

    threads: int
    clients: int
    """Connections at once."""
    buffers: int
    """Buffers of 16 KiB at once, per worker: what bounds the memory of requests in flight."""
    tls_sessions: int
    cache_mib: int
    cache_object_bytes: int
    sources: int
    """Entries of the table of client addresses."""


def sizing(memory_mib: int, cpus: float) -> Sizing:
    """How large an edge with these limits may grow."""
    share = max(memory_mib, 64) / 112
    cache_mib = max(4, min(64, int(6 * share)))
    return Sizing(
        threads=max(1, min(16, math.ceil(cpus))),
        clients=min(20_000, int(700 * share)),
        buffers=int(1200 * share),
        tls_sessions=min(20_000, int(4000 * share)),
        cache_mib=cache_mib,
        cache_object_bytes=cache_mib * 1024 * 1024 // 2,
        sources=min(100_000, int(10_000 * share)),
    )


@dataclass(frozen=True)
class Interface:
    """One user interface behind the edge. ``host`` is where it is found, ``service`` the name in its certificate."""

    name: str
    service: str
    host: str
    port: int
    service_port: int
    health_path: str
    health_statuses: tuple[int, ...] = (200,)
    health_alias: str = ""
    login_paths: tuple[str, ...] = ()
    closed_paths: tuple[str, ...] = ()
    admin_paths: tuple[str, ...] = ()
    """Below these only GET and HEAD pass."""
    static_prefix: str = ""
    ingest_path: str = ""


@dataclass(frozen=True)
class Edge:
    """Everything that differs between the edges, and between stacks."""

    service: Service
    sizing: Sizing
    takes_otlp: bool
    served_on: tuple[str, ...]
    """Networks (CIDR) on which the ports answer; loopback is always in it."""
    near: tuple[str, ...]
    """Addresses behind which several clients stand: loopback and the gateways of our own bridges."""
    monitored_from: str
    """The network (CIDR) from which metrics may be read."""
    collector_host: str
    metrics_pages: tuple[tuple[str, str], ...]
    """Path on the metrics port, file."""
    allowed_sources: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    public_names: tuple[str, ...] = ()
    interfaces: tuple[Interface, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a word that HAProxy would read as something else."""
        words = [*self.allowed_sources, *self.allowed_origins, *self.public_names]
        bad = [word for word in words if not _WORD.fullmatch(word)]
        if bad:
            raise ValueError(
                f"{', '.join(map(repr, bad))} can't stand in the edge's configuration: spaces, quotes, #, $"
            )

    @property
    def hsts_tests(self) -> list[str]:
        """HAProxy's matches of the host names that get HSTS. Browsers ignore it under addresses."""
        names = [name for name in self.public_names if not _is_address(name)]
        exact = [name for name in names if not name.startswith("*.")]
        suffixes = [name.removeprefix("*") for name in names if name.startswith("*.")]
        return [*([f"str {' '.join(exact)}"] if exact else []), *([f"end {' '.join(suffixes)}"] if suffixes else [])]


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def gateways(networks: Sequence[IPv4Network]) -> tuple[str, ...]:
    """Loopback, and the address of the host on each of these networks (see components/networks.py)."""
    return (LOOPBACK, *(str(network[1]) for network in networks))


def interfaces(phoenix: str, grafana: str, prometheus: str, alertmanager: str) -> tuple[Interface, ...]:
    """The four interfaces, by the host names where they are found.

    Prometheus and Alertmanager answer 401 to a check without a password: that they do is what the check looks
    for, so that the edge needs no password of theirs.
    """
    return (
        Interface(
            name="phoenix",
            service=Service.PHOENIX,
            host=phoenix,
            port=Port.PHOENIX,
            service_port=Port.PHOENIX,
            health_path="/readyz",
            health_alias="/health",
            login_paths=("/auth/login", "/auth/ldap/login", "/auth/password-reset"),
            closed_paths=("/metrics",),
            static_prefix="/assets/",
            ingest_path="/v1/traces",
        ),
        Interface(
            name="grafana",
            service=Service.GRAFANA,
            host=grafana,
            port=Port.GRAFANA_EDGE,
            service_port=Port.GRAFANA,
            health_path="/api/health",
            login_paths=("/login",),
            closed_paths=("/metrics",),
            static_prefix="/public/",
        ),
        Interface(
            name="prometheus",
            service=Service.PROMETHEUS,
            host=prometheus,
            port=Port.PROMETHEUS,
            service_port=Port.PROMETHEUS,
            health_path="/-/ready",
            health_statuses=(200, 401),
            admin_paths=("/-/", "/api/v1/admin/", "/api/v1/write", "/api/v1/otlp"),
        ),
        Interface(
            name="alertmanager",
            service=Service.ALERTMANAGER,
            host=alertmanager,
            port=Port.ALERTMANAGER,
            service_port=Port.ALERTMANAGER,
            health_path="/-/ready",
            health_statuses=(200, 401),
            admin_paths=("/-/",),
        ),
    )


def _status_json(message: str, code: int) -> str:
    """The body of a refused OTLP/HTTP request: a google.rpc.Status."""
    return json.dumps({"code": code, "message": message})


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - not HTML; what goes in is checked by the settings
    )
    environment.filters["status_json"] = _status_json
    return environment


def render_config(edge: Edge) -> str:
    """haproxy.cfg of one edge."""
    return (
        _environment()
        .get_template("edge.cfg.j2")
        .render(
            edge=edge,
            limits=LIMITS,
            messages=MESSAGES,
            retry=retry(RETRY_SECONDS, MESSAGES["limited"]),
            ports=SimpleNamespace(
                grpc=Port.OTLP_GRPC,
                http=Port.OTLP_HTTP,
                phoenix=Port.PHOENIX,
                metrics=Port.EDGE_METRICS,
                health=Port.EDGE_HEALTH,
                collector_health=Port.COLLECTOR_HEALTH,
            ),
            names=SimpleNamespace(collector=Service.COLLECTOR),
            maps=SimpleNamespace(
                applications=maps.live_path(maps.APPLICATIONS_MAP),
                requests_per_second=maps.live_path(maps.REQUESTS_MAP),
                bytes_per_second=maps.live_path(maps.BYTES_MAP),
                scrapers=maps.config_path(maps.SCRAPERS_MAP),
            ),
            unknown=maps.UNKNOWN,
            application_header=APPLICATION_HEADER,
            header_prefix=_APPLICATION_PREFIX,
            slots=MAX_REPLICAS,
            tls_dir=f"{CONFIG_DIR}/tls",
            socket=SOCKET,
            servers_file=SERVERS_FILE,
            hard_stop_seconds=HARD_STOP_SECONDS,
        )
    )
