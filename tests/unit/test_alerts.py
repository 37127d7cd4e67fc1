"""Every alert says what it must: severity, words with the figure, a runbook, stories; and who holds back whom.

Whether the stories are true is decided by tests/rules, with promtool.
"""

import re
from pathlib import Path

import pytest
import yaml

import alerts
from alerts.model import Alert, RecordingRule, Silencer, Story
from alerts.render import rule_file
from components.collector import names as collector
from components.names import Service
from components.settings import load_settings

pytestmark = pytest.mark.unit
ROOT = Path(__file__).resolve().parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"
SETTINGS = load_settings({})
ALERTS = alerts.all_alerts(SETTINGS)
BY_NAME = {alert.name: alert for alert in ALERTS}
NOTHING_BELOW = {"Watchdog"}
"""Alerts that always fire: no series lies just below."""
YES_OR_NO = {
    # Something is there or not: their figure would be 0 or 1.
    "BackupNone",
    "BackupRepositoryDamaged",
    "BackupRepositoryUnreachable",
    "BackupSilent",
    "ContainerMetricsMissing",
    "DatabaseRoleChanged",
    "EdgeBackendDown",
    "EscrowStale",
    "HostDiskReadOnly",
    "LlmTrafficStopped",
    "PostgresDown",
    "RestoreVerificationFailed",
    "ServiceDown",
    "ServiceUnreachable",
    "TextFileMetricsBroken",
    "WalArchiveStuck",
    "Watchdog",
}
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]


def seconds(text: str) -> int:
    """`1h30m` as promtool reads it."""
    units = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
    parts = re.findall(r"(\d+)([dhms])", text)
    assert "".join(number + unit for number, unit in parts) == text, f"{text!r} is no duration"
    return sum(int(number) * units[unit] for number, unit in parts)


def faults(alert: Alert) -> list[str]:
    """What an alert lacks; empty for one that is complete."""
    found = []
    if alert.severity not in {"critical", "warning", "info"} and alert.name != "Watchdog":
        found.append("severity")
    if not re.fullmatch(r"[A-Z][A-Za-z]+", alert.name):
        found.append("name")
    if not alert.summary or "\n" in alert.summary or len(alert.summary) > 120:
        found.append("summary")
    if len(alert.description) < 30 or ("$value" not in alert.description and alert.name not in YES_OR_NO):
        found.append("description without the figure")
    if not (RUNBOOKS / f"{alert.name}.md").is_file():
        found.append("runbook")
    return found + story_faults(alert)


def story_faults(alert: Alert) -> list[str]:
    """Whether the stories tell when it is silent, fires, is over, and what lies just below."""
    if alert.fires is None or not alert.fires.firing:
        return ["no story in which it fires"]
    found = []
    firing = [seconds(one.at) for one in alert.fires.firing]
    silent = [seconds(at) for at in alert.fires.silent]
    if alert.name not in NOTHING_BELOW:
        if not any(at < min(firing) for at in silent):
            found.append("no moment before it fires")
        if not any(at > max(firing) for at in silent):
            found.append("no moment after it is over")
        if alert.below is None or alert.below.firing or not alert.below.silent:
            found.append("no story just below")
    return found


@pytest.mark.parametrize("name", BY_NAME)
def test_an_alert_is_complete(name: str) -> None:
    assert faults(BY_NAME[name]) == []


def test_an_incomplete_alert_is_refused() -> None:
    bare = Alert(name="Bare", expr="up == 0", severity="none", summary="", description="broken")
    assert faults(bare) == [
        "severity",
        "summary",
        "description without the figure",
        "runbook",
        "no story in which it fires",
    ]
    only_fires = Alert(
        name="ServiceDown",
        expr="up == 0",
        severity="critical",
        summary="down",
        description="a description that is long enough",
        fires=Story(
            series={"up": "0"}, firing=BY_NAME["ServiceDown"].fires.firing if BY_NAME["ServiceDown"].fires else ()
        ),
    )
    assert faults(only_fires) == ["no moment before it fires", "no moment after it is over", "no story just below"]


def test_there_are_enough_and_each_has_its_own_name() -> None:
    assert len(ALERTS) == len(BY_NAME) >= 40


