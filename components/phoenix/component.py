"""Phoenix: one job that migrates the schema, the replicas, one job that keeps the retention as the settings say.

Know before changing it: Phoenix by itself acknowledges spans before it stores them, and loses them when it or
PostgreSQL goes away. Our middlewares (``container/``) turn that round; docs/decisions/0006-phoenix.md has how, and what
was measured.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pulumi

from components.context import Context
from components.contributions import ScrapeTarget
from components.names import TLS_CA, NetworkName, Port, Service
from components.outputs import endpoints
from components.phoenix import render
from components.postgres import DatabaseRole, Postgres
from components.runtime import Running
from components.secrets import Password
from components.trust import tls_files
from components.workload import Attachment, ConfigFile, Health, Job, Workload

UID: Final = 65532
PYTHON: Final = "/usr/bin/python3"
"""The image's own interpreter. `-P`: the script's folder is no place to import from."""
CONTAINER_CODE: Final = Path(__file__).resolve().parent / "container"
MIGRATION_MEMORY_MIB: Final = 384
RETENTION_MEMORY_MIB: Final = 64


def _code(*names: str) -> dict[str, ConfigFile]:
    texts = {name: (CONTAINER_CODE / name).read_text(encoding="utf-8") for name in names}
    return {f"phoenix/{name}": ConfigFile(text, "0444") for name, text in texts.items()}


def _sha256(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


class Phoenix(pulumi.ComponentResource):
    """The trace store and its UI; reached by others at ``otlp_http_url`` with ``admin_secret``."""

    otlp_http_url: str
    admin_email: str
    admin_secret: Password
    """Bearer token with all rights. Only the Collector and the retention job have it, as a file."""
    admin_password: Password
    running: Running
    scrape_targets: tuple[ScrapeTarget, ...]

    def __init__(
        self, name: str, context: Context, *, postgres: Postgres, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("agentstack:observability:Phoenix", name, {}, opts)
        self._context = context
        self._options = pulumi.ResourceOptions(parent=self)
        self._image = context.images["phoenix"]
        self.otlp_http_url = f"https://{Service.PHOENIX}:{Port.PHOENIX}"
        self.admin_email = "admin@localhost"
        self.admin_secret = context.secrets.password("phoenix-admin-secret")
        self.admin_password = context.secrets.password("phoenix-admin-password", length=24, strong=True)

        settings = context.settings
        user = DatabaseRole.PHOENIX.value
        database = render.database_url(user, postgres.host, postgres.port, postgres.database)
        login = postgres.passwords[user].value.apply(
            lambda password: render.pgpass(postgres.host, postgres.port, postgres.database, user, password)
        )
        environment = render.environment(
            settings,
            database=database,
            root_url=endpoints(settings)["phoenix"],
            allowed_origins=render.origins(settings),
        )
        migrated = self._migrate(environment, ConfigFile(login, "0400"), postgres)
        self.running = self._serve(environment, ConfigFile(login, "0400"), migrated)
        self._retain()
        self.scrape_targets = (
            ScrapeTarget(
                job="phoenix",
                service=Service.PHOENIX,
                port=Port.PHOENIX,
                auth="bearer",
                replicas=settings.phoenix.replicas,
            ),
        )
        self.register_outputs({"otlp_http_url": self.otlp_http_url, "admin_email": self.admin_email})

    def _migrate(self, environment: Mapping[str, str], login: ConfigFile, postgres: Postgres) -> pulumi.Resource:
        """Once, before any replica: two that migrate an empty database at the same time end each other."""
        wanted = {"PHOENIX_SQL_DATABASE_URL", "PGPASSFILE", "PHOENIX_WORKING_DIR", "PHOENIX_ALLOW_EXTERNAL_RESOURCES"}
        job = Job(
            name="phoenix-migrate",
            service=Service.PHOENIX,
            image=self._image,
            entrypoint=[PYTHON, "-P"],
            command=[f"{render.CODE}/launcher.py", "migrate"],
            uid=UID,
            gid=UID,
            networks=(Attachment(NetworkName.PHOENIX),),
            env={key: value for key, value in environment.items() if key in wanted},
            files={**tls_files(self._context.ca, None), **_code("launcher.py"), "secrets/pgpass": login},
            tmpfs={"/tmp": 64},  # noqa: S108 - the container's own
            memory_mib=MIGRATION_MEMORY_MIB,
            cpus=2.0,
            start_after=(postgres.ready,),
        )
        return self._context.runtime.run_job(job, self._options)

    def _serve(self, environment: Mapping[str, str], login: ConfigFile, migrated: pulumi.Resource) -> Running:
        context = self._context
        size = context.settings.phoenix
        workload = Workload(
            service=Service.PHOENIX,
            image=self._image,
            entrypoint=[PYTHON, "-P"],
            command=[f"{render.CODE}/launcher.py", "serve"],
            uid=UID,
            gid=UID,
            resources=size.resources(),
            replicas=size.replicas,
            networks=(Attachment(NetworkName.PHOENIX), Attachment(NetworkName.MONITORING)),
            env=environment,
            files={
                **tls_files(context.ca, context.ca.leaf(Service.PHOENIX, parent=self)),
                **_code("launcher.py", *(file for file, _ in render.MIDDLEWARE)),
                "secrets/pgpass": login,
                "secrets/phoenix-secret": ConfigFile(context.secrets.password("phoenix-secret").value, "0400"),
                "secrets/admin-secret": ConfigFile(self.admin_secret.value, "0400"),
                "secrets/admin-password": ConfigFile(self.admin_password.value, "0400"),
                "secrets/metrics-token.sha256": ConfigFile(context.scrape.password.apply(_sha256), "0400"),
            },
            tmpfs={"/tmp": 64},  # noqa: S108 - the container's own: process ids, working directory
            # Ready: the database answers too. Only a dead server is restarted; one that waits for PostgreSQL is not.
            health=Health(
                probe=(
                    "http",
                    "--url",
                    f"https://localhost:{Port.PHOENIX}/readyz",
                    "--live-url",
                    f"https://localhost:{Port.PHOENIX}/healthz",
                    "--ca",
                    TLS_CA,
                ),
                interval_seconds=5,
                retries=4,
                restart_after=12,
                start_period_seconds=180,
                wait_timeout_seconds=420,
            ),
            # Requests in flight are answered first: at most ANSWER_SECONDS of container/ingest.py.
            stop_grace_seconds=40,
            start_after=(migrated,),
        )
        return context.runtime.run(workload, self._options)

    def _retain(self) -> None:
        """A changed setting changes the command, and with it the one-shot."""
        job = Job(
            name="phoenix-retention",
            service=Service.PHOENIX,
            image=self._image,
            entrypoint=[PYTHON, "-P"],
            command=[
                f"{render.CODE}/retention.py",
                *("--url", self.otlp_http_url),
                *("--ca", TLS_CA),
                *("--secret-file", f"{render.SECRETS}/admin-secret"),
                *("--days", str(self._context.settings.retention_days)),
                *("--cron", render.RETENTION_CRON),
            ],
            uid=UID,
            gid=UID,
            networks=(Attachment(NetworkName.PHOENIX),),
            files={
                **tls_files(self._context.ca, None),
                **_code("retention.py"),
                "secrets/admin-secret": ConfigFile(self.admin_secret.value, "0400"),
            },
            memory_mib=RETENTION_MEMORY_MIB,
            start_after=self.running.containers,
        )
        self._context.runtime.run_job(job, self._options)
