"""Alertmanager as a workload. It is on the egress network only when somebody outside is to be told."""

from typing import Final

import pulumi

import alerts
from components.alertmanager import render
from components.context import Context
from components.contributions import ScrapeTarget
from components.names import CONFIG_DIR, TLS_CA, NetworkName, Port, Service
from components.outputs import endpoints
from components.runtime import Running
from components.secrets import Password
from components.settings.alerting import read_machine_file
from components.trust import tls_files
from components.web_config import render_web_config
from components.workload import Attachment, ConfigFile, DataVolume, Health, Workload

UID: Final = 65534
GID: Final = 65534
ADMIN: Final = "admin"
PROBE_LOGIN: Final = "secrets/probe-login"


class Alertmanager(pulumi.ComponentResource):
    """Whom to tell; Prometheus posts alerts to it with the scraper's login, people log in as ``admin_username``."""

    url: str
    admin_username: Final = ADMIN
    admin_password: Password
    running: Running
    scrape_targets: tuple[ScrapeTarget, ...]

    def __init__(self, name: str, context: Context, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("agentstack:observability:Alertmanager", name, {}, opts)
        settings = context.settings
        self.url = f"https://{Service.ALERTMANAGER}:{Port.ALERTMANAGER}"
        self.admin_password = context.secrets.password("alertmanager-admin")
        web_config = pulumi.Output.all(
            **{ADMIN: self.admin_password.bcrypt, context.scrape.username: context.scrape.bcrypt_hash}
        ).apply(render_web_config)
        networks = [Attachment(NetworkName.MONITORING)]
        if settings.alerting.calls_out:
            networks.append(Attachment(NetworkName.EGRESS))
        url = f"https://localhost:{Port.ALERTMANAGER}"
        self.running = context.runtime.run(
            Workload(
                service=Service.ALERTMANAGER,
                image=context.images["alertmanager"],
                resources=settings.alertmanager.resources(),
                networks=tuple(networks),
                uid=UID,
                gid=GID,
                command=render.command(endpoints(settings)["alertmanager"]),
                env={"GOMEMLIMIT": f"{settings.alertmanager.memory_mib * 9 // 10}MiB"},
                files={
                    **tls_files(context.ca, context.ca.leaf(Service.ALERTMANAGER, parent=self)),
                    "alertmanager.yml": ConfigFile(
                        render.render_config(settings.alerting, alerts.inhibitions(settings))
                    ),
                    "web.yml": ConfigFile(web_config),
                    "amtool.yml": ConfigFile(render.client_config(context.scrape.username)),
                    "secrets/scrape-password": ConfigFile(context.scrape.password, "0400"),
                    PROBE_LOGIN: ConfigFile(
                        pulumi.Output.concat(context.scrape.username, ":", context.scrape.password), "0400"
                    ),
                    **{
                        path: ConfigFile(pulumi.Output.secret(read_machine_file(source)), "0400")
                        for path, source in render.secret_files(settings.alerting).items()
                    },
                },
                volumes=(DataVolume("alertmanager", "/alertmanager"),),
                health=Health(
                    probe=(
                        "http",
                        *("--url", f"{url}/-/ready"),
                        *("--ca", TLS_CA),
                        *("--basic-auth-file", f"{CONFIG_DIR}/{PROBE_LOGIN}"),
                    ),
                ),
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.scrape_targets = (ScrapeTarget(job="alertmanager", service=Service.ALERTMANAGER, port=Port.ALERTMANAGER),)
        self.register_outputs({"url": self.url})
