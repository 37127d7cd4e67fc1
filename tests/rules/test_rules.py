"""Every rule, told to Prometheus' own promtool: it parses; each alert fires in time, not just below, and is over again.

The stories stand beside the alerts (alerts/*.py) and follow the settings: they are told for the defaults and once more
for other thresholds. Needs promtool (see promtool.py here); no Docker otherwise, no network.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import alerts
import dashboards
from alerts.model import Alert, RuleGroup, selector
from alerts.render import rule_file, story_files
from components.contributions import ScrapeTarget
from components.names import Service
from components.prometheus import render
from components.settings import load_settings
from tests.rules import promtool

pytestmark = pytest.mark.rules

OTHER_SETTINGS: Mapping[str, Any] = {
    "alerting": {
        "thresholds": {
            "errorRatio": 0.04,
            "latencyP95Seconds": 30,
            "memoryRatio": 0.7,
            "cpuThrottledRatio": 0.5,
            "hostMemoryRatio": 0.8,
            "diskFreeRatio": 0.2,
            "diskFullHours": 12,
            "certificateDays": 40,
            "collectorQueueRatio": 0.3,
            "phoenixQueueRatio": 0.8,
            "connectionsRatio": 0.6,
            "transactionMinutes": 10,
            "deadTupleRatio": 0.4,
            "wraparoundRatio": 0.25,
            "statementMilliseconds": 100,
            "refusedTokensPerMinute": 60,
            "failedLoginsPerMinute": 20,
            "silentMinutes": 30,
        },
        "budget": {"perHourUsd": 2.5, "perDayUsd": 36},
        "projectBudgets": {"research": {"perHourUsd": 1, "perDayUsd": 12}},
        "objectives": {"ingest": 0.995, "services": {"shop-chat": 0.99}},
        "alwaysSending": ["shop-chat"],
        "runbooks": "https://docs.example.org/runbooks/",
    },
    "phoenix": {"spanQueue": 5000},
}
SETTINGS = {"the defaults": load_settings({}), "other thresholds": load_settings(OTHER_SETTINGS)}
AREAS = [area for area in alerts.AREAS if area != "recording"]
TARGETS = (
    ScrapeTarget(job="phoenix", service=Service.PHOENIX, port=6006, auth="bearer", replicas=2),
    ScrapeTarget(job="blackbox-tls", service=Service.BLACKBOX_EXPORTER, port=9115, static_targets=("a:1", "b:2")),
)


def write(folder: Path, files: Mapping[str, list[RuleGroup]], runbooks: str) -> None:
    """Rule files, one per area."""
    for area, groups in files.items():
        (folder / f"{area}.yml").write_text(rule_file(groups, runbooks))


def tell(folder: Path, told: list[Alert], files: Mapping[str, list[RuleGroup]], runbooks: str) -> dict[str, str]:
    """Tell the stories of these alerts; name of the file -> what promtool says of it, only of those that fail."""
    write(folder, files, runbooks)
    order = [group.name for groups in files.values() for group in groups]
    failed = {}
    for name, text in story_files(told, [f"{area}.yml" for area in files], order, runbooks).items():
        path = folder / f"{name}_test.yml"
        path.write_text(text)
        done = promtool.run("test", "rules", path.name, folder=folder)
        if done.returncode:
            failed[name] = done.stdout + done.stderr
    return failed


@pytest.mark.parametrize("which", SETTINGS)
@pytest.mark.parametrize("area", AREAS)
def test_every_alert_fires_in_time_not_just_below_and_resolves(area: str, which: str, tmp_path: Path) -> None:
    settings = SETTINGS[which]
    groups = alerts.area_groups(settings)
    told = [alert for group in groups[area] for alert in group.alerts]
    failed = tell(tmp_path, told, {"recording": groups["recording"], area: groups[area]}, settings.alerting.runbooks)
    assert not failed, "\n".join(failed.values())


def test_a_story_notices_an_alert_that_never_fires(tmp_path: Path) -> None:
    """The check of the check: with every expression made empty, each alert's first story must fail, by name."""
    settings = SETTINGS["the defaults"]
    groups = alerts.area_groups(settings)
    silent = [
        RuleGroup(
            group.name, tuple(replace(r, expr="vector(0) > 1") if isinstance(r, Alert) else r for r in group.rules)
        )
        for group in groups["services"]
    ]
    told = [alert for group in silent for alert in group.alerts]
    failed = "".join(tell(tmp_path, told, {"services": silent}, settings.alerting.runbooks).values())
    assert [alert.name for alert in told if f"{alert.name}: fires" not in failed] == []


def test_a_story_notices_an_alert_that_fires_too_early(tmp_path: Path) -> None:
    """The same for what always fires: the stories just below must fail."""
    settings = SETTINGS["the defaults"]
    groups = alerts.area_groups(settings)
    loud = [
        RuleGroup(
            group.name,
            tuple(replace(r, expr="vector(1)", hold="") if isinstance(r, Alert) else r for r in group.rules),
        )
        for group in groups["services"]
    ]
    told = [alert for group in loud for alert in group.alerts]
    failed = "".join(tell(tmp_path, told, {"services": loud}, settings.alerting.runbooks).values())
    assert [alert.name for alert in told if f"{alert.name}: just below" not in failed] == []


@pytest.mark.parametrize("which", SETTINGS)
def test_prometheus_accepts_every_rule_file(which: str, tmp_path: Path) -> None:
    files = alerts.rule_files(SETTINGS[which], TARGETS)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = promtool.run("check", "rules", "--lint=all", "--lint-fatal", *files, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_its_configuration(tmp_path: Path) -> None:
    text = render.render_config(
        stack="dev",
        targets=TARGETS,
        username="prometheus",
        rule_files=["llm.yml"],
        retention=render.Retention(days=35, mib=10_240),
    )
    (tmp_path / "prometheus.yml").write_text(text)
    done = promtool.run("check", "config", "--syntax-only", "prometheus.yml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_parses_every_query_of_every_panel(tmp_path: Path) -> None:
    queries = dashboards.all_queries(SETTINGS["the defaults"])
    rules = [
        {"record": f"panel_{number}", "expr": query.runnable, "labels": {"panel": query.panel}}
        for number, query in enumerate(queries)
    ]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = promtool.run("check", "rules", "panels.yml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(queries)} rules found" in done.stdout


def test_a_short_history_expects_every_target(tmp_path: Path) -> None:
    """What is scraped is expected in the declared number: replicas and probed addresses count."""
    settings = SETTINGS["the defaults"]
    groups = alerts.area_groups(settings, TARGETS)
    write(tmp_path, {"recording": groups["recording"]}, settings.alerting.runbooks)
    expected = [
        {"component": "phoenix", "job": "phoenix"},
        {"component": "blackbox-exporter", "job": "blackbox-tls"},
    ]
    (tmp_path / "expected_test.yml").write_text(
        yaml.safe_dump(
            {
                "rule_files": ["recording.yml"],
                "evaluation_interval": "1m",
                "tests": [
                    {
                        "interval": "1m",
                        "input_series": [],
                        "promql_expr_test": [
                            {
                                "expr": "agentstack_expected_targets",
                                "eval_time": "1m",
                                "exp_samples": [
                                    {"labels": selector("agentstack_expected_targets", **labels), "value": 2}
                                    for labels in expected
                                ],
                            }
                        ],
                    }
                ],
            }
        )
    )
    done = promtool.run("test", "rules", "expected_test.yml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
