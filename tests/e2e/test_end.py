"""Failed runs, `down` and `up` again, and the end: nothing is left, and only when it was asked for."""

import os

import pytest

from tests.e2e.stack import ROOT, StackUnderTest, docker, inspect, poll
from tests.e2e.telemetry import ids, llm_span, request, send_http

pytestmark = pytest.mark.e2e


def test_a_failed_creation_fails_this_up_and_the_next_until_mended(stack: StackUnderTest) -> None:
    """A container of a stranger holds the name of one of ours."""
    name = f"agentstack-{stack.name}-grafana"
    docker("rm", "--force", name, timeout=120)
    image = inspect(stack.container("postgres"))["Image"]
    docker("create", "--name", name, "--entrypoint", "/bin/true", image)
    try:
        stack.write_settings({"grafana": {"cpus": 0.75, "memoryMib": 256}})
        first, second = stack.up(check=False), stack.up(check=False)
    finally:
        docker("rm", "--force", "--volumes", name)
    assert first.returncode != 0
    assert second.returncode != 0
    assert name in first.stdout + first.stderr
    stack.up()
    assert stack.health("grafana") == "healthy"


def test_down_then_up_keeps_traces_and_logins(stack: StackUnderTest) -> None:
    project, sent = f"kept-{os.urandom(3).hex()}", [llm_span() for _ in range(5)]
    assert send_http(stack, request(project, sent), stack.token("chat")).is_success
    poll(lambda: stack.span_ids(project) == ids(sent), 60, "the spans in Phoenix")
    credentials, authority = stack.outputs["credentials"], stack.ca_file.read_text()
    stack.down()
    assert docker("ps", "--quiet", "--filter", f"label=io.agentstack.stack={stack.name}").split() == []
    stack.up()
    assert stack.outputs["credentials"] == credentials
    assert stack.ca_file.read_text() == authority
    poll(lambda: stack.span_ids(project) == ids(sent), 60, "the old spans in Phoenix")
    later = [llm_span()]
    assert send_http(stack, request(project, later), stack.token("chat")).is_success
    poll(lambda: stack.span_ids(project) == ids(sent) | ids(later), 60, "a new span beside the old ones")


def test_down_with_volumes_leaves_nothing(stack: StackUnderTest) -> None:
    stack.down(volumes=True)
    assert stack.left_over() == []
    assert not (ROOT / ".agentstack" / stack.name).exists()
