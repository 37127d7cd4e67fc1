"""What each network lets through, looked at from a container on it."""

import json

import pytest

from tests.e2e.stack import StackUnderTest, docker, inspect

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


@pytest.mark.parametrize("network", ["phoenix", "monitoring"])
def test_inner_networks_have_no_way_out(stack: StackUnderTest, network: str) -> None:
    routes = docker(
        *("run", "--rm", "--network", stack.network(network), "--label", f"io.agentstack.stack={stack.name}"),
        *("--entrypoint", "/usr/bin/python3", inspect(stack.container("phoenix"))["Image"]),
        *("-c", "print(open('/proc/net/route').read())"),
        timeout=180,
    )
    destinations = [line.split()[1] for line in routes.splitlines()[1:] if line.strip()]
    assert destinations
    assert "00000000" not in destinations  # no default route
    # A documentation address: whatever answers is no neighbour.
    assert not any(reach(stack, stack.network(network), [("192.0.2.1", 443), ("198.51.100.7", 80)]).values())


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
