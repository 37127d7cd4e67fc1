"""The first `up`, and what stays quiet after it."""

import json

import pytest

from tests.e2e.stack import StackUnderTest, inspect, poll

pytestmark = pytest.mark.e2e


def started(stack: StackUnderTest) -> dict[str, tuple[str, str]]:
    """Container -> (id, StartedAt)."""
    return {name: (inspect(name)["Id"], inspect(name)["State"]["StartedAt"]) for name in stack.containers()}


def test_a_refused_setting_changes_nothing_and_tells_every_fault(unborn: StackUnderTest) -> None:
    before = unborn.left_over()
    good = dict(unborn.settings)
    unborn.file.write_text(json.dumps({"config": {"agentstack:stack": {**good, "retentionDays": 0, "fenix": 1}}}))
    try:
        done = unborn.up(check=False)
    finally:
        unborn.write_settings()
    assert done.returncode != 0
    told = done.stdout + done.stderr
    assert "agentstack:stack.retentionDays = 0" in told
    assert "agentstack:stack.fenix" in told
    assert "Traceback" not in told
    assert unborn.left_over() == before


def test_the_first_up_ends_with_every_service_healthy(stack: StackUnderTest) -> None:
    assert stack.first_up is not None
    found = json.loads(stack.agentstack("status", "--json").stdout)
    services = found if isinstance(found, list) else found["services"]
    assert {row["health"] for row in services} == {"healthy"}
    assert {row["container"] for row in services} == set(stack.containers())


def test_the_first_up_tells_where_everything_is_and_no_secret(stack: StackUnderTest) -> None:
    assert stack.first_up is not None
    told = stack.first_up.stdout + stack.first_up.stderr
    for key in ("phoenix", "grafana", "prometheus", "alertmanager", "otlp_grpc", "otlp_http"):
        assert stack.endpoint(key) in told

    def values(tree: object) -> list[str]:
        if isinstance(tree, dict):
            return [leaf for item in tree.values() for leaf in values(item)]
        return [str(tree)]

    secrets = [value for value in values(stack.outputs["credentials"]) if len(value) > 12 and "@" not in value]
    assert len(secrets) >= 6
    assert [secret for secret in secrets if secret in told] == []


def test_docker_inspect_shows_no_secret(stack: StackUnderTest) -> None:
    def values(tree: object) -> list[str]:
        if isinstance(tree, dict):
            return [leaf for item in tree.values() for leaf in values(item)]
        return [str(tree)]

    secrets = [value for value in values(stack.outputs["credentials"]) if len(value) > 12 and "@" not in value]
    for name in stack.containers():
        text = json.dumps(inspect(name))
        assert [secret for secret in secrets if secret in text] == [], name


def test_a_second_up_changes_nothing(stack: StackUnderTest) -> None:
    before = started(stack)
    done = stack.pulumi("up", "--yes", "--skip-preview", "--non-interactive", "--json", "--stack", stack.name)
    assert '"result": "failed"' not in done.stdout
    assert started(stack) == before


def test_nothing_has_drifted(stack: StackUnderTest) -> None:
    quiet = ("--expect-no-changes", "--non-interactive", "--stack", stack.name)
    stack.pulumi("refresh", "--preview-only", *quiet)
    stack.pulumi("preview", "--refresh", *quiet)


def test_a_plain_shell_sees_the_same_stack_and_no_change(stack: StackUnderTest) -> None:
    stack.pulumi("preview", "--expect-no-changes", "--non-interactive", "--stack", stack.name)


def test_a_changed_setting_touches_only_what_must_change(stack: StackUnderTest) -> None:
    before = started(stack)
    stack.write_settings({"grafana": {"cpus": 1.0, "memoryMib": 288}})
    stack.up()
    changed = {name for name, identity in started(stack).items() if identity != before[name]}
    # Memory is changed in the running container.
    assert changed == set()
    assert inspect(stack.container("grafana"))["HostConfig"]["Memory"] == 288 * 1024 * 1024
    stack.write_settings({"grafana": {"cpus": 0.5, "memoryMib": 288}})
    stack.up()
    changed = {name for name, identity in started(stack).items() if identity != before[name]}
    assert changed == {stack.container("grafana")}


def test_no_container_was_restarted_in_all_this(stack: StackUnderTest) -> None:
    assert {name: inspect(name)["RestartCount"] for name in stack.containers()} == dict.fromkeys(stack.containers(), 0)
    poll(lambda: stack.health("grafana") == "healthy", 60, "Grafana healthy after its change")
