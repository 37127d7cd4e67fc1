"""Names that others rely on: services, networks, ports, paths, labels.

Each stands here once and is imported everywhere else: a rename is one edit, and a reader who
meets a literal port or path elsewhere has found a mistake.
"""

from enum import StrEnum
from typing import Final

PROJECT: Final = "agentstack"
SMOKE_APPLICATION: Final = "agentstack-smoke"
"""The reserved application whose token `agentstack smoke` and `demo` use."""

APPLICATION_HEADER: Final = "x-agentstack-application"
"""How the application's name travels from edge to collector; a client's own copy is stripped by the edge."""

CONFIG_DIR: Final = "/etc/agentstack"
"""Where a workload's configuration volume is mounted (read-only, named by the hash of its contents)."""
LIVE_DIR: Final = "/etc/agentstack-live"
"""Where a workload's live files are mounted: rewritten without a restart, taken up by a reload."""
PROBE_DIR: Final = "/probe"
PROBE: Final = f"{PROBE_DIR}/probe"
"""The static health probe, in a read-only volume filled from the image `probe`."""

TLS_CERT: Final = f"{CONFIG_DIR}/tls/tls.crt"
TLS_KEY: Final = f"{CONFIG_DIR}/tls/tls.key"
TLS_CA: Final = f"{CONFIG_DIR}/tls/ca.crt"


class Service(StrEnum):
    """Every long-running service; the value is its name in labels, outputs and on its own networks."""

    POSTGRES = "postgres"
    PGBOUNCER = "pgbouncer"
    PHOENIX = "phoenix"
    COLLECTOR = "collector"
    EDGE_OTLP = "edge-otlp"
    EDGE_UI = "edge-ui"
    PROMETHEUS = "prometheus"
    ALERTMANAGER = "alertmanager"
    GRAFANA = "grafana"
    POSTGRES_EXPORTER = "postgres-exporter"
    NODE_EXPORTER = "node-exporter"
    BLACKBOX_EXPORTER = "blackbox-exporter"
    DOCKER_PROXY = "docker-proxy"
    BACKUP = "backup"


class NetworkName(StrEnum):
    """The networks; on the engine each is called `agentstack-<stack>-<value>`."""

    PHOENIX = "phoenix-network"
    MONITORING = "monitoring-network"
    APPLICATION = "application-network"
    UI = "ui-network"
    EGRESS = "egress-network"


ALIASES: Final[dict[Service, tuple[str, ...]]] = {
    Service.POSTGRES: ("phoenix-postgres",),
    Service.COLLECTOR: ("otel-collector",),
}
"""The guide's other names of a service on its own networks (its certificate carries them too)."""

EDGE_OTLP_APPLICATION_ALIASES: Final = ("otel-collector", "phoenix")
"""What edge-otlp answers to on application-network."""


class Port:
    """Ports inside the containers (TCP). Host ports are settings."""

    POSTGRES: Final = 5432
    PGBOUNCER: Final = 6432
    PHOENIX: Final = 6006
    OTLP_GRPC: Final = 4317
    OTLP_HTTP: Final = 4318
    COLLECTOR_HEALTH: Final = 13133
    COLLECTOR_TELEMETRY: Final = 8888
    COLLECTOR_METRICS: Final = 8889
    COLLECTOR_APPLICATIONS: Final = 8890
    PROMETHEUS: Final = 9090
    ALERTMANAGER: Final = 9093
    GRAFANA: Final = 3000
    GRAFANA_EDGE: Final = 3001
    POSTGRES_EXPORTER: Final = 9187
    NODE_EXPORTER: Final = 9100
    BLACKBOX_EXPORTER: Final = 9115
    EDGE_METRICS: Final = 8405
    EDGE_HEALTH: Final = 8406
    BACKUP_METRICS: Final = 9746


class Label:
    """Docker labels on everything that the stack makes."""

    STACK: Final = "io.agentstack.stack"
    SERVICE: Final = "io.agentstack.service"
    REPLICA: Final = "io.agentstack.replica"
    ROLE: Final = "io.agentstack.role"
    ATTEMPT: Final = "io.agentstack.attempt"


class Role(StrEnum):
    """What a container, volume or network is for (label `io.agentstack.role`)."""

    SERVICE = "service"
    CONFIG = "config"
    LIVE = "live"
    DATA = "data"
    INIT = "init"
    JOB = "job"
    PROBE = "probe"
    NETWORK = "network"


def docker_name(stack: str, name: str) -> str:
    """The engine's name of a thing of this stack: `agentstack-<stack>-<name>`."""
    return f"{PROJECT}-{stack}-{name}"


def replica_name(service: str, replica: int) -> str:
    """`phoenix`, `phoenix-2`, `phoenix-3`, ...: replicas count from 1 and the first has no number."""
    return service if replica == 1 else f"{service}-{replica}"
