"""The operator's command on a real stack."""

import json
import re
from typing import Any

import httpx
import pytest

from components.names import SMOKE_APPLICATION
from tests.e2e.stack import StackUnderTest, docker, poll

pytestmark = pytest.mark.e2e


def secrets_of(stack: StackUnderTest) -> list[str]:
    """Every secret value of the outputs."""

    def leaves(tree: Any) -> list[str]:
        return [leaf for item in tree.values() for leaf in leaves(item)] if isinstance(tree, dict) else [str(tree)]

    return [value for value in leaves(stack.outputs["credentials"]) if len(value) > 12 and "@" not in value]


def test_status_tells_every_containers_figures(stack: StackUnderTest) -> None:
    rows = json.loads(stack.agentstack("status", "--json").stdout)
    assert sorted(row["container"] for row in rows) == sorted(stack.containers())
    for row in rows:
        assert row["health"] == "healthy"
        assert row["uptime_seconds"] >= 0
        assert 0 < row["memory_bytes"] <= row["memory_limit_bytes"]
        assert row["stand_in"] is (row["service"] in stack.outputs["stand_ins"])


def test_status_is_1_while_a_service_is_paused(stack: StackUnderTest) -> None:
    name = stack.container("blackbox-exporter")
    docker("pause", name)
    try:
        done = stack.agentstack("status", check=False)
    finally:
        docker("unpause", name)
    assert done.returncode == 1
    assert f"{name} is paused" in done.stderr
    poll(lambda: stack.health("blackbox-exporter") == "healthy", 90, "blackbox-exporter is healthy again")


def test_smoke_times_every_hop_of_both_protocols(stack: StackUnderTest) -> None:
    passages = json.loads(stack.agentstack("smoke", "--json").stdout)
    assert [passage["transport"] for passage in passages] == ["grpc", "http"]
    for passage in passages:
        assert passage["ok"]
        assert passage["project"] == SMOKE_APPLICATION
        assert [hop["name"] for hop in passage["hops"]] == ["connect", "tls", "accepted", "stored"]
        assert all(0 < hop["milliseconds"] < 60_000 for hop in passage["hops"])


def test_smoke_names_the_hop_that_failed(stack: StackUnderTest) -> None:
    name = stack.container("collector")
    docker("pause", name)
    try:
        done = stack.agentstack("smoke", "--timeout", "5", check=False)
    finally:
        docker("unpause", name)
    poll(lambda: stack.health("collector") == "healthy", 120, "the collector is healthy again")
    assert done.returncode == 1
    assert "accepted by edge and collector failed" in done.stderr


def test_demo_sends_exactly_its_totals(stack: StackUnderTest) -> None:
    sums = json.loads(stack.agentstack("demo", "--traces", "30", "--seed", "11", "--rate", "0", "--json").stdout)
    assert len(set(sums["trace_ids"])) == sums["traces"] == 30
    sent = set(sums["trace_ids"])

    def stored() -> dict[str, int]:
        return {
            project: sum(1 for span in stack.spans(project) if span["context"]["trace_id"] in sent)
            for project in sums["spans_by_project"]
        }

    poll(lambda: stored() == sums["spans_by_project"], 120, "every span of the demo in Phoenix")


def test_outputs_and_config_show_no_secret(stack: StackUnderTest) -> None:
    secrets = secrets_of(stack)
    assert len(secrets) >= 6
    for words in (
        ["outputs"],
        ["outputs", "--json"],
        *(["config", service] for service in stack.outputs["containers"]),
    ):
        done = stack.agentstack(*words)
        assert [secret for secret in secrets if secret in done.stdout + done.stderr] == [], words
        assert not re.search(r"PRIVATE KEY-----\s*[A-Za-z0-9+/]{16}", done.stdout), words


def test_config_shows_what_the_collector_runs_with(stack: StackUnderTest) -> None:
    view = json.loads(stack.agentstack("config", "collector", "--json").stdout)
    texts = {file["path"]: file["text"] for file in view["files"]}
    assert any("exporters:" in text for text in texts.values())
    assert {text for path, text in texts.items() if path.endswith("/tls.key")} == {"[redacted]"}


def test_the_reader_reads_and_can_not_write_or_see_logins(stack: StackUnderTest) -> None:
    assert stack.agentstack("psql", "--", "-At", "-c", "SELECT count(*) >= 0 FROM spans").stdout.strip() == "t"
    for statement in ("DELETE FROM spans", "CREATE TABLE x (y int)", "SELECT * FROM users"):
        done = stack.agentstack("psql", "--", "-c", statement, check=False)
        assert done.returncode != 0, statement
        assert "ERROR" in done.stderr


def test_the_admin_may_write(stack: StackUnderTest) -> None:
    done = stack.agentstack("psql", "--role", "admin", "--", "-At", "-c", "SELECT current_user")
    assert done.stdout.strip() == "postgres"


def test_an_application_in_a_container_connects_with_the_printed_environment(stack: StackUnderTest) -> None:
    lines = stack.agentstack("connect", "chat", "--from", "container", "--format", "env-file").stdout.splitlines()
    variables = dict(line.split("=", 1) for line in lines)
    assert variables["OTEL_EXPORTER_OTLP_ENDPOINT"] == "https://otel-collector:4318"
    assert variables["PHOENIX_COLLECTOR_ENDPOINT"] == "https://phoenix:6006"
    assert variables["PHOENIX_API_KEY"] == stack.token("chat")


def test_an_unknown_stack_is_usage(stack: StackUnderTest) -> None:
    done = stack.agentstack("status", "--stack", "no-such-stack", check=False)
    assert done.returncode == 2
    assert "no-such-stack" in done.stderr


def test_the_printed_login_opens_grafana(stack: StackUnderTest) -> None:
    login = json.loads(stack.agentstack("outputs", "--json", "--show-secrets").stdout)["credentials"]["grafana"]
    with stack.client("grafana", auth=(login["username"], login["password"])) as client:
        assert client.get("/api/org").status_code == httpx.codes.OK
