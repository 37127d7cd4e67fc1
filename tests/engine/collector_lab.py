"""The real Collector in a container, hardened as in the stack, in front of a fake Phoenix (fake_phoenix.py).

The configuration is the product's own rendering. Everything has a random name and goes with `close`. Clients are on
this machine, through ports published on loopback.
"""

import base64
import contextlib
import http.client
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import bcrypt
import grpc
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from components.collector import receive, render
from components.collector.component import HEALTH, UID
from components.collector.inputs import CollectorInputs
from components.collector.privacy import PSEUDONYM_KEY_FILE
from components.collector.text import dump
from components.names import APPLICATION_HEADER, CONFIG_DIR, LIVE_DIR, PROBE_DIR, Port
from components.runtime import probe_command
from components.settings import load_settings
from tests.engine.database_lab import BuiltImages, docker, eventually
from tests.engine.edge_lab import Authority, _archive

FAKE_PHOENIX = Path(__file__).with_name("fake_phoenix.py")
PHOENIX_SECRET = "phoenix-admin-secret"
SCRAPE_PASSWORD = "scrape-password"
PSEUDONYM_KEY = "k" * 40
OWNER = f"{UID}:{UID}"
TRACE_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
LOG_EXPORT = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
PORTS = (
    Port.OTLP_GRPC,
    Port.OTLP_HTTP,
    Port.COLLECTOR_HEALTH,
    Port.COLLECTOR_TELEMETRY,
    Port.COLLECTOR_METRICS,
    Port.COLLECTOR_APPLICATIONS,
)
PROTOBUF = "application/x-protobuf"


def any_value(value: Any) -> AnyValue:
    """A Python value as OTLP sends it."""
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case list():
            return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in value]))
        case dict():
            return AnyValue(kvlist_value=KeyValueList(values=attributes(value)))
        case _:
            return AnyValue(string_value=value)


def attributes(values: Mapping[str, Any]) -> list[KeyValue]:
    """A mapping as OTLP attributes."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in values.items()]


@dataclass
class Span:
    """One span to be sent; ids are random unless given."""

    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = "span"
    seconds: float = 1.0
    error: str | None = None
    root: bool = True
    events: Sequence[tuple[str, Mapping[str, Any]]] = ()
    trace: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    id: bytes = field(default_factory=lambda: secrets.token_bytes(8))


def export(spans: Sequence[Span], resource: Mapping[str, Any] | None = None) -> bytes:
    """An OTLP request, as bytes."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.extend(attributes({"service.name": "bot"} if resource is None else resource))
    scope = group.scope_spans.add()
    scope.scope.name = "tests"
    now = time.time_ns()
    for span in spans:
        out = scope.spans.add(
            trace_id=span.trace,
            span_id=span.id,
            parent_span_id=b"" if span.root else b"\x01" * 8,
            name=span.name,
            start_time_unix_nano=now,
            end_time_unix_nano=now + int(span.seconds * 1e9),
        )
        out.attributes.extend(attributes(span.attributes))
        if span.error is not None:
            out.status.code = Status.STATUS_CODE_ERROR
            out.status.message = span.error
        for name, values in span.events:
            out.events.add(name=name).attributes.extend(attributes(values))
    return request.SerializeToString()


class Series(dict[tuple[str, frozenset[tuple[str, str]]], float]):
    """A page of metrics: (name, labels) -> value."""

    @classmethod
    def parse(cls, page: str) -> "Series":
        found = cls()
        for line in page.splitlines():
            match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if match and not line.startswith("#"):
                labels = frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match.group(2) or ""))
                found[match.group(1), labels] = float(match.group(3))
        return found

    def total(self, name: str, **labels: str) -> float:
        return sum(value for (n, have), value in self.items() if n == name and labels.items() <= set(have))

    def count(self, name: str, **labels: str) -> int:
        return sum(1 for (n, have) in self if n == name and labels.items() <= set(have))


