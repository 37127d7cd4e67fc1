"""The dashboards as Grafana's own linter would look at them, and as the guide describes them.

Whether Prometheus parses the queries is decided in tests/rules, whether they return data in tests/e2e.
"""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

import dashboards
from components.settings import load_settings
from dashboards import __main__ as command
from dashboards import cost, overview, performance
from dashboards.kit import Board, Look, Query, graph, number, queries_of, substituted

pytestmark = pytest.mark.unit

SETTINGS = load_settings({})
FILES = dashboards.dashboard_files(SETTINGS)
BOARDS: dict[str, dict[str, Any]] = {path: json.loads(text) for path, text in FILES.items()}
PANELS = [(board["title"], panel) for board in BOARDS.values() for panel in board["panels"] if panel["type"] != "row"]
NAMED = [pytest.param(title, panel, id=f"{title}: {panel['title']}") for title, panel in PANELS]
UNITS = {
    "Bps", "bytes", "cps", "currencyUSD", "d", "ms", "none", "ops", "percentunit", "reqps", "s", "short",
}  # fmt: skip
"""Ids of Grafana's units that are used; a misspelt one would be shown as text behind the figure."""
GUIDE = {
    "Phoenix LLM Observability Overview": {
        "Request rates by model": ["Request rate by model"],
        "Response time percentiles": ["Response time percentiles"],
        "Cost and token usage": ["Cost", "Tokens", "Cost per hour by model", "Tokens by type"],
        "Error rates and distribution": ["Error rate by service", "Errors by kind of span", "Errors by provider"],
    },
    "Phoenix Performance Dashboard": {
        "System resource utilization": ["Memory of the containers", "Processors of the containers", "Host: memory"],
        "Database performance": ["Active connections", "Transaction rate", "Query performance"],
        "Trace processing rates": ["Spans through the pipeline", "Spans by project"],
        "Queue depth and latency": ["Fill of the Collector's queue", "Time until spans are stored"],
    },
    "Phoenix Cost & Usage Dashboard": {
        "LLM cost breakdown by model": ["LLM cost by model", "LLM cost by model in the time shown"],
        "Token consumption trends": ["Token consumption by type", "Token consumption by model"],
        "Cost per request analysis": ["Cost per request by model", "Cost per request in the time shown"],
        "Budget tracking and alerts": ["Spent today and forecast", "Budgets of projects", "Budget alerts"],
    },
}
KEY_METRICS = {
    "phoenix_trace_spans_total",
    "phoenix_trace_duration_seconds",
    "phoenix_trace_llm_token_usage_total",
    "phoenix_trace_llm_estimated_cost_usd_total",
    "pg_stat_activity_count",
    "pg_stat_database_xact_commit",
    "pg_stat_statements_mean_time_ms",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "node_filesystem_avail_bytes",
}
"""What the guide calls the key metrics."""


def test_the_guides_dashboards_have_all_their_parts() -> None:
    titles = {board["title"]: {panel["title"] for panel in board["panels"]} for board in BOARDS.values()}
    assert set(titles) == set(GUIDE)
    for title, bullets in GUIDE.items():
        for bullet, panels in bullets.items():
            assert set(panels) <= titles[title], f"{title}: {bullet}"


def test_every_key_metric_of_the_guide_is_shown() -> None:
    shown = " ".join(query.expr for query in dashboards.all_queries(SETTINGS))
    assert [name for name in sorted(KEY_METRICS) if name not in shown] == []


@pytest.mark.parametrize("path", BOARDS)
def test_a_dashboard_can_be_provisioned_and_not_edited(path: str) -> None:
    board = BOARDS[path]
    assert board["editable"] is False
    assert isinstance(board["schemaVersion"], int)
    assert "spec" not in board, "files must be in the classic schema"
    assert re.fullmatch(r"[a-z0-9-]{1,40}", board["uid"])
    assert "agentstack" in board["tags"]
    assert board["description"]
    assert path.count("/") == 1, "one folder per directory"


def test_uids_are_unique() -> None:
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS)


@pytest.mark.parametrize("path", BOARDS)
def test_panels_lie_beside_each_other(path: str) -> None:
    panels = BOARDS[path]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    boxes = [(panel["title"], panel["gridPos"]) for panel in panels]
    for title, box in boxes:
        assert box["x"] + box["w"] <= 24, title
    for (left, a), (right, b) in combinations(boxes, 2):
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart, f"{left} lies over {right}"


@pytest.mark.parametrize("path", BOARDS)
def test_variables_are_the_linters(path: str) -> None:
    """template-datasource-rule, template-on-time-change-reload-rule, and the shape of template-job-rule."""
    variables = {variable["name"]: variable for variable in BOARDS[path]["templating"]["list"]}
    source = variables.pop("datasource")
    assert (source["type"], source["query"], source["label"]) == ("datasource", "prometheus", "Data source")
    assert {"project", "service"} <= set(variables)
    for name, variable in variables.items():
        assert variable["type"] == "query"
        assert variable["datasource"]["uid"] == "${datasource}"
        assert variable["refresh"] == 2, "reloaded when the time range changes"
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".*")
        assert variable["query"] == f"label_values(phoenix_trace_spans_total, {name})"


@pytest.mark.parametrize(("title", "panel"), NAMED)
def test_a_panel_says_what_it_shows(title: str, panel: dict[str, Any]) -> None:
    """panel-title-description-rule, panel-datasource-rule, panel-units-rule, panel-no-targets-rule."""
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["datasource"]["uid"] == "${datasource}"
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["targets"]
    references = [target["refId"] for target in panel["targets"]]
    assert len(set(references)) == len(references)


