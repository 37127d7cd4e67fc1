"""Grafana as a workload, and the one-shot that keeps its users.

The image's own start script reads the ``__FILE`` variables. Where no image registry answers a stand-in runs in its
place, by the same contract; ``stand_in`` says so.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

import pulumi

import dashboards as stack_dashboards
from components.context import Context
from components.contributions import ScrapeTarget
from components.grafana import render
from components.names import CONFIG_DIR, TLS_CA, NetworkName, Port, Service
from components.outputs import endpoints
from components.runtime import Running
from components.secrets import Derived, Password
from components.trust import tls_files
from components.workload import Attachment, ConfigFile, DataVolume, Health, Job, Workload
from images.lock import load_lock

UID: Final = 472
GID: Final = 0
JOB_UID: Final = 65532
JOB_MEMORY_MIB: Final = 64
PYTHON: Final = "/usr/bin/python3"
USERS_SCRIPT: Final = "grafana/users.py"


class DataSource(Protocol):
    """What is asked for figures: Prometheus, with a login of Grafana's own."""

    @property
    def url(self) -> str: ...
    @property
    def grafana_username(self) -> str: ...
    @property
    def grafana_password(self) -> Password: ...
    @property
    def running(self) -> Running: ...


class Grafana(pulumi.ComponentResource):
    """Dashboards for people; they log in as ``admin_username`` or as one of ``user_passwords``."""

    admin_username: Final = render.ADMIN
    admin_password: Password
    user_passwords: dict[str, Derived]
    """Login -> password of the users that the settings name."""
    stand_in: bool
    running: Running
    scrape_targets: tuple[ScrapeTarget, ...] = (render.SCRAPE_TARGET,)

    def __init__(
        self,
        name: str,
        context: Context,
        *,
        prometheus: DataSource,
        dashboards: Mapping[str, str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Args:
        dashboards: further dashboards, ``Folder/name.json`` -> JSON in the classic schema, besides those of
            ``dashboards/`` and of ``alerting.dashboardFiles``.
        """
        super().__init__("agentstack:observability:Grafana", name, {}, opts)
        settings = context.settings
        self.stand_in = context.images.is_stand_in("grafana")
        self.admin_password = context.secrets.password("grafana-admin", length=24)
        self.user_passwords = {
            login: context.secrets.derived("grafana-user", login) for login in settings.grafana.users
        }
        shown = {**stack_dashboards.dashboard_files(settings), **(dashboards or {})}
        version = load_lock().entries["prometheus"].version
        root_url = endpoints(settings)["grafana"]
        self.running = context.runtime.run(
            Workload(
                service=Service.GRAFANA,
                image=context.images["grafana"],
                resources=settings.grafana.resources(),
                networks=(Attachment(NetworkName.MONITORING),),
                uid=UID,
                gid=GID,
                env=render.environment(root_url, context.scrape.username),
                files={
                    **tls_files(context.ca, context.ca.leaf(Service.GRAFANA, parent=self)),
                    "provisioning/datasources/agentstack.yaml": ConfigFile(
                        render.data_sources(prometheus.url, prometheus.grafana_username, version)
                    ),
                    "provisioning/dashboards/agentstack.yaml": ConfigFile(render.dashboard_provider()),
                    **{f"{render.DASHBOARDS_DIR}/{path}": ConfigFile(text) for path, text in shown.items()},
                    "secrets/admin-password": ConfigFile(self.admin_password.value, "0400"),
                    "secrets/secret-key": ConfigFile(context.secrets.password("grafana-secret-key").value, "0400"),
                    "secrets/scrape-password": ConfigFile(context.scrape.password, "0400"),
                    "secrets/prometheus-password": ConfigFile(prometheus.grafana_password.value, "0400"),
                },
                volumes=(DataVolume("grafana", "/var/lib/grafana"),),
                tmpfs={"/tmp": 64},  # noqa: S108 - the container's own
                health=Health(
                    probe=("http", "--url", f"https://localhost:{Port.GRAFANA}/api/health", "--ca", TLS_CA),
                    # The first start makes the database.
                    start_period_seconds=120,
                ),
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self._keep_users(context, prometheus)
        self.register_outputs({"stand_in": self.stand_in})

    def _keep_users(self, context: Context, prometheus: DataSource) -> None:
        """A changed user changes the job's files, and with them the one-shot."""
        script = (Path(__file__).resolve().parent / "users.py").read_text(encoding="utf-8")
        secrets = f"{CONFIG_DIR}/secrets"
        job = Job(
            name="grafana-users",
            service=Service.GRAFANA,
            image=context.images["phoenix"],
            entrypoint=[PYTHON, "-P"],
            command=[
                f"{CONFIG_DIR}/{USERS_SCRIPT}",
                *("--url", f"https://{Service.GRAFANA}:{Port.GRAFANA}"),
                *("--ca", TLS_CA),
                *("--admin", render.ADMIN),
                *("--admin-password-file", f"{secrets}/admin-password"),
                *("--users-file", f"{CONFIG_DIR}/grafana/users.json"),
                *("--passwords-dir", f"{secrets}/users"),
                *("--data-source", render.DATA_SOURCE_UID),
            ],
            uid=JOB_UID,
            gid=JOB_UID,
            networks=(Attachment(NetworkName.MONITORING),),
            files={
                **tls_files(context.ca, None),
                USERS_SCRIPT: ConfigFile(script, "0444"),
                "grafana/users.json": ConfigFile(render.user_list(context.settings.grafana.users)),
                "secrets/admin-password": ConfigFile(self.admin_password.value, "0400"),
                **{
                    f"secrets/users/{login}": ConfigFile(password.value, "0400")
                    for login, password in self.user_passwords.items()
                },
            },
            memory_mib=JOB_MEMORY_MIB,
            start_after=(*self.running.containers, *prometheus.running.containers),
        )
        context.runtime.run_job(job, pulumi.ResourceOptions(parent=self))
