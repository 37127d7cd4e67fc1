"""Each of our own hops refuses a server whose certificate is expired or of a foreign CA, and says so.

A certificate of our CA that is valid is taken by the very same client in the very same place: a hop that never
connects, or that has stopped to verify, fails here.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import httpx
import pytest

from components.names import TLS_CA, Port
from tests.e2e.impostor import Scene, Shown, scenes
from tests.e2e.stack import StackUnderTest, docker, inspect, poll
from tests.e2e.telemetry import llm_span, request, send_grpc

pytestmark = pytest.mark.e2e

GO = {
    Shown.EXPIRED: r"certificate has expired or is not yet valid",
    Shown.FOREIGN: r"certificate signed by unknown authority",
}
OPENSSL = {Shown.EXPIRED: r"certificate has expired", Shown.FOREIGN: r"unable to get local issuer certificate"}
LIBPQ = dict.fromkeys((Shown.EXPIRED, Shown.FOREIGN), r"certificate verify failed")
ALERTS = {Shown.EXPIRED: "ALERT_CERTIFICATE_EXPIRED", Shown.FOREIGN: "ALERT_UNKNOWN_CA"}
"""What the impostor is told by a client that verifies."""
HAPROXY = dict.fromkeys((Shown.EXPIRED, Shown.FOREIGN), r"Layer6 invalid response.*SSL handshake failure")

PHOENIX_CONNECTS = """
import asyncio, importlib.util, os, pathlib, sys
import asyncpg
from sqlalchemy import make_url
# Phoenix's own reading of its URL; by its path, because importing all of Phoenix takes many seconds.
path = pathlib.Path(importlib.util.find_spec("phoenix").origin).parent / "db" / "pg_config.py"
spec = importlib.util.spec_from_file_location("pg_config", path)
module = importlib.util.module_from_spec(spec)
sys.modules["pg_config"] = module
spec.loader.exec_module(module)
url, arguments = module.get_pg_config(make_url(os.environ["PHOENIX_SQL_DATABASE_URL"]))
asyncio.run(asyncpg.connect(
    host=url.host, port=url.port, user=url.username, database=url.database, timeout=20, **arguments))
"""


def login(scene: Scene, service: str) -> tuple[str, str]:
    found = scene.stack.outputs["credentials"][service]
    return found["username"], found["password"]


def scraper(scene: Scene) -> tuple[str, str]:
    return "prometheus", scene.scrape_password


# ---- what makes a client connect; each returns what the client says about it


def by_itself(scene: Scene, client: str) -> str:
    return scene.log(client)


def sent_a_span(scene: Scene, client: str) -> str:
    """The Collector, given a span to pass on."""
    with scene.client(client, Port.OTLP_HTTP) as http:
        answer = http.post(
            "/v1/traces",
            content=request("trust", [llm_span()]).SerializeToString(),
            headers={
                "content-type": "application/x-protobuf",
                "authorization": f"Bearer {scene.stack.token('chat')}",
                "x-agentstack-application": "chat",
            },
        )
        answer.raise_for_status()
    return scene.log(client)


def scraped(scene: Scene, client: str, path: str = "/metrics", port: int = 0) -> str:
    """An exporter, asked for its page."""
    with scene.client(client, port, scraper(scene)) as http:
        answer = http.get(path)
    return answer.text + scene.log(client)


def data_source(scene: Scene, client: str) -> str:
    """Grafana, asked whether its data source works."""
    with scene.client(client, Port.GRAFANA, login(scene, "grafana")) as http:
        return http.get("/api/datasources/uid/prometheus/health").text


def targets(scene: Scene, client: str) -> str:
    """Prometheus' targets: the errors of all that are asked every 15 s, once each was asked."""
    with scene.client(client, Port.PROMETHEUS, login(scene, "prometheus")) as http:
        found = http.get("/api/v1/targets").raise_for_status().json()["data"]["activeTargets"]
    often = [target for target in found if target["scrapeInterval"] == "15s"]
    errors = [target["lastError"] for target in often if not target["lastScrape"].startswith("0001")]
    wanted = {**GO, Shown.GOOD: "HTTP status 503"}[scene.shown]
    complete = len(errors) == len(often) and all(re.search(wanted, error) for error in errors)
    return "\n".join(errors) if complete else ""


def through_pgbouncer(scene: Scene, client: str) -> str:
    """PgBouncer, whose client must be looked up in the database first."""
    words = ["psql", f"host=pgbouncer hostaddr={scene.address(scene.twins[client])} port={Port.PGBOUNCER}"]
    words[1] += f" dbname=phoenix user=reader sslmode=verify-full sslrootcert={TLS_CA} connect_timeout=5"
    image = inspect(scene.stack.container("postgres"))["Image"]
    volumes = [f"{m['Name']}:{m['Destination']}:ro" for m in inspect(scene.twins[client])["Mounts"] if not m["RW"]]
    mounts = [word for volume in volumes for word in ("--volume", volume)]
    docker(
        *("run", "--rm", "--network", scene.name, "--user", "70:70", "--env", "PGPASSWORD=x", *mounts),
        *("--entrypoint", words[0], image, words[1], "--command", "select 1"),
        check=False,
    )
    return scene.log(client)


@dataclass(frozen=True)
class Hop:
    """A client of ours and the server's port where it meets the impostor."""

    client: str
    port: int
    errors: Mapping[Shown, str]
    """What the client itself says, soon; empty: only to the impostor."""
    stir: Callable[[Scene, str], str] = by_itself


