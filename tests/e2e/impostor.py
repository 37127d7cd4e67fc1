"""An impostor in a service's place: a network where every name of ours leads to a server with another certificate.

The stack itself is left alone. Clients are twins of its containers (same image, command, environment, configuration
and live volumes, data in memory) on such a network, where the impostor answers to all our names.
"""

import datetime as dt
import ipaddress
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from components.names import ALIASES, Port, Service
from tests.e2e.stack import StackUnderTest, docker, free_subnets, inspect, poll

LABEL = "io.agentstack.test-impostor"
DIRECTORY = "/tmp/impostor"  # noqa: S108 - the container's own
PORTS = sorted({value for name, value in vars(Port).items() if name.isupper()})
NAMES = sorted({*map(str, Service), *(alias for aliases in ALIASES.values() for alias in aliases)})
KEPT = ("/run/docker-proxy",)
"""Volumes that a twin shares with its original; every other one that is written to is empty memory."""


class Shown(StrEnum):
    """What the impostor's certificate is."""

    GOOD = "good"
    EXPIRED = "expired"
    FOREIGN = "foreign"


@dataclass(frozen=True)
class Authority:
    """A CA with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def leaf(self, names: Sequence[str], ends: dt.datetime) -> tuple[str, str]:
        """Certificate and key, PEM, for ``names`` and loopback; valid for the thirty days before ``ends``."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in (*names, "localhost")]
        alternatives.append(x509.IPAddress(ipaddress.IPv4Address("127.0.0.1")))
        public = self.key.public_key()
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(ends - dt.timedelta(days=30))
            .not_valid_after(ends)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return made.public_bytes(serialization.Encoding.PEM).decode(), pem.decode()


