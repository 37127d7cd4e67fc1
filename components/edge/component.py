"""The two edges as components. Nothing here waits for what is behind: an edge starts without any backend."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address

import pulumi

from components.context import Context
from components.contributions import ScrapeTarget
from components.edge import maps
from components.edge.limits import SMOKE_LIMITS
from components.edge.reload import KEEPS
from components.edge.render import (
    LOOPBACK,
    STOP_GRACE_SECONDS,
    Edge,
    Interface,
    gateways,
    interfaces,
    render_config,
    sizing,
)
from components.edge.tokens import IngestTokens
from components.names import (
    CONFIG_DIR,
    EDGE_OTLP_APPLICATION_ALIASES,
    NetworkName,
    Port,
    Service,
    docker_name,
)
from components.networks import subnet_of
from components.runtime import Running
from components.settings.sizing import Size
from components.trust import tls_files
from components.workload import Attachment, ConfigFile, Health, PublishedPort, Workload

UID = 99
GID = 99
"""The haproxy user of the official image."""

HEALTH = Health(
    reload_signal="USR2",
    reload_keeps=KEEPS,
    probe=("http", "--url", f"http://127.0.0.1:{Port.EDGE_HEALTH}/live"),
    interval_seconds=5,
    start_period_seconds=15,
)
"""Plaintext to loopback inside the container. Alive, not ready: an edge without a collector must not restart."""


def host_on(stack: str, service: str, network: NetworkName) -> str:
    """The name of a service on one network of this stack, as Docker's resolver knows it.

    Qualified by the network: on application-network anyone may call a container `collector`, and edge-otlp itself
    answers to `phoenix` there.
    """
    return f"{service}.{docker_name(stack, network.value)}"


def _maps(context: Context, tokens: IngestTokens) -> tuple[dict[str, ConfigFile], dict[str, str]]:
    """The live files of an edge, and the pages of metrics among them (path -> file)."""
    applications = maps.with_smoke(context.settings.applications, SMOKE_LIMITS)
    pages = maps.metrics_pages(applications)
    digests = {name: pulumi.Output.all(*own) for name, own in tokens.digests.items()}
    live = {
        maps.APPLICATIONS_MAP: ConfigFile(pulumi.Output.all(**digests).apply(maps.applications_map)),
        maps.REQUESTS_MAP: ConfigFile(maps.requests_map(applications)),
        maps.BYTES_MAP: ConfigFile(maps.bytes_map(applications)),
        **{file: ConfigFile(text) for file, text in pages.values()},
    }
    return live, {path: maps.live_path(file) for path, (file, _) in pages.items()}


def _scrape_targets(service: Service, pages: Mapping[str, str]) -> tuple[ScrapeTarget, ...]:
    """HAProxy's own series (without those of empty slots), and one target per page of series per application."""
    own = ScrapeTarget(job=service.value, service=service, port=Port.EDGE_METRICS, params={"no-maint": [""]})
    applications = (
        ScrapeTarget(
            job=f"{service.value}-applications" + (f"-{number}" if number > 1 else ""),
            service=service,
            port=Port.EDGE_METRICS,
            path=path,
        )
        for number, path in enumerate(pages, start=1)
    )
    return (own, *applications)