class CollectorLab:
    """A network, a fake Phoenix and Collectors."""

    def __init__(self) -> None:
        self.name = f"h-collector-{secrets.token_hex(3)}"
        self.images = BuiltImages()
        self.authority = Authority()
        self._volumes: set[str] = set()
        self._containers: set[str] = set()
        subnet = f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(250)}.0/24"
        docker("network", "create", "--subnet", subnet, self.name)
        self._start_phoenix()

    def _full(self, name: str) -> str:
        return f"{self.name}-{name}"

    def _start_phoenix(self) -> None:
        certificate, key = self.authority.leaf("phoenix", "localhost")
        name = self._full("fake-phoenix")
        self._containers.add(name)
        docker(
            *("create", "--name", name, "--network", self.name, "--network-alias", "phoenix", "-p", "127.0.0.1::6006"),
            *("--entrypoint", "/usr/bin/python3", self.images["phoenix"], "/srv/fake_phoenix.py"),
            *("6006", "/srv/tls.crt", "/srv/tls.key", PHOENIX_SECRET),
        )
        files = {"fake_phoenix.py": FAKE_PHOENIX.read_text(), "tls.crt": certificate, "tls.key": key}
        docker("cp", "-", f"{name}:/srv", stdin=_archive(files, "65532:65532"))
        docker("start", name)
        eventually(self._phoenix_is_up, "the fake Phoenix answers", 60)

    def _phoenix_is_up(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.phoenix() is not None
        return False

    def carry(self, volume: str, target: str, files: Mapping[str, str]) -> str:
        """Write files into a volume as the runtime's carrier does: by a container that never starts."""
        full = self._full(volume)
        if full not in self._volumes:
            docker("volume", "create", full)
            self._volumes.add(full)
        carrier = docker("create", "-v", f"{full}:{target}", self.images["probe"]).splitlines()[-1]
        if files:
            docker("cp", "-", f"{carrier}:{target}", stdin=_archive(files, OWNER))
        docker("rm", carrier)
        return full

    def start(
        self,
        called: str,
        tokens: Mapping[str, str],
        raw: Mapping[str, Any] | None = None,
        change: Callable[[dict[str, Any]], None] = lambda config: None,
    ) -> "Collector":
        """Start a Collector for these settings and wait until it is ready.

        Args:
            change: what is to differ from the product's rendering.
        """
        inputs = CollectorInputs(stack="lab", settings=load_settings(raw or {}), phoenix_url="https://phoenix:6006")
        certificate, key = self.authority.leaf("collector", "localhost")
        digest = bcrypt.hashpw(SCRAPE_PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        rendered = render.render(inputs)
        change(rendered)
        config = {
            render.CONFIG_FILE: dump(rendered),
            render.PRICES_FILE: render.render_prices(inputs),
            receive.ADMIN_SECRET_FILE: PHOENIX_SECRET,
            receive.SCRAPE_FILE: f"prometheus:{digest}\n",
            PSEUDONYM_KEY_FILE: PSEUDONYM_KEY,
            "tls/ca.crt": self.authority.pem,
            # There is no Docker to ask in the lab.
            "replica/1": "nop",
        }
        live = {"tls/tls.crt": certificate, "tls/tls.key": key, receive.TOKENS_FILE: token_lines(tokens)}
        queue = self.carry(f"{called}-queue", "/queue", {"owned": "x"})
        docker(
            *("run", "--rm", "-u", "0:0", "-v", f"{queue}:/queue", "--entrypoint", "/bin/chown"),
            *(self.images["postgres"], OWNER, "/queue"),
        )
        volumes = {
            self.carry(f"{called}-config", CONFIG_DIR, config): f"{CONFIG_DIR}:ro",
            self.carry(f"{called}-live", LIVE_DIR, live): f"{LIVE_DIR}:ro",
            queue: receive.QUEUE_DIR,
            self.carry("probe", PROBE_DIR, {}): f"{PROBE_DIR}:ro",
        }
        container = self._full(called)
        self._containers.add(container)
        docker(
            *("create", "--name", container, "--network", self.name, "--network-alias", "collector"),
            *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", OWNER, "--init"),
            *("--memory", "320m", "--memory-swap", "320m", "-e", "AGENTSTACK_REPLICA=1", "-e", "GOMEMLIMIT=256MiB"),
            *(word for port in PORTS for word in ("-p", f"127.0.0.1::{port}")),
            *(word for volume, target in volumes.items() for word in ("-v", f"{volume}:{target}")),
            *("--entrypoint", "/otelcol-contrib", self.images["collector"]),
            f"--config={CONFIG_DIR}/{render.CONFIG_FILE}",
        )
        collector = Collector(self, called)
        docker("start", container)
        collector.wait()
        return collector

    def validate(self, raw: Mapping[str, Any]) -> None:
        """The Collector's own check of what is rendered for these settings.

        Raises:
            RuntimeError: with what it said.
        """
        inputs = CollectorInputs(stack="lab", settings=load_settings(raw), phoenix_url="https://phoenix:6006")
        files = {
            render.CONFIG_FILE: render.render_text(inputs),
            render.PRICES_FILE: render.render_prices(inputs),
            PSEUDONYM_KEY_FILE: PSEUDONYM_KEY,
            receive.ADMIN_SECRET_FILE: PHOENIX_SECRET,
            receive.SCRAPE_FILE: "prometheus:x\n",
            "replica/1": "nop",
            "tls/ca.crt": self.authority.pem,
        }
        certificate, key = self.authority.leaf("collector")
        live = {"tls/tls.crt": certificate, "tls/tls.key": key, receive.TOKENS_FILE: "a a\n"}
        name = f"validate-{secrets.token_hex(3)}"
        docker(
            *("run", "--rm", "--user", OWNER, "-e", "AGENTSTACK_REPLICA=1", "--network", "none"),
            *("-v", f"{self.carry(f'{name}-config', CONFIG_DIR, files)}:{CONFIG_DIR}:ro"),
            *("-v", f"{self.carry(f'{name}-live', LIVE_DIR, live)}:{LIVE_DIR}:ro"),
            *("--entrypoint", "/otelcol-contrib", self.images["collector"]),
            *("validate", f"--config={CONFIG_DIR}/{render.CONFIG_FILE}"),
        )

    def ask(
        self, port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """One request over verified TLS to a port of this machine."""
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=self.authority.trust)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def published(self, called: str, port: int) -> int:
        return int(docker("port", self._full(called), f"{port}/tcp").splitlines()[0].rpartition(":")[2])

    # ---- the fake Phoenix

    def phoenix(self) -> Any:
        """All that arrived at the fake Phoenix."""
        return json.loads(self.ask(self.published("fake-phoenix", 6006), "GET", "/spans")[1])

    def phoenix_answers(self, status: int) -> None:
        self.ask(self.published("fake-phoenix", 6006), "POST", f"/mode/{status}", b"")

    def phoenix_only_acknowledges(self) -> None:
        """From now on the fake Phoenix looks at no span: it must not be what a measurement measures."""
        self.ask(self.published("fake-phoenix", 6006), "POST", "/swallow", b"")

    def stored(self, ids: set[str]) -> dict[str, dict[str, Any]]:
        """Those of the spans that arrived, by id."""
        return {span["id"]: span for span in self.phoenix()["spans"] if span["id"] in ids}

    def wait_for(self, ids: set[str], seconds: float = 60) -> dict[str, dict[str, Any]]:
        """The spans, once all of them arrived."""
        eventually(lambda: set(self.stored(ids)) == ids, f"{len(ids)} spans arrive", seconds)
        return self.stored(ids)

    def prometheus(self, collector: "Collector", *features: str) -> "Prometheus":
        """A Prometheus that scrapes the Collector's page of span metrics every second."""
        job = {
            "job_name": "collector-spans",
            "scheme": "https",
            "scrape_interval": "1s",
            "scrape_timeout": "1s",
            "tls_config": {"ca_file": "/etc/prometheus-lab/ca.crt", "server_name": "collector"},
            "basic_auth": {"username": "prometheus", "password": SCRAPE_PASSWORD},
            "static_configs": [{"targets": [f"{collector.container}:{Port.COLLECTOR_METRICS}"]}],
        }
        files = {"ca.crt": self.authority.pem, "prometheus.yml": yaml.safe_dump({"scrape_configs": [job]})}
        called = f"prometheus-{len(self._containers)}"
        container = self._full(called)
        self._containers.add(container)
        docker(
            *("run", "-d", "--name", container, "--network", self.name, "-p", "127.0.0.1::9090", "--user", OWNER),
            *("-v", f"{self.carry(called, '/etc/prometheus-lab', files)}:/etc/prometheus-lab:ro"),
            *("--tmpfs", f"/prometheus:uid={UID}", "--entrypoint", "/bin/prometheus", self.images["prometheus"]),
            *("--config.file=/etc/prometheus-lab/prometheus.yml", "--storage.tsdb.path=/prometheus"),
            *(f"--enable-feature={feature}" for feature in features),
        )
        return Prometheus(int(docker("port", container, "9090/tcp").splitlines()[0].rpartition(":")[2]))

    def close(self) -> None:
        for name in self._containers:
            docker("rm", "-f", "-v", name, check=False)
        for name in self._volumes:
            docker("volume", "rm", "-f", name, check=False)
        docker("network", "rm", self.name, check=False)


def token_lines(tokens: Mapping[str, str]) -> str:
    return "".join(f"{token} {application}\n" for application, token in tokens.items())


@dataclass(frozen=True)
class Prometheus:
    """A throw-away Prometheus on loopback."""

    port: int

    def query(self, expression: str) -> float | None:
        """The value of an expression with one result; None without a result or an answer."""
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            try:
                connection.request("GET", f"/api/v1/query?{urlencode({'query': expression})}")
                found = json.loads(connection.getresponse().read())["data"]["result"]
                return float(found[0]["value"][1]) if found else None
            finally:
                connection.close()
        return None


@dataclass(frozen=True)
class Collector:
    """One running Collector."""

    lab: CollectorLab
    called: str

    @property
    def container(self) -> str:
        return f"{self.lab.name}-{self.called}"

    def port(self, port: int) -> int:
        return self.lab.published(self.called, port)

    def wait(self) -> None:
        eventually(self._ready, f"{self.called} is ready: {docker('logs', '--tail', '5', self.container)}", 90)

    def _ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException, RuntimeError):
            return self.lab.ask(self.port(Port.COLLECTOR_HEALTH), "GET", "/")[0] == 200
        return False

    def send(
        self, body: bytes, token: str | None, application: str = "chat", path: str = "/v1/traces", kind: str = PROTOBUF
    ) -> tuple[int, bytes]:
        """By OTLP/HTTP, with the header that the edge sets."""
        headers = {"Content-Type": kind, APPLICATION_HEADER: application}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self.lab.ask(self.port(Port.OTLP_HTTP), "POST", path, body, headers)

    def send_grpc(self, body: bytes, token: str | None, method: str = TRACE_EXPORT) -> grpc.StatusCode:
        """By OTLP/gRPC; the status."""
        credentials = grpc.ssl_channel_credentials(self.lab.authority.pem.encode())
        with grpc.secure_channel(f"localhost:{self.port(Port.OTLP_GRPC)}", credentials) as channel:
            call: Any = channel.unary_unary(method, request_serializer=None, response_deserializer=None)
            metadata = [(APPLICATION_HEADER, "chat")] + ([("authorization", f"Bearer {token}")] if token else [])
            try:
                call(body, metadata=tuple(metadata), timeout=30)
            except grpc.RpcError as error:
                return error.code()
            return grpc.StatusCode.OK

    def page(self, port: int, password: str | None = SCRAPE_PASSWORD) -> tuple[int, str]:
        """A page of metrics as Prometheus asks for it."""
        headers = {}
        if password is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(f"prometheus:{password}".encode()).decode()
        status, body = self.lab.ask(self.port(port), "GET", "/metrics", None, headers)
        return status, body.decode()

    def series(self, port: int = Port.COLLECTOR_METRICS) -> Series:
        status, page = self.page(port)
        assert status == 200
        return Series.parse(page)

    def probe(self) -> str:
        """One run of the health check as the runtime sets it up, which looks at the live files too; what it said."""
        return docker("exec", self.container, *probe_command(HEALTH)[1:], check=False)

    def kill(self) -> None:
        """SIGKILL, then started again by the same engine."""
        docker("kill", "--signal", "KILL", self.container)
        docker("start", self.container)
        self.wait()
