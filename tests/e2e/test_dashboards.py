"""Grafana on the living stack: every query of every panel returns data, and who may do what."""

import json
from typing import Any

import httpx
import pytest

import dashboards
from components.settings import load_settings
from tests.e2e.stack import StackUnderTest, poll

pytestmark = pytest.mark.e2e

PROXY = "/api/datasources/proxy/uid/prometheus/api/v1/query"
QUERIES = dashboards.all_queries(load_settings({}))


@pytest.fixture(scope="module")
def demo_traffic(stack: StackUnderTest) -> dict[str, Any]:
    """Some traffic of every kind, in every project of the demo."""
    totals: dict[str, Any] = json.loads(stack.agentstack("demo", "--traces", "120", "--rate", "4", "--json").stdout)
    assert totals["errors"] > 0
    return totals


def as_user(stack: StackUnderTest, login: str) -> httpx.Client:
    """Grafana's API as one of the users of the settings."""
    return stack.client("grafana", auth=(login, stack.outputs["credentials"]["grafana_users"][login]))


def test_every_query_of_every_panel_returns_data(stack: StackUnderTest, demo_traffic: dict[str, Any]) -> None:
    """Through Grafana's own data source: verified TLS and its login are part of the way."""

    def without_data() -> list[str]:
        found = []
        for query in QUERIES:
            answer = stack.grafana.get(PROXY, params={"query": query.runnable})
            assert answer.status_code == 200, f"{query.panel}: {answer.text[:300]}"
            empty = not answer.json()["data"]["result"]
            if empty and (query.dashboard, query.panel) not in dashboards.RIGHTLY_EMPTY:
                found.append(f"{query.dashboard}: {query.panel}: {query.expr}")
        return found

    last: list[str] = []

    def all_have_data() -> bool:
        last[:] = without_data()
        return not last

    try:
        poll(all_have_data, 150, "every query returns data", every=5)
    except AssertionError as error:
        raise AssertionError("\n".join(["no data for:", *last])) from error


def test_grafana_has_the_guides_dashboards_in_folders(stack: StackUnderTest) -> None:
    found = stack.grafana.get("/api/search", params={"type": "dash-db"}).json()
    assert {(one["folderTitle"], one["title"]) for one in found} >= {
        ("LLM", "Phoenix LLM Observability Overview"),
        ("LLM", "Phoenix Cost & Usage Dashboard"),
        ("Stack", "Phoenix Performance Dashboard"),
    }


def test_the_data_source_answers(stack: StackUnderTest) -> None:
    answer = stack.grafana.get("/api/datasources/uid/prometheus/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "OK")


def test_nobody_comes_in_without_a_login(stack: StackUnderTest) -> None:
    with stack.client("grafana") as stranger:
        assert stranger.get("/api/search").status_code == 401
    with stack.client("grafana", auth=("admin", "admin")) as guesser:
        assert guesser.get("/api/search").status_code == 401


def test_a_viewer_sees_and_changes_nothing(stack: StackUnderTest) -> None:
    new = {"dashboard": {"title": "Mine", "uid": "viewers-own", "schemaVersion": 41, "panels": []}}
    with as_user(stack, "viewer") as viewer:
        assert viewer.get("/api/user/orgs").json()[0]["role"] == "Viewer"
        assert viewer.get("/api/dashboards/uid/agentstack-overview").status_code == 200
        assert viewer.get(PROXY, params={"query": "up"}).status_code == 200
        assert viewer.post("/api/dashboards/db", json=new).status_code == 403
        assert viewer.get("/api/datasources").status_code == 403
        assert viewer.get("/api/org/users").status_code == 403


def test_not_even_the_administrator_saves_over_a_provisioned_dashboard(stack: StackUnderTest) -> None:
    shown = stack.grafana.get("/api/dashboards/uid/agentstack-overview").json()
    assert shown["meta"]["provisioned"] is True
    answer = stack.grafana.post("/api/dashboards/db", json={"dashboard": shown["dashboard"], "overwrite": True})
    assert answer.status_code == 400
    assert "provisioned" in answer.text


def test_an_editor_is_no_administrator(stack: StackUnderTest) -> None:
    with as_user(stack, "editor") as editor:
        assert editor.get("/api/user/orgs").json()[0]["role"] == "Editor"
        assert editor.get("/api/org/users").status_code == 403


def test_users_follow_the_settings(stack: StackUnderTest) -> None:
    """One more in the settings is one more in Grafana; gone from there, gone from here; the others stay."""
    stack.write_settings({"grafana": {"users": {"viewer": {"role": "Viewer"}, "auditor": {"role": "Viewer"}}}})
    try:
        stack.up()
        logins = {user["login"] for user in stack.grafana.get("/api/org/users").json()}
        assert {"admin", "viewer", "auditor"} == logins
        with as_user(stack, "auditor") as auditor:
            assert auditor.get("/api/user").status_code == 200
    finally:
        stack.settings.pop("grafana", None)
        stack.write_settings()
        stack.up()
    logins = {user["login"] for user in stack.grafana.get("/api/org/users").json()}
    assert {"admin", "editor", "viewer"} == logins
