"""The stack under test: a real one, of its own name, subnets, ports and state, beside whatever else runs here.

Its name is `t` and a hash of the checkout, so that two checkouts don't meet. `up` is the very code of `make up`.
"""

import hashlib
import ipaddress
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import yaml

T = TypeVar("T")

ROOT: Final = Path(__file__).resolve().parents[2]
HOME: Final = ".agentstack-test"
UP_SECONDS: Final = 1500
APPLICATIONS: Final[Mapping[str, Any]] = {
    "default": {},
    "chat": {"requestsPerSecond": 1000, "bytesPerSecond": 100_000_000, "capture": "full"},
    "limited": {"requestsPerSecond": 2, "bytesPerSecond": 1_000_000, "capture": "full"},
}


def poll(look: Callable[[], T], seconds: float, what: str, every: float = 0.5) -> T:
    """The first truthy answer of ``look``; fails with ``what`` and the last answer when there is none in time."""
    deadline = time.monotonic() + seconds
    last: T | Exception | None = None
    while time.monotonic() < deadline:
        try:
            last = look()
            if last:
                return last
        except (httpx.HTTPError, OSError, subprocess.SubprocessError, KeyError, IndexError) as error:
            last = error
        time.sleep(every)
    raise AssertionError(f"{what}: not within {seconds:.0f} s; last: {last!r}")


def docker(*arguments: str, timeout: float = 60, check: bool = True, text: str | None = None) -> str:
    """Standard output (and error) of a docker command."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=timeout, check=False, input=text
    )
    if check and done.returncode:
        raise AssertionError(f"docker {' '.join(arguments)}: {done.stderr or done.stdout}")
    return done.stdout + done.stderr if not check else done.stdout


def inspect(container: str) -> dict[str, Any]:
    """`docker inspect` of one container."""
    found: dict[str, Any] = json.loads(docker("container", "inspect", container))[0]
    return found


def descendants(pid: int) -> list[int]:
    """A process of this host and all that descends from it."""
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        found.append(one)
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            queue += [int(child) for child in task.read_text().split()]
    return found


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody listens to on loopback at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def taken_networks(own: str) -> list[ipaddress.IPv4Network]:
    """IPv4 ranges of the engine's networks, those of our own stack left out."""
    names = docker("network", "ls", "--quiet").split()
    taken = []
    for network in json.loads(docker("network", "inspect", *names)):
        if network["Name"].startswith(f"agentstack-{own}-"):
            continue
        taken += [ipaddress.IPv4Network(c["Subnet"]) for c in network["IPAM"]["Config"] or [] if ":" not in c["Subnet"]]
    return taken


def free_subnets(own: str, keys: list[str]) -> dict[str, dict[str, str]]:
    """A /24 for each key, from 10.64.0.0/10, that no network of the engine overlaps."""
    taken = taken_networks(own)
    start = int(hashlib.sha256(own.encode()).hexdigest(), 16) % 8000
    found: dict[str, dict[str, str]] = {}
    candidates = list(ipaddress.IPv4Network("10.64.0.0/10").subnets(new_prefix=24))
    for candidate in candidates[start:] + candidates[:start]:
        if len(found) == len(keys):
            break
        if not any(candidate.overlaps(network) for network in taken):
            found[keys[len(found)]] = {"subnet": str(candidate)}
    return found