class _Edge(pulumi.ComponentResource):
    """What both edges share: certificate, configuration, live maps, workload."""

    running: Running
    scrape_targets: tuple[ScrapeTarget, ...]

    def _start(
        self,
        context: Context,
        *,
        service: Service,
        size: Size,
        tokens: IngestTokens,
        published_on: Attachment,
        ports: Sequence[PublishedPort],
        behind: tuple[Interface, ...],
    ) -> None:
        settings = context.settings
        monitoring = subnet_of(settings, NetworkName.MONITORING)
        published = subnet_of(settings, published_on.network)
        live, pages = _maps(context, tokens)
        config = render_config(
            Edge(
                service=service,
                sizing=sizing(size.memory_mib, size.cpus),
                takes_otlp=not behind,
                served_on=(LOOPBACK, str(published), str(monitoring)),
                near=gateways([published]),
                monitored_from=str(monitoring),
                collector_host=host_on(context.stack, Service.COLLECTOR, NetworkName.PHOENIX),
                metrics_pages=tuple(pages.items()),
                allowed_sources=settings.allowed_sources,
                allowed_origins=settings.allowed_origins,
                public_names=settings.public_names,
                interfaces=behind,
            )
        )
        scrapers = context.scrape.password.apply(lambda value: maps.scrapers_map(context.scrape.username, value))
        leaf = context.ca.leaf(
            service.value,
            names=[*published_on.aliases, *(name for name in settings.public_names if not _is_address(name))],
            addresses=[name for name in settings.public_names if _is_address(name)],
            parent=self,
        )
        workload = Workload(
            service=service,
            image=context.images["haproxy"],
            resources=size.resources(),
            networks=(published_on, Attachment(NetworkName.PHOENIX), Attachment(NetworkName.MONITORING)),
            uid=UID,
            gid=GID,
            health=HEALTH,
            entrypoint=("haproxy",),
            # Master and worker: a reload loses no request.
            command=("-W", "-db", "-f", f"{CONFIG_DIR}/haproxy.cfg"),
            files={
                "haproxy.cfg": ConfigFile(config),
                maps.SCRAPERS_MAP: ConfigFile(scrapers),
                **tls_files(context.ca, leaf),
            },
            live_files=live,
            ports=tuple(ports),
            # SIGUSR1 lets requests in flight end; docker-init passes it on.
            stop_signal="SIGUSR1",
            stop_grace_seconds=STOP_GRACE_SECONDS,
        )
        self.running = context.runtime.run(workload, pulumi.ResourceOptions(parent=self))
        self.scrape_targets = _scrape_targets(service, pages)
        self.register_outputs({"containers": list(self.running.names)})


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


class EdgeOtlp(_Edge):
    """Where applications send telemetry: OTLP by gRPC and HTTP, on application-network and on the host's OTLP ports."""

    def __init__(
        self, name: str, context: Context, *, tokens: IngestTokens, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("agentstack:observability:EdgeOtlp", name, {}, opts)
        ports = context.settings.ports
        self._start(
            context,
            service=Service.EDGE_OTLP,
            size=context.settings.edge_otlp,
            tokens=tokens,
            published_on=Attachment(
                NetworkName.APPLICATION, aliases=(Service.EDGE_OTLP.value, *EDGE_OTLP_APPLICATION_ALIASES)
            ),
            ports=(
                PublishedPort(host=ports.otlp_grpc, container=Port.OTLP_GRPC),
                PublishedPort(host=ports.otlp_http, container=Port.OTLP_HTTP),
            ),
            behind=(),
        )


class EdgeUi(_Edge):
    """Where people come in: Phoenix (and spans sent to its port), Grafana, Prometheus and Alertmanager on the host."""

    def __init__(
        self, name: str, context: Context, *, tokens: IngestTokens, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("agentstack:observability:EdgeUi", name, {}, opts)
        ports = context.settings.ports
        self._start(
            context,
            service=Service.EDGE_UI,
            size=context.settings.edge_ui,
            tokens=tokens,
            published_on=Attachment(NetworkName.UI),
            ports=(
                PublishedPort(host=ports.phoenix, container=Port.PHOENIX),
                PublishedPort(host=ports.grafana, container=Port.GRAFANA_EDGE),
                PublishedPort(host=ports.prometheus, container=Port.PROMETHEUS),
                PublishedPort(host=ports.alertmanager, container=Port.ALERTMANAGER),
            ),
            behind=interfaces(
                phoenix=host_on(context.stack, Service.PHOENIX, NetworkName.PHOENIX),
                grafana=host_on(context.stack, Service.GRAFANA, NetworkName.MONITORING),
                prometheus=host_on(context.stack, Service.PROMETHEUS, NetworkName.MONITORING),
                alertmanager=host_on(context.stack, Service.ALERTMANAGER, NetworkName.MONITORING),
            ),
        )
