"""What each network lets through, looked at from a container on it."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.e2e.stack import StackUnderTest, docker, inspect, poll

pytestmark = pytest.mark.e2e

LOOK = """
import json, socket, sys
found = {}
for address in json.loads(sys.argv[1]):
    s = socket.socket(); s.settimeout(2)
    found["%s:%d" % tuple(address)] = s.connect_ex(tuple(address)) == 0
    s.close()
print(json.dumps(found))
"""


def reach(stack: StackUnderTest, network: str, addresses: list[tuple[str, int]]) -> dict[str, bool]:
    """Which addresses answer a TCP connection from a fresh container on ``network``."""
    image = inspect(stack.container("phoenix"))["Image"]
    told = docker(
        *("run", "--rm", "--network", network, "--label", f"io.agentstack.stack={stack.name}"),
        *("--entrypoint", "/usr/bin/python3", "--cap-drop", "ALL", image, "-c", LOOK, json.dumps(addresses)),
        timeout=180,
    )
    found: dict[str, bool] = json.loads(told.strip().splitlines()[-1])
    return found


def addresses_of(stack: StackUnderTest, service: str, port: int) -> list[tuple[str, int]]:
    """Every address that a service has, on whatever network."""
    networks = inspect(stack.container(service))["NetworkSettings"]["Networks"]
    return [(network["IPAddress"], port) for network in networks.values()]


INSIDE = {
    "postgres": 5432,
    "pgbouncer": 6432,
    "phoenix": 6006,
    "collector": 4318,
    "prometheus": 9090,
    "alertmanager": 9093,
    "grafana": 3000,
    "edge-ui": 6006,
    "postgres-exporter": 9187,
    "node-exporter": 9100,
}


def test_applications_reach_edge_otlp_and_nothing_else(stack: StackUnderTest) -> None:
    hidden = [address for service, port in INSIDE.items() for address in addresses_of(stack, service, port)]
    edge = [("otel-collector", 4317), ("otel-collector", 4318), ("phoenix", 6006)]
    found = reach(stack, stack.network("application"), hidden + edge)
    assert {f"{name}:{port}": True for name, port in edge}.items() <= found.items()
    assert [address for address, reached in found.items() if reached] == [f"{name}:{port}" for name, port in edge]


def test_the_same_probe_reaches_postgresql_from_its_own_network(stack: StackUnderTest) -> None:
    assert reach(stack, stack.network("phoenix"), [("postgres", 5432)]) == {"postgres:5432": True}


OUTSIDE = "198.51.100.2"
"""An address of the documentation range: our own host behind the engine's, as the internet is."""


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """A host that is on none of our networks: a network namespace behind this machine, with one listener."""
    name = f"t{os.getpid()}"
    port = 7777
    empty = tmp_path_factory.mktemp("served")
    made = [
        ("ip", "netns", "add", name),
        ("ip", "link", "add", f"{name}h", "type", "veth", "peer", "name", f"{name}n", "netns", name),
        ("ip", "address", "add", "198.51.100.1/24", "dev", f"{name}h"),
        ("ip", "link", "set", f"{name}h", "up"),
        ("ip", "netns", "exec", name, "ip", "address", "add", f"{OUTSIDE}/24", "dev", f"{name}n"),
        ("ip", "netns", "exec", name, "ip", "link", "set", f"{name}n", "up"),
        ("ip", "netns", "exec", name, "ip", "route", "add", "default", "via", "198.51.100.1"),
    ]
    listener = None
    try:
        for command in made:
            subprocess.run(command, check=True, capture_output=True, timeout=30)
        listener = subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, "-m", "http.server", str(port), "--bind", OUTSIDE],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=empty,
        )

        def answers() -> bool:
            with socket.create_connection((OUTSIDE, port), timeout=2):
                return True

        poll(answers, 20, "the outside host answers this machine")
        yield OUTSIDE, port
    finally:
        if listener:
            listener.terminate()
            listener.wait(timeout=10)
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True, timeout=30)
        subprocess.run(["ip", "link", "delete", f"{name}h"], check=False, capture_output=True, timeout=30)


@pytest.mark.parametrize("network", ["phoenix", "monitoring"])
def test_inner_networks_have_no_way_out(stack: StackUnderTest, outside: tuple[str, int], network: str) -> None:
    address = f"{outside[0]}:{outside[1]}"
    assert reach(stack, stack.network("application"), [outside]) == {address: True}
    assert reach(stack, stack.network(network), [outside]) == {address: False}


def test_the_ingest_names_are_in_the_certificate_that_applications_see(stack: StackUnderTest) -> None:
    program = (
        "import ssl, socket, sys\n"
        "trust = ssl.create_default_context(cadata=sys.stdin.read())\n"
        "for name, port in (('otel-collector', 4318), ('phoenix', 6006)):\n"
        "    trust.wrap_socket(socket.create_connection((name, port), 5), server_hostname=name).close()\n"
        "print('verified')\n"
    )
    told = docker(
        *("run", "--rm", "--interactive", "--network", stack.network("application")),
        *("--label", f"io.agentstack.stack={stack.name}", "--entrypoint", "/usr/bin/python3"),
        *(inspect(stack.container("phoenix"))["Image"], "-c", program),
        text=stack.ca_file.read_text(),
        timeout=180,
    )
    assert told.strip() == "verified"
