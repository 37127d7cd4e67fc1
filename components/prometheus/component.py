"""Prometheus as a workload: the contributed targets and rules in one configuration volume, samples in a data volume."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import pulumi

import alerts
from components.alertmanager import Alertmanager
from components.context import Context
from components.contributions import ScrapeTarget
from components.grafana.render import SCRAPE_TARGET as GRAFANA_TARGET
from components.names import CONFIG_DIR, TLS_CA, NetworkName, Port, Service
from components.outputs import endpoints
from components.prometheus import render
from components.runtime import Running
from components.secrets import Password
from components.trust import tls_files
from components.web_config import render_web_config
from components.workload import Attachment, ConfigFile, DataVolume, Health, Workload

UID: Final = 65534
GID: Final = 65534
ADMIN: Final = "admin"
GRAFANA_USER: Final = "grafana"
UNPROBED: Final = (Service.POSTGRES.value, Service.PGBOUNCER.value)
"""Services that the blackbox exporter can't reach: they are on no network with it."""
PROBE_LOGIN: Final = "secrets/probe-login"


class Contributor(Protocol):
    """A component that wants to be scraped."""

    @property
    def scrape_targets(self) -> tuple[ScrapeTarget, ...]: ...


class Prometheus(pulumi.ComponentResource):
    """Metrics and rules; people log in as ``admin_username``, Grafana as ``grafana_username``."""

    url: str
    admin_username: Final = ADMIN
    admin_password: Password
    grafana_username: Final = GRAFANA_USER
    grafana_password: Password
    running: Running
    scrape_targets: tuple[ScrapeTarget, ...]

    def __init__(
        self,
        name: str,
        context: Context,
        *,
        alertmanager: Alertmanager,
        contributors: Sequence[Contributor],
        rules: Mapping[str, str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Args:
        contributors: the components that are scraped; Prometheus adds itself, Alertmanager and Grafana.
        rules: further rule files, file name -> text, besides those of ``alerts/`` and of ``alerting.ruleFiles``.
        """
        super().__init__("agentstack:observability:Prometheus", name, {}, opts)
        settings = context.settings
        self.url = f"https://{Service.PROMETHEUS}:{Port.PROMETHEUS}"
        self.admin_password = context.secrets.password("prometheus-admin")
        self.grafana_password = context.secrets.password("prometheus-grafana")
        self.scrape_targets = (
            *(target for contributor in contributors for target in contributor.scrape_targets),
            *alertmanager.scrape_targets,
            GRAFANA_TARGET,
            ScrapeTarget(job="prometheus", service=Service.PROMETHEUS, port=Port.PROMETHEUS),
        )
        rule_files: dict[str, pulumi.Input[str]] = {
            **alerts.rule_files(settings, self.scrape_targets),
            **(rules or {}),
            "certificates.yml": self._certificates(context),
        }
        config = render.render_config(
            stack=context.stack,
            targets=self.scrape_targets,
            username=context.scrape.username,
            rule_files=list(rule_files),
            retention=render.Retention(settings.prometheus.retention_days, settings.prometheus.retention_mib),
        )
        self.running = context.runtime.run(
            Workload(
                service=Service.PROMETHEUS,
                image=context.images["prometheus"],
                resources=settings.prometheus.resources(),
                networks=(Attachment(NetworkName.MONITORING),),
                uid=UID,
                gid=GID,
                command=render.command(endpoints(settings)["prometheus"]),
                files={
                    **tls_files(context.ca, context.ca.leaf(Service.PROMETHEUS, parent=self)),
                    "prometheus.yml": ConfigFile(config),
                    "web.yml": ConfigFile(self._web_config(context)),
                    "promtool.yml": ConfigFile(render.client_config(context.scrape.username)),
                    "secrets/scrape-password": ConfigFile(context.scrape.password, "0400"),
                    PROBE_LOGIN: ConfigFile(
                        pulumi.Output.concat(context.scrape.username, ":", context.scrape.password), "0400"
                    ),
                    **{f"{render.RULES_DIR}/{file}": ConfigFile(text) for file, text in rule_files.items()},
                },
                volumes=(DataVolume("prometheus", "/prometheus"),),
                health=health(f"https://localhost:{Port.PROMETHEUS}", start_period_seconds=60),
                # Long enough to write what is in memory to disk.
                stop_grace_seconds=60,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"url": self.url})

    def _certificates(self, context: Context) -> pulumi.Output[str]:
        """Of the database alone: probes see when the others end, and a renewed one would not restart Prometheus."""
        leaves = {service: leaf.certificate_pem for service, leaf in context.ca.leaves.items() if service in UNPROBED}
        return pulumi.Output.all(**leaves).apply(render.certificate_rules)

    def _web_config(self, context: Context) -> pulumi.Output[str]:
        return pulumi.Output.all(
            **{
                ADMIN: self.admin_password.bcrypt,
                GRAFANA_USER: self.grafana_password.bcrypt,
                context.scrape.username: context.scrape.bcrypt_hash,
            }
        ).apply(render_web_config)


def health(url: str, start_period_seconds: int = 30) -> Health:
    """Ready, asked with the scraper's login. A server that still reads its log is alive: it isn't restarted."""
    return Health(
        probe=(
            "http",
            *("--url", f"{url}/-/ready"),
            *("--live-url", f"{url}/-/healthy"),
            *("--ca", TLS_CA),
            *("--basic-auth-file", f"{CONFIG_DIR}/{PROBE_LOGIN}"),
        ),
        start_period_seconds=start_period_seconds,
    )