def foreign(ours: x509.Certificate) -> Authority:
    """A CA of the same name as ours, with a key of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(ours.subject)
        .issuer_name(ours.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=60))
        .not_valid_after(now + dt.timedelta(days=60))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(made, key)


def of_state(stack: StackUnderTest) -> tuple[Authority, str]:
    """Our CA with its key, and the password with which Prometheus scrapes: out of the state."""
    state = json.loads(stack.pulumi("stack", "export", "--show-secrets", "--stack", stack.name).stdout)
    made = {
        (resource["type"].rsplit(":", 1)[-1], resource["urn"].rsplit("::", 1)[-1]): resource["outputs"]
        for resource in state["deployment"]["resources"]
        if resource.get("outputs")
    }

    def value(kind: str, name: str, output: str) -> str:
        found = made[kind, name][output]
        return str(json.loads(found["plaintext"]) if isinstance(found, dict) else found)

    key = serialization.load_pem_private_key(value("PrivateKey", "ca-key", "privateKeyPem").encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    certificate = x509.load_pem_x509_certificate(value("SelfSignedCert", "ca-certificate", "certPem").encode())
    return Authority(certificate, key), value("RandomPassword", "scrape", "result")


@dataclass
class Scene:
    """One network with one impostor, and the twins on it."""

    stack: StackUnderTest
    shown: Shown
    scrape_password: str = field(repr=False)
    subnet: str
    twins: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the network; a prefix of the containers."""
        return f"h-{self.stack.name}-{self.shown}"

    @property
    def server(self) -> str:
        return f"{self.name}-server"

    def published(self, container: str, port: int) -> int:
        """The port of this machine's loopback that leads to a container's port."""
        return int(docker("port", container, f"{port}/tcp").splitlines()[0].rsplit(":", 1)[1])

    def address(self, container: str) -> str:
        networks = inspect(container)["NetworkSettings"]["Networks"]
        return str(networks[self.name]["IPAddress"]) if self.name in networks else ""

    def met(self, key: str, port: int) -> list[dict[str, Any]]:
        """The impostor's connections with a twin on a port."""
        peer = json.loads(docker("container", "inspect", self.twins[key]))[0]["Config"]["Labels"][f"{LABEL}.address"]
        lines = docker("logs", self.server).splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{")]
        return [one for one in told if one["peer"] == peer and one["port"] == port]

    def log(self, key: str) -> str:
        """What a twin has said."""
        return docker("logs", self.twins[key], check=False)

    def client(self, key: str, port: int, login: tuple[str, str] | None = None) -> httpx.Client:
        """An HTTP client of a twin's own port, with verified TLS."""
        url = f"https://localhost:{self.published(self.twins[key], port)}"
        return httpx.Client(base_url=url, verify=self.stack.trust, auth=login, timeout=20, trust_env=False)

    def twin(self, key: str, original: str, publish: int | None = None, command: Sequence[str] | None = None) -> None:
        """Start a twin of the container ``original``, with its own command or another one."""
        found = inspect(original)
        config, host = found["Config"], found["HostConfig"]
        words = list(command) if command else [*(config["Entrypoint"] or []), *(config["Cmd"] or [])]
        # A free address, chosen here so that the impostor's lines can be told apart after a twin has ended.
        address = str(ipaddress.IPv4Network(self.subnet)[20 + len(self.twins)])
        flags = ["--name", f"{self.name}-{key}", "--network", self.name, "--ip", address]
        flags += ["--label", LABEL, "--label", f"{LABEL}.address={address}"]
        flags += ["--init", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        flags += ["--user", config["User"], "--workdir", config["WorkingDir"] or "/", "--entrypoint", words[0]]
        flags += ["--memory", str(host["Memory"])]
        for variable in config["Env"]:
            flags += ["--env", variable]
        for target, options in (host.get("Tmpfs") or {}).items():
            flags += ["--tmpfs", f"{target}:{options}"]
        for mount in found["Mounts"]:
            target = mount["Destination"]
            if mount["Type"] == "volume" and (not mount["RW"] or target in KEPT):
                flags += ["--volume", f"{mount['Name']}:{target}:ro"]
            else:
                uid, _, gid = config["User"].partition(":")
                flags += ["--tmpfs", f"{target}:uid={uid},gid={gid or 0}"]
        if publish:
            flags += ["--publish", f"127.0.0.1::{publish}"]
        docker("run", "--detach", *flags, found["Image"], *words[1:], timeout=120)
        self.twins[key] = f"{self.name}-{key}"

    def start(self, leaf: tuple[str, str]) -> None:
        """The network and the impostor."""
        docker("network", "create", "--label", LABEL, "--subnet", self.subnet, self.name)
        image = inspect(self.stack.container("phoenix"))["Image"]
        # The edges ask for a name on one network of theirs.
        own = [self.stack.network(network) for network in ("phoenix", "monitoring")]
        names = [*NAMES, *(f"{name}.{network}" for name in NAMES for network in own)]
        aliases = [word for name in names for word in ("--network-alias", name)]
        ports = [word for port in (Port.OTLP_GRPC, Port.OTLP_HTTP) for word in ("--publish", f"127.0.0.1::{port}")]
        docker(
            *("create", "--name", self.server, "--network", self.name, "--label", LABEL, *aliases, *ports),
            *("--entrypoint", "/usr/bin/python3", "--init", "--user", "0:0", "--cap-drop", "ALL", image),
            *(f"{DIRECTORY}/impostor_server.py", DIRECTORY, *map(str, PORTS)),
        )
        with tempfile.TemporaryDirectory() as scratch:
            program = Path(__file__).with_name("impostor_server.py").read_text()
            for file, text in {"impostor_server.py": program, "tls.crt": leaf[0], "tls.key": leaf[1]}.items():
                (Path(scratch) / file).write_text(text)
            docker("cp", scratch, f"{self.server}:{DIRECTORY}")
        docker("start", self.server, timeout=120)
        poll(lambda: "listening" in docker("logs", self.server, check=False), 60, f"{self.server} listens")


def clear() -> None:
    """Remove what an earlier run left."""
    for listing, removal in ((("ps", "-aq"), ("rm", "--force")), (("network", "ls", "-q"), ("network", "rm"))):
        if names := docker(*listing, "--filter", f"label={LABEL}").split():
            docker(*removal, *names, timeout=180)


@contextmanager
def scenes(stack: StackUnderTest) -> Iterator[Mapping[Shown, Scene]]:
    """An impostor for each kind of certificate."""
    clear()
    ours, scrape_password = of_state(stack)
    now = dt.datetime.now(dt.UTC)
    later, yesterday = now + dt.timedelta(hours=1), now - dt.timedelta(days=1)
    leaves = {
        Shown.GOOD: ours.leaf(NAMES, later),
        Shown.EXPIRED: ours.leaf(NAMES, yesterday),
        Shown.FOREIGN: foreign(ours.certificate).leaf(NAMES, later),
    }
    made = {}
    try:
        for shown, ranges in free_subnets(f"{stack.name}-impostor", list(Shown)).items():
            scene = Scene(stack, Shown(shown), scrape_password, ranges["subnet"])
            scene.start(leaves[scene.shown])
            made[scene.shown] = scene
        yield made
    finally:
        clear()