@dataclass
class StackUnderTest:
    """One real stack; everything that a test asks of it."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    first_up: subprocess.CompletedProcess[str] | None = None

    # ---- its life

    @property
    def file(self) -> Path:
        return ROOT / f"Pulumi.{self.name}.yaml"

    @cached_property
    def environment(self) -> dict[str, str]:
        """The environment of every command about this stack."""
        own = {k: v for k, v in os.environ.items() if k not in {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}}
        return {**own, "AGENTSTACK_HOME": HOME, "PULUMI_STACK": self.name, "NO_COLOR": "1"}

    def write_settings(self, overrides: Mapping[str, Any] | None = None) -> None:
        """Write the stack file: `dev` with subnets and ports of its own."""
        if not self.settings:
            keys = ["phoenix", "grafana", "prometheus", "alertmanager", "otlpGrpc", "otlpHttp"]
            self.settings = {
                "networks": free_subnets(self.name, ["phoenix", "monitoring", "application", "ui", "egress"]),
                "ports": dict(zip(keys, free_ports(len(keys)), strict=True)),
                "applications": dict(APPLICATIONS),
                "allowedOrigins": ["https://app.example.org"],
            }
        self.settings.update(overrides or {})
        self.file.write_text(yaml.safe_dump({"config": {"agentstack:stack": self.settings}}))

    def run(self, *command: str, timeout: float = UP_SECONDS, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of ours in the checkout, with this stack's environment."""
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        if check and done.returncode:
            raise AssertionError(
                f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-6000:]}\n{done.stderr[-4000:]}"
            )
        return done

    def up(self, check: bool = True) -> subprocess.CompletedProcess[str]:
        """What `make up` does once the machine is set up."""
        self.__dict__.pop("outputs", None)
        return self.run(sys.executable, "-m", "tools.up", "--stack", self.name, check=check)

    def down(self, volumes: bool = False, check: bool = True) -> subprocess.CompletedProcess[str]:
        """What `make down` does."""
        extra = ["--volumes", "--yes"] if volumes else []
        return self.run(sys.executable, "-m", "tools.down", "--stack", self.name, *extra, check=check)

    def pulumi(self, *arguments: str, check: bool = True, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """`. .agentstack/env && pulumi ...` on this stack."""
        script = f'. {HOME}/env && exec pulumi "$@"'
        return self.run("/bin/sh", "-c", script, "sh", *arguments, check=check, timeout=timeout)

    def agentstack(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The operator's command on this stack."""
        return self.run(sys.executable, "-m", "agentstack", *arguments, check=check, timeout=300)

    def clear(self) -> None:
        """Remove whatever an earlier run left of this stack: containers, volumes, networks, its state."""
        label = f"label=io.agentstack.stack={self.name}"
        for listing, removal in (
            (("ps", "--all", "--quiet"), ("rm", "--force", "--volumes")),
            (("volume", "ls", "--quiet"), ("volume", "rm", "--force")),
            (("network", "ls", "--quiet"), ("network", "rm")),
        ):
            names = docker(*listing, "--filter", label).split()
            if names:
                docker(*removal, *names, timeout=300)
        for path in (ROOT / HOME / "state" / ".pulumi").glob(f"*/agentstack/{self.name}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.file.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the connections of the clients that tests asked for: left open they fail the run when it ends."""
        for name, made in list(self.__dict__.items()):
            if isinstance(made, httpx.Client):
                made.close()
                del self.__dict__[name]

    def left_over(self) -> list[str]:
        """Containers, volumes and networks that carry this stack's name."""
        prefix = f"agentstack-{self.name}-"
        names = docker("ps", "--all", "--format", "{{.Names}}").split()
        names += docker("volume", "ls", "--format", "{{.Name}}").split()
        names += docker("network", "ls", "--format", "{{.Name}}").split()
        return sorted(name for name in names if name.startswith(prefix))

    # ---- what it tells

    @cached_property
    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, secrets included."""
        done = self.pulumi("stack", "output", "--json", "--show-secrets", "--stack", self.name)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def endpoint(self, key: str) -> str:
        """URL as seen from the host: phoenix, grafana, prometheus, alertmanager, otlp_grpc, otlp_http."""
        return str(self.outputs["endpoints"][key])

    def token(self, application: str) -> str:
        """The ingest token of an application."""
        return str(self.outputs["credentials"]["ingest_tokens"][application])

    @property
    def ca_file(self) -> Path:
        """Our CA, as a file."""
        return ROOT / ".agentstack" / self.name / "ca.crt"

    @cached_property
    def trust(self) -> ssl.SSLContext:
        """Verifies against our CA alone."""
        return ssl.create_default_context(cafile=str(self.ca_file))

    def client(self, key: str, **options: Any) -> httpx.Client:
        """An HTTP client of one endpoint that trusts our CA alone and follows nothing by itself."""
        return httpx.Client(base_url=self.endpoint(key), verify=self.trust, timeout=30, trust_env=False, **options)

    @cached_property
    def phoenix(self) -> httpx.Client:
        """Phoenix's API with the admin secret."""
        secret = self.outputs["credentials"]["phoenix"]["admin_secret"]
        return self.client("phoenix", headers={"authorization": f"Bearer {secret}"})

    def _with_login(self, key: str) -> httpx.Client:
        login = self.outputs["credentials"][key]
        return self.client(key, auth=(login["username"], login["password"]))

    @cached_property
    def prometheus(self) -> httpx.Client:
        """Prometheus's API, logged in."""
        return self._with_login("prometheus")

    @cached_property
    def alertmanager(self) -> httpx.Client:
        """Alertmanager's API, logged in."""
        return self._with_login("alertmanager")

    @cached_property
    def grafana(self) -> httpx.Client:
        """Grafana's API, logged in as admin."""
        return self._with_login("grafana")

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query in Prometheus."""
        answer = self.prometheus.get("/api/v1/query", params={"query": expression})
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    # ---- its containers

    def container(self, service: str) -> str:
        """The Docker name of a service's first replica."""
        name = self.outputs["containers"][service]
        return str(name[0] if isinstance(name, list) else name)

    def containers(self) -> list[str]:
        """The Docker names of every long-running container."""
        found: list[str] = []
        for name in self.outputs["containers"].values():
            found += name if isinstance(name, list) else [name]
        return found

    def health(self, service: str) -> str:
        """`healthy`, `unhealthy`, `starting`."""
        return str(inspect(self.container(service))["State"]["Health"]["Status"])

    def host_pid(self, service: str) -> int:
        """The service's main process as the host numbers it: docker-init's child, or PID 1 where there is no init."""
        top = int(inspect(self.container(service))["State"]["Pid"])
        children = Path(f"/proc/{top}/task/{top}/children").read_text().split()
        name = Path(f"/proc/{top}/comm").read_text().strip()
        return int(children[0]) if children and name in {"docker-init", "tini"} else top

    def host_pids(self, service: str) -> list[int]:
        """Every process of a service, as the host numbers them: the main process and all that descends from it."""
        return descendants(self.host_pid(service))

    def network(self, key: str) -> str:
        """Docker's name of a network: phoenix, monitoring, application."""
        return str(self.outputs["networks"][key])

    # ---- spans

    def spans(self, project: str, limit: int = 1000) -> list[dict[str, Any]]:
        """Every span of a project, from Phoenix's REST API; none when there is no such project yet."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            answer = self.phoenix.get(
                f"/v1/projects/{project}/spans", params={"limit": limit, **({"cursor": cursor} if cursor else {})}
            )
            if answer.status_code == httpx.codes.NOT_FOUND:
                return []
            answer.raise_for_status()
            found += answer.json()["data"]
            cursor = answer.json().get("next_cursor")
            if not cursor:
                return found

    def sql(self, text: str, user: str = "postgres") -> str:
        """What PostgreSQL answers its own client, unaligned, without headings."""
        command = ("psql", "-XAtq", "-U", user, "-d", "phoenix", "-c", text)
        return docker("exec", self.container("postgres"), *command).strip()

    def stored_ids(self, project: str) -> set[str]:
        """Hex ids of every span of a project, asked of PostgreSQL itself."""
        joined = "spans s JOIN traces t ON t.id = s.trace_rowid JOIN projects p ON p.id = t.project_rowid"
        return set(self.sql(f"SELECT s.span_id FROM {joined} WHERE p.name = '{project}'").split())  # noqa: S608

    def span_ids(self, project: str) -> set[str]:
        """Hex ids of every span of a project."""
        return {span["context"]["span_id"] for span in self.spans(project)}
