"""A real application's traces arrive: by both protocols, with what Phoenix would otherwise drop, from both sides."""

import os

import httpx
import pytest

from tests.e2e.stack import StackUnderTest, docker, poll
from tests.e2e.telemetry import grpc_channel, ids, llm_span, request, send_grpc, send_http

pytestmark = pytest.mark.e2e


def project_of(test: str) -> str:
    return f"{test}-{os.urandom(3).hex()}"


def test_http_and_grpc_arrive(stack: StackUnderTest) -> None:
    project, token = project_of("both"), stack.token("chat")
    by_http, by_grpc = [llm_span() for _ in range(3)], [llm_span() for _ in range(3)]
    assert send_http(stack, request(project, by_http), token).status_code == httpx.codes.OK
    with grpc_channel(stack) as channel:
        send_grpc(channel, request(project, by_grpc), token)
    wanted = ids(by_http) | ids(by_grpc)
    poll(lambda: stack.span_ids(project) == wanted, 60, "all six spans in Phoenix")


def test_model_tokens_input_and_output_are_kept(stack: StackUnderTest) -> None:
    project = project_of("content")
    sent = llm_span("Which network has no route out?")
    assert send_http(stack, request(project, [sent]), stack.token("chat")).status_code == httpx.codes.OK
    span = poll(lambda: stack.spans(project), 60, "the span in Phoenix")[0]
    kept = span["attributes"]
    assert kept["llm.model_name"] == "gpt-4o-mini"
    assert kept["input.value"] == "Which network has no route out?"
    assert kept["output.value"].startswith("Knowing what a system does")
    assert (kept["llm.token_count.prompt"], kept["llm.token_count.completion"]) == (12, 34)


def test_service_name_and_environment_survive_as_span_attributes(stack: StackUnderTest) -> None:
    project = project_of("resource")
    assert send_http(stack, request(project, [llm_span()], "shop"), stack.token("chat")).status_code == httpx.codes.OK
    kept = poll(lambda: stack.spans(project), 60, "the span in Phoenix")[0]["attributes"]
    assert kept["service.name"] == "shop"
    assert kept["deployment.environment"] == "development"


def test_a_missing_service_name_is_the_tokens_application(stack: StackUnderTest) -> None:
    project = project_of("nameless")
    assert send_http(stack, request(project, [llm_span()], None), stack.token("chat")).status_code == httpx.codes.OK
    kept = poll(lambda: stack.spans(project), 60, "the span in Phoenix")[0]["attributes"]
    assert kept["service.name"] == "chat"


def test_spans_that_name_no_project_go_to_the_default_project(stack: StackUnderTest) -> None:
    sent = [llm_span()]
    assert send_http(stack, request(None, sent), stack.token("chat")).status_code == httpx.codes.OK
    poll(lambda: ids(sent) <= stack.span_ids("agentstack-production"), 60, "the span in agentstack-production")


def test_phoenix_port_takes_traces_into_the_same_path(stack: StackUnderTest) -> None:
    project, sent = project_of("phoenix-port"), [llm_span()]
    answer = send_http(stack, request(project, sent), stack.token("chat"), endpoint=stack.endpoint("phoenix"))
    assert answer.status_code == httpx.codes.OK
    poll(lambda: stack.span_ids(project) == ids(sent), 60, "the span in Phoenix")
    refused = send_http(stack, request(project, [llm_span()]), None, endpoint=stack.endpoint("phoenix"))
    assert refused.status_code == httpx.codes.UNAUTHORIZED


def test_an_empty_export_is_accepted_as_json(stack: StackUnderTest) -> None:
    with stack.client("otlp_http") as client:
        answer = client.post(
            "/v1/traces", json={"resourceSpans": []}, headers={"authorization": f"Bearer {stack.token('default')}"}
        )
    assert answer.status_code == httpx.codes.OK


def test_the_spans_stand_in_postgresql(stack: StackUnderTest) -> None:
    project = project_of("sql")
    sent = [llm_span()]
    assert send_http(stack, request(project, sent), stack.token("chat")).status_code == httpx.codes.OK
    poll(lambda: stack.span_ids(project) == ids(sent), 60, "the span in Phoenix")
    query = f"SELECT count(*) FROM spans WHERE span_id = '{next(iter(ids(sent)))}'"  # noqa: S608 - our own id
    rows = stack.sql(query)
    assert rows.strip() == "1"


def test_retention_is_in_force_from_the_first_start(stack: StackUnderTest) -> None:
    query = "{projectTraceRetentionPolicies{edges{node{rule{... on TraceRetentionRuleMaxDays{maxDays}}}}}}"
    answer = stack.phoenix.post("/graphql", json={"query": query})
    edges = answer.json()["data"]["projectTraceRetentionPolicies"]["edges"]
    assert [edge["node"]["rule"]["maxDays"] for edge in edges] == [90]


def test_smoke_reads_its_own_traces_back(stack: StackUnderTest) -> None:
    stack.agentstack("smoke")


def test_phoenix_metrics_port_is_closed(stack: StackUnderTest) -> None:
    look = "import socket; s=socket.socket(); s.settimeout(3); print(s.connect_ex(('127.0.0.1', 9090)))"
    told = docker("exec", stack.container("phoenix"), "/usr/bin/python3", "-c", look)
    assert told.strip() != "0"
