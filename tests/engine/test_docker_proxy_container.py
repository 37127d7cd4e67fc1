"""The Docker proxy in a real container, as the stack describes it, asked from another one by the collector's user.

Decides: what the docker_stats receiver reads passes, everything else is refused.
"""

import json
import secrets
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from components.context import Context
from components.docker_proxy import SOCKET_DIR, DockerProxy
from components.names import CONFIG_DIR
from components.runtime import probe_command
from components.workload import Workload
from tests.engine.database_lab import BuiltImages, Lab, describe, docker, eventually

pytestmark = [pytest.mark.engine, pytest.mark.timeout(180)]

ASK = f"""
import http.client, json, socket, sys
class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect("{SOCKET_DIR}/docker.sock")
found = {{}}
for line in sys.argv[1:]:
    method, path, body = line.split(" ", 2)
    connection = Unix("docker")
    connection.request(method, path, body or None)
    answer = connection.getresponse()
    read = answer.read1 if "stream=1" in path or "/events" in path else answer.read
    found[line.strip()] = [answer.status, read().decode(errors="replace")[:300] if method != "HEAD" else ""]
    connection.close()
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Proxy:
    lab: Lab
    name: str

    def ask(self, *requests: str) -> dict[str, tuple[int, str]]:
        """Status and start of the answer of each "METHOD PATH [BODY]", asked as the collector's user."""
        volume = f"{self.lab.name}-docker-proxy-socket:{SOCKET_DIR}:ro"
        hardened = ("--rm", "--network", "none", "--user", "10001:10001", "--cap-drop", "ALL", "-v", volume)
        lines = [request if request.count(" ") > 1 else f"{request} " for request in requests]
        said = docker("run", *hardened, str(BuiltImages()["phoenix"]), "-c", ASK, *lines)
        return {line: (status, body) for line, (status, body) in json.loads(said).items()}


def described(lab: Lab) -> Workload:
    """The proxy's workload."""

    def build(context: Context) -> None:
        DockerProxy("docker-proxy", context)

    workload: Workload = describe(build, images=lab.images)["docker-proxy"]
    return workload


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    lab = Lab("h-edge-proxy")
    try:
        yield Proxy(lab, run(lab, described(lab)))
    finally:
        lab.close()


def run(lab: Lab, workload: Workload) -> str:
    """Start it as described; it is waited for until its own health check is content."""
    name = lab.container(workload.service.value)
    assert workload.health is not None
    check = shlex.join(probe_command(workload.health)[1:])
    lab._containers.add(name)
    docker(
        *("run", "-d", "--name", name, "--memory", f"{workload.resources.memory_mib}m"),
        *("--health-cmd", f"exec {check}", "--health-interval", "1s"),
        *(word for path in workload.host_paths for word in ("-v", f"{path.source}:{path.target}:ro")),
        *lab._command(workload, f"{workload.uid}:{workload.gid}"),
    )
    lab.await_healthy(name)
    return name


def test_what_container_metrics_need_passes(proxy: Proxy) -> None:
    this = docker("inspect", "-f", "{{.Id}}", proxy.name)
    found = proxy.ask(
        "GET /_ping",
        "HEAD /_ping",
        "GET /v1.41/version",
        "GET /v1.41/info",
        "GET /v1.41/containers/json?all=1",
        f"GET /v1.41/containers/{this}/json",
        f"GET /containers/{proxy.name}/stats?stream=0&one-shot=1",
        f"GET /v1.41/containers/{this}/stats?stream=1",
        f"GET /v1.41/events?since=0&until=1&x={secrets.token_hex(2)}",
    )
    assert {status for status, _ in found.values()} == {200}


@pytest.mark.parametrize(
    "request_line",
    [
        "POST /v1.41/containers/json",
        "POST /containers/create {}",
        "DELETE /v1.41/containers/x",
        "GET /v1.41/containers/x/logs",
        "GET /v1.41/containers/x/archive?path=/etc",
        "GET /v1.41/containers/x/json/../logs",
        "GET /v1.41/containers/%2e%2e/images/json",
        "GET /v1.41/images/json",
        "GET /v1.41/secrets",
        "GET /v1.41/volumes",
        "GET /v1.41//containers/json",
        "GET /version/../images/json",
        "GET /_ping {}",
        "PUT /_ping",
        "OPTIONS /_ping",
    ],
)
def test_everything_else_is_refused(proxy: Proxy, request_line: str) -> None:
    (status, body) = proxy.ask(request_line)[request_line]
    assert status == 403
    assert "the Docker proxy passes" in body


def test_streams_do_not_keep_others_waiting(proxy: Proxy) -> None:
    this = docker("inspect", "-f", "{{.Id}}", proxy.name)
    names = [proxy.lab.container(f"listener-{number}") for number in range(3)]
    volume = f"{proxy.lab.name}-docker-proxy-socket:{SOCKET_DIR}:ro"
    script = ASK.replace("answer.read1", "answer.read")
    try:
        for name in names:
            image = str(BuiltImages()["phoenix"])
            line = f"GET /containers/{this}/stats?stream=1 "
            docker("run", "-d", "--name", name, "--user", "10001:10001", "-v", volume, image, "-c", script, line)
        status, _ = proxy.ask("GET /_ping")["GET /_ping"]
        assert status == 200
    finally:
        docker("rm", "-f", *names)


def test_the_configuration_is_valid_without_a_warning(proxy: Proxy) -> None:
    said = docker("exec", proxy.name, "haproxy", "-C", "/", "-c", "-f", f"{CONFIG_DIR}/haproxy.cfg")
    assert "WARNING" not in said
    assert "ALERT" not in said


def test_it_serves_again_after_it_was_killed(proxy: Proxy) -> None:
    docker("kill", proxy.name)
    docker("start", proxy.name)
    proxy.lab.await_healthy(proxy.name)
    eventually(lambda: proxy.ask("GET /_ping")["GET /_ping"][0] == 200, "the proxy answers again")
