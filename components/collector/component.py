"""The Collector as a workload: its configuration, tokens and certificate, its queue on disk, its pages of metrics."""

from collections.abc import Sequence
from typing import Final

import pulumi

from components.collector import render
from components.collector.inputs import CollectorInputs
from components.collector.privacy import PSEUDONYM_KEY_FILE
from components.collector.receive import (
    ADMIN_SECRET_FILE,
    QUEUE_DIR,
    SCRAPE_FILE,
    TOKENS_FILE,
    replica_files,
)
from components.context import Context
from components.contributions import ScrapeTarget
from components.docker_proxy import DockerProxy
from components.edge import IngestTokens
from components.names import CONFIG_DIR, TLS_CA, NetworkName, Port, Service
from components.phoenix import Phoenix
from components.runtime import Running
from components.workload import Attachment, ConfigFile, DataVolume, Health, Workload

UID: Final = 10001
STOP_GRACE_SECONDS: Final = 30
PAGES: Final = {
    "collector": Port.COLLECTOR_TELEMETRY,
    "collector-spans": Port.COLLECTOR_METRICS,
    "collector-applications": Port.COLLECTOR_APPLICATIONS,
}
"""Prometheus job -> port of the page."""

HEALTH: Final = Health(
    probe=("http", "--url", f"https://localhost:{Port.COLLECTOR_HEALTH}/", "--ca", TLS_CA),
    interval_seconds=5,
    start_period_seconds=30,
    # The Collector watches its token file by itself, but loses sight of it if the file is gone for a moment, as it is
    # when Docker replaces it. On SIGHUP it reads everything anew, within the same process; its counters begin at 0.
    reload_signal="HUP",
)


def _token_lines(tokens: Sequence[tuple[str, str]]) -> str:
    return "".join(f"{token} {application}\n" for application, token in tokens)


class Collector(pulumi.ComponentResource):
    """Takes what the edge lets in, keeps it on disk until Phoenix has it, and counts it."""

    running: Running
    scrape_targets: tuple[ScrapeTarget, ...]

    def __init__(
        self,
        name: str,
        context: Context,
        *,
        phoenix: Phoenix,
        tokens: IngestTokens,
        docker_proxy: DockerProxy,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("agentstack:observability:Collector", name, {}, opts)
        settings = context.settings
        size = settings.collector
        inputs = CollectorInputs(stack=context.stack, settings=settings, phoenix_url=phoenix.otlp_http_url)
        leaf = context.ca.leaf(Service.COLLECTOR, parent=self)
        valid = [(name, token.value) for name, several in tokens.valid.items() for token in several]
        token_lines = pulumi.Output.all(*(value for _, value in valid)).apply(
            lambda values: _token_lines([(name, value) for (name, _), value in zip(valid, values, strict=True)])
        )
        htpasswd = pulumi.Output.concat(context.scrape.username, ":", context.scrape.bcrypt_hash, "\n")
        self.running = context.runtime.run(
            Workload(
                service=Service.COLLECTOR,
                image=context.images["collector"],
                resources=size.resources(),
                replicas=size.replicas,
                networks=(Attachment(NetworkName.PHOENIX), Attachment(NetworkName.MONITORING)),
                uid=UID,
                gid=UID,
                entrypoint=("/otelcol-contrib",),
                command=(f"--config={CONFIG_DIR}/{render.CONFIG_FILE}",),
                # The Go runtime gives memory back in time only if it knows the limit.
                env={"GOMEMLIMIT": f"{int(size.memory_mib * 0.8)}MiB"},
                files={
                    "tls/ca.crt": ConfigFile(context.ca.certificate_pem, "0444"),
                    render.CONFIG_FILE: ConfigFile(render.render_text(inputs)),
                    render.PRICES_FILE: ConfigFile(render.render_prices(inputs)),
                    ADMIN_SECRET_FILE: ConfigFile(phoenix.admin_secret.value, "0400"),
                    SCRAPE_FILE: ConfigFile(htpasswd, "0400"),
                    PSEUDONYM_KEY_FILE: ConfigFile(context.secrets.password("pseudonym-key", length=64).value, "0400"),
                    **{path: ConfigFile(text) for path, text in replica_files(size.replicas).items()},
                },
                # Taken up without a restart of the container: see HEALTH.
                live_files={
                    "tls/tls.crt": ConfigFile(leaf.certificate_pem, "0444"),
                    "tls/tls.key": ConfigFile(leaf.key_pem, "0400"),
                    TOKENS_FILE: ConfigFile(token_lines, "0400"),
                },
                volumes=(DataVolume("collector-queue", QUEUE_DIR), docker_proxy.volume),
                stop_grace_seconds=STOP_GRACE_SECONDS,
                health=HEALTH,
                # It asks for the list of containers before it serves anything, and ends if nobody answers.
                start_after=docker_proxy.running.containers,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.scrape_targets = tuple(
            ScrapeTarget(job=job, service=Service.COLLECTOR, port=port, replicas=size.replicas)
            for job, port in PAGES.items()
        )
        self.register_outputs({"containers": list(self.running.names)})
