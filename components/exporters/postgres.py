"""postgres_exporter: connections, commits, statements, archiving and sizes of the database, for Prometheus.

It logs in as the role `exporter`, which may read statistics and nothing else, straight to PostgreSQL: through the
pooler it could not tell "the pool is full" from "the server is down". Only flags that every version from 0.17 to
0.20 knows are used; texts of statements are left out, because they would become labels.
"""

from typing import Final
from urllib.parse import urlencode

import pulumi

from components.context import Context
from components.contributions import ScrapeTarget
from components.names import CONFIG_DIR, TLS_CA, NetworkName, Port, Service
from components.postgres import DatabaseRole, Postgres
from components.runtime import Running
from components.trust import tls_files
from components.web_config import render_web_config
from components.workload import Attachment, ConfigFile, Health, Workload

UID: Final = 65534
GID: Final = 65534
PASSWORD_FILE: Final = f"{CONFIG_DIR}/secrets/password"


def data_source(host: str, port: int, database: str) -> str:
    """DATA_SOURCE_URI: where to connect, with the certificate verified; user and password come apart from it."""
    query = urlencode({"sslmode": "verify-full", "sslrootcert": TLS_CA}, safe="/")
    return f"{host}:{port}/{database}?{query}"


class PostgresExporter(pulumi.ComponentResource):
    """Metrics of PostgreSQL."""

    port: Final = Port.POSTGRES_EXPORTER
    running: Running
    scrape_targets: tuple[ScrapeTarget, ...]

    def __init__(
        self, name: str, context: Context, *, postgres: Postgres, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("agentstack:observability:PostgresExporter", name, {}, opts)
        leaf = context.ca.leaf(Service.POSTGRES_EXPORTER.value, parent=self)
        username = context.scrape.username
        web_config = context.scrape.bcrypt_hash.apply(lambda bcrypt: render_web_config({username: bcrypt}))
        self.running = context.runtime.run(
            Workload(
                service=Service.POSTGRES_EXPORTER,
                image=context.images["postgres-exporter"],
                resources=context.settings.postgres_exporter.resources(),
                networks=(Attachment(NetworkName.PHOENIX), Attachment(NetworkName.MONITORING)),
                uid=UID,
                gid=GID,
                command=(
                    f"--web.listen-address=:{self.port}",
                    f"--web.config.file={CONFIG_DIR}/web.yml",
                    "--collector.stat_statements",
                    "--collector.database_wraparound",
                    "--collector.long_running_transactions",
                ),
                env={
                    "DATA_SOURCE_URI": data_source(postgres.host, postgres.port, postgres.database),
                    "DATA_SOURCE_USER": DatabaseRole.EXPORTER.value,
                    "DATA_SOURCE_PASS_FILE": PASSWORD_FILE,
                },
                files={
                    **tls_files(context.ca, leaf),
                    "web.yml": ConfigFile(web_config),
                    "secrets/password": ConfigFile(postgres.passwords[DatabaseRole.EXPORTER].value, "0400"),
                },
                # Unauthorized is an answer of the exporter over verified TLS, and needs no password in here.
                health=Health(
                    probe=("http", "--url", f"https://localhost:{self.port}/", "--ca", TLS_CA, "--status", "401"),
                ),
                start_after=(postgres.ready,),
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.scrape_targets = (ScrapeTarget(job="postgres", service=Service.POSTGRES_EXPORTER, port=self.port),)
        self.register_outputs({})


__all__ = ["PostgresExporter", "data_source"]