HOPS = {
    "edge to collector": Hop("edge-otlp", Port.COLLECTOR_HEALTH, HAPROXY),
    "edge to Phoenix": Hop("edge-ui", Port.PHOENIX, HAPROXY),
    "edge to Grafana": Hop("edge-ui", Port.GRAFANA, HAPROXY),
    "edge to Prometheus": Hop("edge-ui", Port.PROMETHEUS, HAPROXY),
    "edge to Alertmanager": Hop("edge-ui", Port.ALERTMANAGER, HAPROXY),
    "collector to Phoenix": Hop("collector", Port.PHOENIX, GO, sent_a_span),
    "Phoenix to PostgreSQL": Hop("asyncpg", Port.POSTGRES, OPENSSL),
    "psql to PostgreSQL": Hop("psql", Port.POSTGRES, LIBPQ),
    "PgBouncer to PostgreSQL": Hop("pgbouncer", Port.POSTGRES, LIBPQ, through_pgbouncer),
    "postgres-exporter to PostgreSQL": Hop(
        "postgres-exporter", Port.POSTGRES, GO, partial(scraped, port=Port.POSTGRES_EXPORTER)
    ),
    "Prometheus to its targets": Hop("prometheus", Port.NODE_EXPORTER, GO, targets),
    "Prometheus to Alertmanager": Hop("prometheus", Port.ALERTMANAGER, GO),
    "Grafana to Prometheus": Hop("grafana", Port.PROMETHEUS, GO, data_source),
    "blackbox-exporter to Prometheus": Hop(
        "blackbox-exporter",
        Port.PROMETHEUS,
        GO,
        partial(
            scraped,
            path=f"/probe?debug=true&module=https&target=https://prometheus:{Port.PROMETHEUS}/-/ready",
            port=Port.BLACKBOX_EXPORTER,
        ),
    ),
    "probe": Hop("probe", Port.PHOENIX, GO),
    "retention to Phoenix": Hop("phoenix-retention", Port.PHOENIX, OPENSSL),
    "users to Grafana": Hop("grafana-users", Port.GRAFANA, {}),
}
PUBLISHED = {
    "collector": Port.OTLP_HTTP,
    "postgres-exporter": Port.POSTGRES_EXPORTER,
    "prometheus": Port.PROMETHEUS,
    "grafana": Port.GRAFANA,
    "blackbox-exporter": Port.BLACKBOX_EXPORTER,
}
PSQL = f"host=postgres dbname=phoenix user=reader sslmode=verify-full sslrootcert={TLS_CA} connect_timeout=5"
COMMANDS = {
    "asyncpg": ("phoenix", ["/usr/bin/python3", "-c", PHOENIX_CONNECTS]),
    "psql": ("postgres", ["psql", PSQL, "--command", "select 1"]),
    "probe": ("phoenix", ["/probe/probe", "http", "--url", f"https://phoenix:{Port.PHOENIX}/readyz", "--ca", TLS_CA]),
}
"""Clients that are no service: whose twin runs them, and the command."""


@pytest.fixture(scope="module")
def trust(stack: StackUnderTest) -> Iterator[Mapping[Shown, Scene]]:
    """Three impostors, and a twin of every client before each."""

    def populate(scene: Scene) -> None:
        for client in dict.fromkeys(hop.client for hop in HOPS.values()):
            original, command = COMMANDS.get(client, (client, None))
            scene.twin(client, f"agentstack-{stack.name}-{original}", PUBLISHED.get(client), command)

    with scenes(stack) as made:
        with ThreadPoolExecutor(max_workers=len(made)) as pool:
            list(pool.map(populate, made.values()))
        yield made


@pytest.mark.parametrize("hop", HOPS.values(), ids=HOPS.keys())
@pytest.mark.parametrize("shown", list(Shown))
def test_a_hop_takes_only_a_valid_certificate_of_our_ca(trust: Mapping[Shown, Scene], hop: Hop, shown: Shown) -> None:
    scene = trust[shown]

    def outcome() -> list[dict[str, Any]]:
        said = hop.stir(scene, hop.client)
        met = scene.met(hop.client, hop.port)
        return met if any(one["taken"] for one in met) or re.search(hop.errors.get(shown, ""), said) else []

    met = poll(outcome, 60, f"{hop.client} meets the impostor on port {hop.port}, and says what it thinks of it")
    if shown is Shown.GOOD:
        assert any(one["taken"] for one in met)
    else:
        assert not [one for one in met if one["taken"]]
        assert hop.errors or any(re.search(ALERTS[shown], one["why"]) for one in met)


@pytest.mark.parametrize("shown", list(Shown))
def test_an_application_takes_only_a_valid_certificate_of_our_ca(trust: Mapping[Shown, Scene], shown: Shown) -> None:
    """As SDKs send: by HTTP and by gRPC."""
    scene = trust[shown]
    body = request("trust", [llm_span()]).SerializeToString()
    url = f"https://localhost:{scene.published(scene.server, Port.OTLP_HTTP)}/v1/traces"
    if shown is Shown.GOOD:
        answer = httpx.post(url, content=body, verify=scene.stack.trust, trust_env=False)
        assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    else:
        with pytest.raises(httpx.ConnectError, match=f"CERTIFICATE_VERIFY_FAILED.*{OPENSSL[shown]}"):
            httpx.post(url, content=body, verify=scene.stack.trust, trust_env=False)

    credentials = grpc.ssl_channel_credentials(scene.stack.ca_file.read_bytes())
    address = f"localhost:{scene.published(scene.server, Port.OTLP_GRPC)}"
    with grpc.secure_channel(address, credentials) as channel, pytest.raises(grpc.RpcError) as caught:
        send_grpc(channel, request("trust", [llm_span()]), scene.stack.token("chat"), timeout=10)
    refused = "CERTIFICATE_VERIFY_FAILED" in str(caught.value)
    assert refused is (shown is not Shown.GOOD), caught.value