@pytest.mark.parametrize(("title", "panel"), NAMED)
def test_rates_follow_the_time_range(title: str, panel: dict[str, Any]) -> None:
    """target-rate-interval-rule; an increase is over the range that is shown."""
    for target in panel["targets"]:
        for function, window in re.findall(r"\b(rate|irate|increase)\([^\[\]]*\[([^\]]+)\]", target["expr"]):
            assert window == ("$__range" if function == "increase" else "$__rate_interval"), target["expr"]
        if "$__range" in target["expr"]:
            assert target["instant"] is True, "one value for the whole range"


@pytest.mark.parametrize(("title", "panel"), NAMED)
def test_counters_are_never_shown_bare(title: str, panel: dict[str, Any]) -> None:
    """target-counter-agg-rule."""
    for target in panel["targets"]:
        for match in re.finditer(r"[a-z_:0-9]+_(?:total|bucket)\b", target["expr"]):
            before = target["expr"][: match.start()]
            assert re.search(r"\b(rate|increase)\($", before), f"{match.group()} in {target['expr']}"


@pytest.mark.parametrize(("title", "panel"), NAMED)
def test_what_is_about_spans_obeys_the_variables(title: str, panel: dict[str, Any]) -> None:
    """In the place of target-job-rule: a figure that ignores what is chosen would be taken for the chosen one's."""
    for target in panel["targets"]:
        for selector in re.findall(r"phoenix_traces?_[a-z_]+(\{[^}]*\})?", target["expr"]):
            assert 'project=~"$project"' in selector, target["expr"]
            assert 'service=~"$service"' in selector, target["expr"]


@pytest.mark.parametrize("path", BOARDS)
def test_links_and_annotations(path: str) -> None:
    board = BOARDS[path]
    urls = [link.get("url") for link in board["links"]]
    assert "https://localhost:6006/projects" in urls
    assert [one["name"] for one in board["annotations"]["list"]] == ["Alerts", "Starts and deployments"]


def test_panels_by_project_lead_to_its_traces() -> None:
    linked = [
        panel["title"]
        for _, panel in PANELS
        if any("/redirects/projects/" in link["url"] for link in panel["fieldConfig"]["defaults"].get("links") or [])
    ]
    assert {"Request rate by project", "Cost by project", "Spent today by project"} <= set(linked)


def test_runbooks_are_linked_where_they_are_served() -> None:
    served = load_settings({"alerting": {"runbooks": "https://docs.example.org/runbooks"}})
    board = json.loads(dashboards.dashboard_files(served)["LLM/overview.json"])
    assert "https://docs.example.org/runbooks" in [link.get("url") for link in board["links"]]


def test_thresholds_are_those_of_the_alerts() -> None:
    changed = load_settings(
        {"alerting": {"thresholds": {"errorRatio": 0.03, "memoryRatio": 0.5}, "budget": {"perHourUsd": 7}}}
    )
    boards = {path: json.loads(text) for path, text in dashboards.dashboard_files(changed).items()}

    def red(path: str, title: str) -> list[float]:
        panel = next(panel for panel in boards[path]["panels"] if panel["title"] == title)
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        return [step["value"] for step in steps if step["color"] == "red"]

    assert red("LLM/overview.json", "Errors") == [0.03]
    assert red("LLM/overview.json", "Error rate by service") == [0.03]
    assert red("Stack/performance.json", "Memory of the containers") == [0.5]
    assert red("LLM/cost.json", "Last hour") == [7]


def test_the_list_of_rightly_empty_panels_names_panels() -> None:
    known = {(title, panel["title"]) for title, panel in PANELS}
    assert set(dashboards.RIGHTLY_EMPTY) <= known
    assert len(dashboards.RIGHTLY_EMPTY) <= 8, "a short list"


def test_a_row_that_does_not_fill_the_grid_is_refused() -> None:
    panel = graph("x", "y.", [Query("up")], Look("short"))
    board = Board("t", "u", "d", ("x",), "https://localhost", "docs")
    with pytest.raises(ValueError, match="20 wide, not 24"):
        board.row("half", (12, panel), (8, panel))
    with pytest.raises(ValueError, match="past the grid"):
        board.row("wide", (16, panel), (12, panel))


def test_queries_can_be_run_without_grafana() -> None:
    expr = 'sum(rate(phoenix_trace_spans_total{project=~"$project"}[$__rate_interval])) + x{a="${model}"}[$__range]'
    assert substituted(expr) == 'sum(rate(phoenix_trace_spans_total{project=~".*"}[5m])) + x{a=".*"}[1h]'
    board = Board("t", "u", "d", ("x",), "https://localhost", "docs").row(
        "r", (24, number("n", "d.", Query("up"), Look("short")))
    )
    assert [(query.dashboard, query.panel, query.runnable) for query in queries_of(board.render())] == [
        ("t", "n", "up")
    ]


def test_the_command_writes_every_dashboard(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(tmp_path), "--stack", "prod"]) == 0
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json")}
    assert written == set(dashboards.BOARDS)
    assert {json.loads((tmp_path / path).read_text())["title"] for path in written} == {
        overview.TITLE,
        cost.TITLE,
        performance.TITLE,
    }
    assert len(capsys.readouterr().out.splitlines()) == len(written)


def test_the_command_says_which_stack_file_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--stack", "no-such-stack"]) == 2
    assert "Pulumi.no-such-stack.yaml" in capsys.readouterr().err


def test_own_dashboards_stand_in_a_folder_of_their_own(tmp_path: Path) -> None:
    own = tmp_path / "mine.json"
    own.write_text('{"title": "Mine", "uid": "mine", "panels": []}')
    settings = load_settings({"alerting": {"dashboardFiles": [str(own)]}})
    assert json.loads(dashboards.dashboard_files(settings)["Own/mine.json"])["title"] == "Mine"
