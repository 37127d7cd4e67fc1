"""Drift on a real stack: what is tampered with is found, named rightly and repaired; what is sound is left alone."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.stack import StackUnderTest, docker, inspect, poll

pytestmark = [pytest.mark.e2e, pytest.mark.drift]

SERVICE = "blackbox-exporter"
"""Tampered with: nothing else waits for it."""


def report(stack: StackUnderTest) -> dict[str, Any]:
    """What `agentstack drift --json` says, its exit code checked against it."""
    done = stack.agentstack("drift", "--json", check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if found["clean"] else 7), done.stderr
    return found


def started(stack: StackUnderTest) -> dict[str, tuple[str, str]]:
    """Container -> (id, StartedAt)."""
    return {name: (inspect(name)["Id"], inspect(name)["State"]["StartedAt"]) for name in stack.containers()}


def mount(stack: StackUnderTest, service: str, target: str) -> str:
    """The volume that a service mounts at ``target``."""
    return next(str(m["Name"]) for m in inspect(stack.container(service))["Mounts"] if m["Destination"] == target)


def in_volume(stack: StackUnderTest, volume: str, script: str) -> None:
    """Run a script as root with a volume at /v."""
    image = inspect(stack.container("postgres"))["Image"]
    docker(
        "run", "--rm", "--network", "none", "--user", "0", "--volume", f"{volume}:/v", "--entrypoint", "/bin/sh", image,
        "-c", script, timeout=120,
    )  # fmt: skip


@dataclass(frozen=True)
class Tampering:
    """What is done to the stack, the kind that must be found, and whether its container is another one afterwards."""

    kind: str
    do: Callable[[StackUnderTest, str], object]
    replaced: bool = False
    restarted: bool = False


def _corrupt(stack: StackUnderTest, name: str) -> None:
    in_volume(stack, mount(stack, SERVICE, "/etc/agentstack"), "echo tampered >> /v/$(ls /v | grep -v tls | head -1)")


CASES = {
    "stopped": Tampering("stopped", lambda stack, name: docker("stop", name, timeout=90), restarted=True),
    "paused": Tampering("paused", lambda stack, name: docker("pause", name)),
    "removed": Tampering("missing", lambda stack, name: docker("rm", "--force", name), replaced=True),
    "memory": Tampering(
        "changed", lambda stack, name: docker("update", "--memory", "96m", "--memory-swap", "96m", name)
    ),
    "left a network": Tampering(
        "network", lambda stack, name: docker("network", "disconnect", stack.network("monitoring"), name)
    ),
    "joined a network": Tampering(
        "network", lambda stack, name: docker("network", "connect", stack.network("application"), name)
    ),
    "another file": Tampering("config_content", _corrupt, replaced=True),
}


@pytest.fixture(scope="module")
def sound(stack: StackUnderTest) -> StackUnderTest:
    """The stack without drift. Each repair compares again at its end: its exit code 0 says that all is sound."""
    assert report(stack)["findings"] == []
    return stack


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_tampering_is_found_and_repaired_and_nothing_else_is_touched(sound: StackUnderTest, case: Tampering) -> None:
    name = sound.container(SERVICE)
    before = started(sound)
    case.do(sound, name)
    found = report(sound)
    assert {finding["kind"] for finding in found["findings"]} == {case.kind}, found
    assert all(SERVICE in finding["resource"] for finding in found["findings"])
    done = sound.agentstack("repair", "--yes")
    assert done.returncode == 0
    poll(lambda: sound.health(SERVICE) == "healthy", 120, f"{SERVICE} is healthy")
    after = started(sound)
    assert {other: when for other, when in after.items() if other != name} == {
        other: when for other, when in before.items() if other != name
    }
    assert (after[name][0] != before[name][0]) is case.replaced
    assert (after[name][1] != before[name][1]) is (case.replaced or case.restarted)


def test_an_unhealthy_service_is_found_and_replaced(sound: StackUnderTest) -> None:
    name = sound.container("node-exporter")
    docker("pause", name)  # its health check fails while it is frozen; the probe can't end what is frozen
    try:
        poll(lambda: sound.health("node-exporter") == "unhealthy", 240, "node-exporter is unhealthy", every=2)
        kinds = {finding["kind"] for finding in report(sound)["findings"]}
    finally:
        docker("unpause", name)
    assert kinds == {"paused"}
    poll(lambda: sound.health("node-exporter") == "healthy", 120, "node-exporter is healthy again")


def test_strangers_are_found_and_removed_only_by_name(sound: StackUnderTest) -> None:
    image = inspect(sound.container("postgres"))["Image"]
    stranger, volume = f"agentstack-{sound.name}-stranger", f"agentstack-{sound.name}-loot"
    docker("create", "--name", stranger, "--network", "none", image)
    docker("volume", "create", volume)
    try:
        found = {finding["resource"]: finding["kind"] for finding in report(sound)["findings"]}
        assert found == {stranger: "foreign", volume: "foreign"}
        assert sound.agentstack("repair", "--yes", check=False).returncode == 7
        assert inspect(stranger)["Name"] == f"/{stranger}"
        assert (
            sound.agentstack("repair", "--yes", "--remove", stranger, "--remove", volume, check=False).returncode == 7
        )
        assert docker("ps", "--all", "--quiet", "--filter", f"name=^{stranger}$") == ""
        assert docker("volume", "ls", "--quiet", "--filter", f"name={volume}").split() == [volume]
    finally:
        docker("rm", "--force", stranger, check=False)
        docker("volume", "rm", volume)


def test_a_container_of_others_on_an_inner_network_is_found(sound: StackUnderTest) -> None:
    image = inspect(sound.container("postgres"))["Image"]
    intruder = f"h-{sound.name}-intruder"
    docker(
        "run",
        "--detach",
        "--name",
        intruder,
        "--network",
        sound.network("phoenix"),
        "--entrypoint",
        "/bin/sleep",
        image,
        "600",
    )
    try:
        [finding] = report(sound)["findings"]
        assert (finding["kind"], finding["resource"]) == ("intruder", intruder)
        assert sound.agentstack("repair", "--yes", "--remove", intruder).returncode == 0
        assert sound.network("phoenix") not in inspect(intruder)["NetworkSettings"]["Networks"]
    finally:
        docker("rm", "--force", intruder)


def test_a_setting_that_was_not_applied_is_pending_and_repaired(sound: StackUnderTest) -> None:
    before = started(sound)
    sound.write_settings({"blackboxExporter": {"cpus": 0.5, "memoryMib": 48}})
    try:
        found = report(sound)["findings"]
        assert {finding["kind"] for finding in found} == {"pending"}
        assert sound.agentstack("repair", "--yes").returncode == 0
    finally:
        sound.write_settings({"blackboxExporter": {"cpus": 0.25, "memoryMib": 48}})
        sound.up()
    name = sound.container(SERVICE)
    after = started(sound)
    assert {other for other in after if after[other] != before[other]} == {name}


def test_a_clean_stack_is_never_accused(sound: StackUnderTest) -> None:
    for _ in range(20):
        assert report(sound)["clean"]


def test_an_engine_that_is_down_is_neither_clean_nor_drift(sound: StackUnderTest) -> None:
    done = sound.run(
        "env", "DOCKER_HOST=unix:///nonexistent.sock", ".venv/bin/agentstack", "drift", "--json", check=False
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["clean"] is None
