"""blackbox_exporter: what clients would find: does each TLS port answer, and when does its certificate end.

It verifies as every client of ours does, against the CA and by name. An answer of 401 is fine: it comes from the
service itself, over verified TLS. PostgreSQL can't be reached from here (it is on no network with monitoring); its
certificate's end is a figure of Prometheus' own rules, its life one of the postgres exporter's.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import pulumi
import yaml

from components.context import Context
from components.contributions import ScrapeTarget
from components.names import CONFIG_DIR, TLS_CA, NetworkName, Port, Service
from components.runtime import Running
from components.trust import tls_files
from components.web_config import render_web_config
from components.workload import Attachment, ConfigFile, Health, Workload

UID: Final = 65534
GID: Final = 65534
PROBE_INTERVAL_SECONDS: Final = 30
HTTPS: Final = "https"
TLS: Final = "tls"

HTTPS_TARGETS: Final[Mapping[str, Service]] = {
    f"https://{Service.PHOENIX}:{Port.PHOENIX}/readyz": Service.PHOENIX,
    f"https://{Service.GRAFANA}:{Port.GRAFANA}/api/health": Service.GRAFANA,
    f"https://{Service.PROMETHEUS}:{Port.PROMETHEUS}/-/ready": Service.PROMETHEUS,
    f"https://{Service.ALERTMANAGER}:{Port.ALERTMANAGER}/-/ready": Service.ALERTMANAGER,
    f"https://{Service.EDGE_UI}:{Port.PHOENIX}/health": Service.PHOENIX,
    f"https://{Service.EDGE_UI}:{Port.GRAFANA_EDGE}/api/health": Service.GRAFANA,
    f"https://{Service.EDGE_UI}:{Port.PROMETHEUS}/-/ready": Service.PROMETHEUS,
    f"https://{Service.EDGE_UI}:{Port.ALERTMANAGER}/-/ready": Service.ALERTMANAGER,
    f"https://{Service.COLLECTOR}:{Port.COLLECTOR_HEALTH}/": Service.COLLECTOR,
}
"""Asked for a page: 200 or 401 over verified TLS. Address -> the service that answers in the end."""
TLS_TARGETS: Final[Mapping[str, Service]] = {
    f"{Service.EDGE_OTLP}:{Port.OTLP_GRPC}": Service.EDGE_OTLP,
    f"{Service.EDGE_OTLP}:{Port.OTLP_HTTP}": Service.EDGE_OTLP,
    f"{Service.POSTGRES_EXPORTER}:{Port.POSTGRES_EXPORTER}": Service.POSTGRES_EXPORTER,
    f"{Service.NODE_EXPORTER}:{Port.NODE_EXPORTER}": Service.NODE_EXPORTER,
}
"""A verified handshake is all that is asked for."""


def render_modules() -> str:
    """blackbox.yml: one module per way to ask."""
    verified = {"ca_file": TLS_CA, "insecure_skip_verify": False, "min_version": "TLS12"}
    modules: dict[str, dict[str, Any]] = {
        HTTPS: {
            "prober": "http",
            "timeout": "5s",
            "http": {
                "method": "GET",
                "valid_status_codes": [200, 401],
                "fail_if_not_ssl": True,
                "follow_redirects": False,
                "preferred_ip_protocol": "ip4",
                "tls_config": verified,
            },
        },
        TLS: {
            "prober": "tcp",
            "timeout": "5s",
            "tcp": {"tls": True, "preferred_ip_protocol": "ip4", "tls_config": verified},
        },
    }
    return yaml.safe_dump({"modules": modules}, sort_keys=False)


def probe_target(module: str, targets: Mapping[str, Service]) -> ScrapeTarget:
    """The Prometheus job of one module. ``component`` is the service that answers, also behind an edge."""
    return ScrapeTarget(
        job=f"blackbox-{module}",
        service=Service.BLACKBOX_EXPORTER,
        port=Port.BLACKBOX_EXPORTER,
        path="/probe",
        interval_seconds=PROBE_INTERVAL_SECONDS,
        params={"module": [module]},
        static_targets=tuple(targets),
        relabel=tuple(
            {
                "source_labels": ["__param_target"],
                "regex": re.escape(address),
                "target_label": "component",
                "replacement": service.value,
            }
            for address, service in targets.items()
        ),
    )


class BlackboxExporter(pulumi.ComponentResource):
    """Probes from the monitoring network."""

    running: Running
    scrape_targets: tuple[ScrapeTarget, ...]

    def __init__(self, name: str, context: Context, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("agentstack:observability:BlackboxExporter", name, {}, opts)
        username = context.scrape.username
        web_config = context.scrape.bcrypt_hash.apply(lambda bcrypt: render_web_config({username: bcrypt}))
        url = f"https://localhost:{Port.BLACKBOX_EXPORTER}/"
        self.running = context.runtime.run(
            Workload(
                service=Service.BLACKBOX_EXPORTER,
                image=context.images["blackbox-exporter"],
                resources=context.settings.blackbox_exporter.resources(),
                networks=(Attachment(NetworkName.MONITORING),),
                uid=UID,
                gid=GID,
                command=(
                    f"--web.listen-address=0.0.0.0:{Port.BLACKBOX_EXPORTER}",
                    f"--web.config.file={CONFIG_DIR}/web.yml",
                    f"--config.file={CONFIG_DIR}/blackbox.yml",
                    "--history.limit=10",
                    "--log.format=json",
                ),
                env={"GOMEMLIMIT": f"{context.settings.blackbox_exporter.memory_mib * 9 // 10}MiB"},
                files={
                    **tls_files(context.ca, context.ca.leaf(Service.BLACKBOX_EXPORTER, parent=self)),
                    "web.yml": ConfigFile(web_config),
                    "blackbox.yml": ConfigFile(render_modules()),
                },
                # Unauthorized is an answer of the exporter over verified TLS, and needs no password in here.
                health=Health(probe=("http", "--url", url, "--ca", TLS_CA, "--status", "401")),
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.scrape_targets = (
            ScrapeTarget(job="blackbox", service=Service.BLACKBOX_EXPORTER, port=Port.BLACKBOX_EXPORTER),
            probe_target(HTTPS, HTTPS_TARGETS),
            probe_target(TLS, TLS_TARGETS),
        )
        self.register_outputs({})


__all__ = ["BlackboxExporter"]
