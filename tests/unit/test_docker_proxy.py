"""The Docker proxy: what Docker is asked for (what it passes: tests/engine/test_docker_proxy_container.py)."""

from typing import Any

import pytest

from components.docker_proxy import ENDPOINT, config
from components.names import Service
from tests.unit.program import Program, revealed, run_program

pytestmark = pytest.mark.unit

MAIN = """
import pulumi
from components.docker_proxy import DockerProxy
from components.foundation import lay_foundation
from components.stack import read_settings
settings, engine = read_settings(pulumi.get_stack())
context, _ = lay_foundation(pulumi.get_stack(), settings, engine)
proxy = DockerProxy("docker-proxy", context)
pulumi.export("volume", [proxy.volume.name, proxy.volume.target, proxy.volume.shared])
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    main = tmp_path_factory.mktemp("program") / "__main__.py"
    main.write_text(MAIN)
    return run_program("dev", main=main)


@pytest.fixture(scope="module")
def container(program: Program) -> dict[str, Any]:
    inputs: dict[str, Any] = revealed(program.of_type("docker:Container")[Service.DOCKER_PROXY].inputs)
    return inputs


def test_it_has_no_network_no_port_and_no_capability(container: dict[str, Any]) -> None:
    assert container["networkMode"] == "none"
    assert not container.get("networksAdvanced")
    assert not container.get("ports")
    assert container["capabilities"] == {"drops": ["ALL"]}


def test_root_has_a_read_only_root_and_gains_nothing(container: dict[str, Any]) -> None:
    assert container["user"] == "0:0"
    assert container["readOnly"] is True
    assert container["securityOpts"] == ["no-new-privileges=true"]


def test_it_alone_sees_the_docker_socket_and_read_only(program: Program, container: dict[str, Any]) -> None:
    binds = [mount for mount in container["mounts"] if mount["type"] == "bind"]
    assert [(bind["source"], bind["readOnly"]) for bind in binds] == [("/var/run/docker.sock", True)]


def test_the_collector_mounts_what_it_serves(program: Program, container: dict[str, Any]) -> None:
    name, target, shared = program.exports["volume"]
    mounted = {mount["target"]: mount["source"] for mount in container["mounts"]}
    assert mounted[target] == f"agentstack-dev-{name}"
    assert shared
    assert f"unix://{target}/docker.sock" == ENDPOINT
    assert f"bind {target}/docker.sock " in config()