def test_runbooks_and_alerts_are_the_same_set() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(BY_NAME)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_runbook_has_its_sections_and_its_links_lead_somewhere(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n")
    headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert headings == SECTIONS
    for part in re.split(r"^## .+$", text, flags=re.MULTILINE)[1:]:
        assert part.strip()
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if not target.startswith("http"):
            assert (RUNBOOKS / target).resolve().is_file(), f"{name}: {target}"


def test_runbooks_name_services_and_settings_that_exist() -> None:
    """A command for a container of another name, or a setting that was renamed, would not help at night."""
    services = {service.value for service in Service}
    schema = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for path in RUNBOOKS.glob("*.md"):
        text = path.read_text(encoding="utf-8")
        for container in re.findall(r"agentstack-dev-([a-z-]+)", text):
            assert container.rstrip("-") in services | {""}, f"{path.name}: {container}"
        for service in re.findall(r"agentstack logs ([a-z-]+)", text):
            assert service in services, f"{path.name}: {service}"
        for setting in re.findall(r"`(alerting\.[A-Za-z.]+|telemetry\.[A-Za-z.]+|prometheus\.[a-z][A-Za-z]+)`", text):
            name = setting.removesuffix(".PROJECT").split(".")[-1]
            assert f"{name}" in schema, f"{path.name}: {setting}"


def test_the_guides_thresholds_are_the_defaults() -> None:
    wanted = {
        "LlmErrorRateHigh": ("> 0.1 ", "2m"),
        "LlmLatencyHigh": ("> 10 ", "2m"),
        "ContainerMemoryHigh": ("> 0.85", "2m"),
        "LlmCostPerHourHigh": ("> 100", ""),
        "LlmCostPerDayHigh": ("> 1000", ""),
        "ServiceDown": ("== 0", "1m"),
    }
    for name, (threshold, hold) in wanted.items():
        assert threshold in BY_NAME[name].expr + " ", name
        assert BY_NAME[name].hold == hold, name
        assert BY_NAME[name].severity == "critical", name


def test_thresholds_and_budgets_come_from_the_settings() -> None:
    changed = load_settings(
        {
            "alerting": {
                "thresholds": {"errorRatio": 0.03, "memoryRatio": 0.5},
                "budget": {"perHourUsd": 7, "perDayUsd": None},
                "projectBudgets": {"research": {"perDayUsd": 12.5}},
            }
        }
    )
    found = {alert.name: alert for alert in alerts.all_alerts(changed)}
    assert "> 0.03 " in found["LlmErrorRateHigh"].expr
    assert "> 0.5" in found["ContainerMemoryHigh"].expr
    assert "> 7" in found["LlmCostPerHourHigh"].expr
    assert not {"LlmCostPerDayHigh", "LlmCostForecastHigh"} & set(found), "a budget that is not set has no alert"
    budgets = [
        (dict(rule.labels), rule.expr)
        for group in alerts.groups(changed)
        for rule in group.rules
        if isinstance(rule, RecordingRule) and rule.record == "agentstack_budget_usd"
    ]
    assert budgets == [
        ({"scope": "stack", "period": "hour"}, "vector(7)"),
        ({"scope": "project", "period": "day", "project": "research"}, "vector(12.5)"),
    ]


def test_an_alert_can_be_left_out_but_not_an_unknown_one() -> None:
    assert "HostClockOff" not in {
        alert.name for alert in alerts.all_alerts(load_settings({"alerting": {"disabled": ["HostClockOff"]}}))
    }
    with pytest.raises(ValueError, match="unknown alerts: Nonsense"):
        alerts.all_alerts(load_settings({"alerting": {"disabled": ["Nonsense"]}}))


def test_who_holds_back_whom_exists() -> None:
    for alert in ALERTS:
        for silencer in alert.silenced_by:
            assert isinstance(silencer, Silencer)
            assert silencer.alert in BY_NAME, f"{alert.name} is silenced by {silencer.alert}"
            assert silencer.alert != alert.name


def test_names_of_span_metrics_are_the_collectors() -> None:
    """A name of a metric from spans that the Collector does not make would be silent for ever."""
    made = {collector.SPANS, collector.TRACES, collector.DURATION, collector.TOKENS, collector.COST}
    made |= {f"{collector.DURATION}_{part}" for part in ("bucket", "sum", "count")}
    text = "\n".join(rule_file(groups, "x") for groups in alerts.area_groups(SETTINGS).values())
    used = set(re.findall(r"\b(phoenix_traces?_[a-z_]+)", text))
    assert used <= made
    assert {collector.SPANS, collector.COST, f"{collector.DURATION}_bucket"} <= used


def test_rule_files_are_yaml_with_runbooks(tmp_path: Path) -> None:
    own = tmp_path / "mine.yml"
    own.write_text("groups: [{name: mine, rules: [{record: 'a:b', expr: 'up'}]}]\n")
    settings = load_settings({"alerting": {"runbooks": "https://docs.example.org/", "ruleFiles": [str(own)]}})
    files = alerts.rule_files(settings)
    assert set(files) == {*(f"{area}.yml" for area in alerts.AREAS), "own-mine.yml"}
    down = next(
        rule
        for group in yaml.safe_load(files["services.yml"])["groups"]
        for rule in group["rules"]
        if rule.get("alert") == "ServiceDown"
    )
    assert down["annotations"]["runbook_url"] == "https://docs.example.org/ServiceDown.md"
    assert down["labels"] == {"severity": "critical"}
