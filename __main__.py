"""AgentStack Observability: the whole stack, in the order of the data's way through it."""

import pulumi

from components import outputs
from components.alertmanager import Alertmanager
from components.backup.component import Backup
from components.collector import Collector
from components.docker_proxy import DockerProxy
from components.edge import EdgeOtlp, EdgeUi, IngestTokens
from components.exporters.blackbox import BlackboxExporter
from components.exporters.node import NodeExporter
from components.exporters.postgres import PostgresExporter
from components.foundation import lay_foundation
from components.grafana import Grafana
from components.pgbouncer import PgBouncer
from components.phoenix import Phoenix
from components.postgres import Postgres
from components.prometheus import Prometheus
from components.stack import read_settings

stack = pulumi.get_stack()
settings, engine = read_settings(stack)
context, networks = lay_foundation(stack, settings, engine)

postgres = Postgres("postgres", context)
pgbouncer = PgBouncer("pgbouncer", context, postgres=postgres)
phoenix = Phoenix("phoenix", context, postgres=postgres)

tokens = IngestTokens("tokens", context)
docker_proxy = DockerProxy("docker-proxy", context)
collector = Collector("collector", context, phoenix=phoenix, tokens=tokens, docker_proxy=docker_proxy)
edge_otlp = EdgeOtlp("edge-otlp", context, tokens=tokens)
edge_ui = EdgeUi("edge-ui", context, tokens=tokens)

postgres_exporter = PostgresExporter("postgres-exporter", context, postgres=postgres)
node_exporter = NodeExporter("node-exporter", context)
blackbox_exporter = BlackboxExporter("blackbox-exporter", context)
backup = Backup("backup", context, postgres=postgres, textfile=node_exporter.textfile)
scraped = (phoenix, collector, edge_otlp, edge_ui, postgres_exporter, node_exporter, blackbox_exporter)

alertmanager = Alertmanager("alertmanager", context)
prometheus = Prometheus("prometheus", context, alertmanager=alertmanager, contributors=scraped)
grafana = Grafana("grafana", context, prometheus=prometheus)

inside = (postgres, pgbouncer, phoenix, docker_proxy, collector, edge_otlp, edge_ui, backup)
around = (postgres_exporter, node_exporter, blackbox_exporter, alertmanager, prometheus, grafana)
outputs.export(
    settings=settings,
    networks=networks,
    ca_certificate=context.ca.certificate_pem,
    services=(*inside, *around),
    logins=outputs.logins(phoenix=phoenix, prometheus=prometheus, alertmanager=alertmanager, grafana=grafana),
    tokens=tokens.tokens,
    stand_ins=context.images.stand_ins,
)
