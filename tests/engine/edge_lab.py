"""Both edges in real containers, hardened as in the stack, in front of a backend that answers with what it got.

The configuration is the product's own rendering for the lab's networks. Everything has a random name and goes with
`close`. Clients are on this machine, through ports published on loopback.
"""

import base64
import contextlib
import datetime as dt
import http.client
import io
import ipaddress
import json
import secrets
import socket
import ssl
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from components.edge import maps
from components.edge.component import HEALTH
from components.edge.render import LOOPBACK, Edge, gateways, interfaces, render_config, sizing
from components.names import CONFIG_DIR, LIVE_DIR, PROBE_DIR, Service
from components.runtime import probe_command
from components.settings.access import Application
from tests.engine.database_lab import BuiltImages, docker, eventually

BACKEND = Path(__file__).with_name("edge_backend.py")
SCRAPE_PASSWORD = "scrape-password"
OWNER = "99:99"
INTERNAL = ["--internal"]
TRACE_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
ORIGIN = "https://app.example.org"
PUBLIC_NAME = "traces.example.org"

APPLICATIONS = {
    "chat": Application.model_validate({"requestsPerSecond": 1000, "bytesPerSecond": 1_000_000_000}),
    "slow": Application.model_validate({"requestsPerSecond": 1, "bytesPerSecond": 1_000_000_000}),
    "thin": Application.model_validate({"requestsPerSecond": 1000, "bytesPerSecond": 1000}),
}
TOKENS = {name: f"token-of-{name}" for name in APPLICATIONS}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Authority:
    """A throw-away CA and its leafs, as PEM text."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"edge lab {secrets.token_hex(4)}")])
        self.pem = self._certificate(self._name, self._key, [])
        self.trust = ssl.create_default_context(cadata=self.pem)

    def _certificate(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName]) -> str:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def leaf(self, *names: str) -> tuple[str, str]:
        """Certificate and key for these DNS names (and loopback)."""
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        alternatives: list[x509.GeneralName] = [*(x509.DNSName(name) for name in names), address]
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        return self._certificate(subject, key, alternatives), pem.decode()


def _archive(files: Mapping[str, str], owner: str) -> bytes:
    uid, gid = (int(part) for part in owner.split(":"))
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode, entry.uid, entry.gid = len(text.encode()), 0o440, uid, gid
            tar.addfile(entry, io.BytesIO(text.encode()))
    return data.getvalue()


class EdgeLab:
    """The networks, the backend and the edges of one test module."""

    def __init__(self, image: str | None = None) -> None:
        self.name = f"h-edge-{secrets.token_hex(3)}"
        self._built = BuiltImages()
        self.image = image or self._built["haproxy"]
        self.authority = Authority()
        self.subnets: dict[str, str] = {}
        self._volumes: list[str] = []
        self._containers: list[str] = []
        # Ranges of their own: Docker would pick from those that a stack uses.
        block = f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(256)}"
        networks: dict[str, list[str]] = {"application": [], "phoenix": INTERNAL, "monitoring": INTERNAL}
        for number, (network, internal) in enumerate(networks.items()):
            self.subnets[network] = f"{block}.{64 * number}/26"
            docker("network", "create", *internal, "--subnet", self.subnets[network], self.network(network))
        self.backend()

    def network(self, name: str) -> str:
        return f"{self.name}-{name}-network"

    def container(self, name: str) -> str:
        return f"{self.name}-{name}"

    def backend(self, called: str = "backend") -> None:
        """Collector and interfaces in one container."""
        certificate, key = self.authority.leaf("collector", "phoenix", "grafana", "prometheus", "alertmanager")
        name = self.container(called)
        aliases = [word for alias in ("collector", "phoenix") for word in ("--network-alias", alias)]
        self._containers.append(name)
        docker(
            *("create", "--name", name, "--network", self.network("phoenix"), *aliases),
            *(self._built["phoenix"], "/srv/backend.py", "/srv/tls.crt", "/srv/tls.key"),
        )
        files = {"backend.py": BACKEND.read_text(), "tls.crt": certificate, "tls.key": key}
        docker("cp", "-", f"{name}:/srv", stdin=_archive(files, "65532:65532"))
        aliases = [word for alias in ("grafana", "prometheus", "alertmanager") for word in ("--alias", alias)]
        docker("network", "connect", *aliases, self.network("monitoring"), name)
        docker("start", name)

    def remove(self, called: str) -> None:
        docker("rm", "-f", "-v", self.container(called))

    def describe(self, service: Service, **changes: Any) -> Edge:
        """The edge as the stack would describe it for these networks."""
        served = [ipaddress.IPv4Network(self.subnets[name]) for name in ("application", "monitoring")]
        behind = interfaces(
            phoenix=f"phoenix.{self.network('phoenix')}",
            grafana=f"grafana.{self.network('monitoring')}",
            prometheus=f"prometheus.{self.network('monitoring')}",
            alertmanager=f"alertmanager.{self.network('monitoring')}",
        )
        edge = Edge(
            service=service,
            sizing=sizing(112, 1.0),
            takes_otlp=service is Service.EDGE_OTLP,
            served_on=(LOOPBACK, *(str(network) for network in served)),
            near=gateways(served[:1]),
            monitored_from=self.subnets["monitoring"],
            collector_host=f"collector.{self.network('phoenix')}",
            metrics_pages=tuple((path, maps.live_path(file)) for path, (file, _) in self.pages().items()),
            allowed_origins=(ORIGIN,),
            public_names=(PUBLIC_NAME,),
            interfaces=behind if service is Service.EDGE_UI else (),
        )
        return replace(edge, **changes)

    @staticmethod
    def pages() -> dict[str, tuple[str, str]]:
        return maps.metrics_pages(APPLICATIONS)

    def live_files(self, tokens: Mapping[str, str]) -> dict[str, str]:
        return {
            maps.APPLICATIONS_MAP: maps.applications_map({n: (maps.token_digest(t),) for n, t in tokens.items()}),
            maps.REQUESTS_MAP: maps.requests_map(APPLICATIONS),
            maps.BYTES_MAP: maps.bytes_map(APPLICATIONS),
            **dict(self.pages().values()),
        }

    def carry(self, volume: str, target: str, files: Mapping[str, str]) -> str:
        """Write files into a volume as the runtime's carrier does: a container that never starts."""
        full = self.container(volume)
        if full not in self._volumes:
            docker("volume", "create", full)
            self._volumes.append(full)
        carrier = docker("create", "-v", f"{full}:{target}", self._built["probe"]).splitlines()[-1]
        if files:
            docker("cp", "-", f"{carrier}:{target}", stdin=_archive(files, OWNER))
        docker("rm", carrier)
        return full

    def start(self, edge: Edge, *ports: int, name: str | None = None) -> str:
        """Start an edge with these ports published on loopback; it is waited for until it is alive."""
        called = name or edge.service.value
        certificate, key = self.authority.leaf(
            edge.service.value, "otel-collector", "phoenix", "localhost", PUBLIC_NAME
        )
        config = {
            "haproxy.cfg": render_config(edge),
            maps.SCRAPERS_MAP: maps.scrapers_map("prometheus", SCRAPE_PASSWORD),
            "tls/tls.crt": certificate,
            "tls/tls.key": key,
            "tls/ca.crt": self.authority.pem,
        }
        volumes = ["-v", f"{self.carry('probe', PROBE_DIR, {})}:{PROBE_DIR}:ro"]
        volumes += ["-v", f"{self.carry(f'{called}-config', CONFIG_DIR, config)}:{CONFIG_DIR}:ro"]
        volumes += ["-v", f"{self.carry(f'{called}-live', LIVE_DIR, self.live_files(TOKENS))}:{LIVE_DIR}:ro"]
        published = [word for port in ports for word in ("-p", f"127.0.0.1::{port}")]
        container = self.container(called)
        self._containers.append(container)
        docker(
            *("create", "--name", container, "--read-only", "--cap-drop", "ALL", "--user", OWNER, "--init"),
            *("--security-opt", "no-new-privileges", "--memory", "112m", "--memory-swap", "112m", "--cpus", "1"),
            *("--ulimit", "nofile=8192:8192", "--stop-signal", "SIGUSR1"),
            *("--network", self.network("application"), *volumes, *published, "--entrypoint", "haproxy"),
            *(self.image, "-W", "-db", "-f", f"{CONFIG_DIR}/haproxy.cfg"),
        )
        docker("network", "connect", self.network("phoenix"), container)
        docker("network", "connect", self.network("monitoring"), container)
        docker("start", container)
        try:
            eventually(lambda: "Loading success" in self.log(called), f"{called} starts", 20)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log(called)[-2000:]}") from None
        return called

    def log(self, called: str) -> str:
        return docker("logs", self.container(called))

    def port(self, called: str, port: int) -> int:
        """The port of this machine behind which ``port`` of an edge is published."""
        return int(docker("port", self.container(called), f"{port}/tcp").rsplit(":", 1)[1])

    def address(self, called: str, network: str) -> str:
        """The edge's own address on a network."""
        path = f'{{{{(index .NetworkSettings.Networks "{self.network(network)}").IPAddress}}}}'
        return docker("inspect", "-f", path, self.container(called))

    def gateway(self, network: str) -> str:
        """This machine's address on a network."""
        return str(ipaddress.IPv4Network(self.subnets[network])[1])

    def stop(self, called: str) -> None:
        docker("stop", "--time", "40", self.container(called))

    def exit_code(self, called: str) -> int:
        return int(docker("inspect", "-f", "{{.State.ExitCode}}", self.container(called)))

    def backend_is_busy(self) -> bool:
        """True while the backend works on a slow request."""
        return "slow" in docker("logs", self.container("backend"))

    def reload(self, called: str) -> None:
        """Let the probe see changed live files, which it takes up at its second look."""
        done = self.log(called).count("Loading success")
        said = [self.probe(called) for _ in range(2)]
        assert said[-1].endswith("live files changed: sent SIGUSR2"), said
        eventually(lambda: self.log(called).count("Loading success") > done, f"{called} has reloaded", 20)

    def probe(self, called: str) -> str:
        """One run of the health check as the runtime sets it up; what it said."""
        return docker("exec", self.container(called), *probe_command(HEALTH)[1:])

    def close(self) -> None:
        for name in self._containers:
            docker("rm", "-f", "-v", name, check=False)
        for name in self._volumes:
            docker("volume", "rm", "-f", name, check=False)
        for name in self.subnets:
            docker("network", "rm", self.network(name), check=False)

    # ---- clients

    def ask(
        self,
        port: int,
        method: str = "GET",
        path: str = "/",
        body: bytes | None = None,
        *,
        address: str = "127.0.0.1",
        plain: bool = False,
        **headers: str,
    ) -> Answer:
        """One request over TLS (plaintext on request) by HTTP/1.1; ``headers`` with ``_`` for ``-``."""
        connection = (
            http.client.HTTPConnection(address, port, timeout=20)
            if plain
            else http.client.HTTPSConnection(address, port, timeout=20, context=self._trust(address))
        )
        try:
            connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
            response = connection.getresponse()
            names = {key.lower(): value for key, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def connect(self, address: str, port: int, source: str | None = None) -> socket.socket | None:
        """A connection from this machine's address ``source`` whose TLS hello was answered; None when it was closed."""
        sent, received = ssl.MemoryBIO(), ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            self.authority.trust.wrap_bio(received, sent, server_hostname="localhost").do_handshake()
        connection = None
        try:
            connection = socket.create_connection(
                (address, port), timeout=10, source_address=(source, 0) if source else None
            )
            connection.sendall(sent.read())
            if connection.recv(1) == b"\x16":
                return connection
        except ConnectionError:
            pass
        if connection:
            connection.close()
        return None

    def answers(self, address: str, port: int, source: str | None = None) -> bool:
        """True when a port speaks TLS to this machine's address ``source``."""
        connection = self.connect(address, port, source)
        if connection:
            connection.close()
        return connection is not None

    @staticmethod
    def scraper(password: str) -> str:
        """Prometheus' Authorization value."""
        return "Basic " + base64.b64encode(f"prometheus:{password}".encode()).decode()

    def _trust(self, address: str) -> ssl.SSLContext:
        if address == "127.0.0.1":
            return self.authority.trust
        context = ssl.create_default_context(cadata=self.authority.pem)
        context.check_hostname = False  # asked by an address that only this test knows
        return context

    def export(self, port: int, message: bytes, token: str | None, method: str = TRACE_EXPORT, **metadata: str) -> Any:
        """One gRPC export; the backend's answer.

        Raises:
            grpc.RpcError: when it is refused.
        """
        credentials = grpc.ssl_channel_credentials(self.authority.pem.encode())
        sent: list[tuple[str, str | bytes]] = [(key.replace("_", "-"), value) for key, value in metadata.items()]
        if token is not None:
            sent.append(("authorization", f"Bearer {token}"))
        with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
            call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
            return json.loads(call(message, metadata=tuple(sent), timeout=15))
