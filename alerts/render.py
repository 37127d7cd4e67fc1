"""Rules as Prometheus' YAML, their stories as promtool's. Pure."""

from collections.abc import Sequence
from typing import Any

import yaml

from alerts.model import Alert, Firing, RecordingRule, RuleGroup, Story

Node = dict[str, Any]


def runbook_url(base: str, alert: str) -> str:
    """Where the runbook of an alert is."""
    return f"{base.rstrip('/')}/{alert}.md"


def annotations(alert: Alert, base: str) -> dict[str, str]:
    """What an alert says, as templates."""
    return {
        "summary": alert.summary,
        "description": alert.description,
        "runbook_url": runbook_url(base, alert.name),
    }


def rule_node(rule: RecordingRule | Alert, runbook_base: str) -> Node:
    """One rule as Prometheus reads it."""
    if isinstance(rule, RecordingRule):
        recording: Node = {"record": rule.record, "expr": rule.expr}
        return recording | ({"labels": dict(rule.labels)} if rule.labels else {})
    node: Node = {"alert": rule.name, "expr": rule.expr}
    if rule.hold:
        node["for"] = rule.hold
    if rule.keep_firing:
        node["keep_firing_for"] = rule.keep_firing
    return node | {
        "labels": {"severity": rule.severity, **rule.labels},
        "annotations": annotations(rule, runbook_base),
    }


def rule_file(groups: Sequence[RuleGroup], runbook_base: str) -> str:
    """A rule file."""
    nodes = [
        {
            "name": group.name,
            **({"interval": f"{group.interval_seconds}s"} if group.interval_seconds else {}),
            "rules": [rule_node(rule, runbook_base) for rule in group.rules],
        }
        for group in groups
    ]
    return yaml.safe_dump({"groups": nodes}, sort_keys=False, width=120, allow_unicode=True)


def story_files(
    alerts: Sequence[Alert], rule_files: Sequence[str], group_order: Sequence[str], runbook_base: str
) -> dict[str, str]:
    """Files for ``promtool test rules`` with every story of these alerts.

    Name part -> text: stories that last for hours are evaluated every 5 minutes, the others every minute.
    """
    stories = [
        (alert, what, story)
        for alert in alerts
        for what, story in (("fires", alert.fires), ("just below", alert.below))
        if story is not None
    ]
    found = {}
    for name, interval in (("short", "1m"), ("long", "5m")):
        tests = [
            _test(alert, what, story, runbook_base)
            for alert, what, story in stories
            if (story.interval == "1m") == (name == "short")
        ]
        if tests:
            content = {
                "rule_files": list(rule_files),
                "evaluation_interval": interval,
                "group_eval_order": list(group_order),
                "tests": tests,
            }
            found[name] = yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)
    return found


def _test(alert: Alert, what: str, story: Story, runbook_base: str) -> Node:
    silent = [{"eval_time": at, "alertname": alert.name, "exp_alerts": []} for at in story.silent]
    by_time: dict[str, list[Node]] = {}
    for firing in story.firing:
        by_time.setdefault(firing.at, []).append(_expected(alert, firing, runbook_base))
    firing_nodes = [
        {"eval_time": at, "alertname": alert.name, "exp_alerts": expected} for at, expected in by_time.items()
    ]
    return {
        "name": f"{alert.name}: {what}",
        "interval": story.interval,
        "input_series": [{"series": series, "values": values} for series, values in story.series.items()],
        "alert_rule_test": [*silent, *firing_nodes],
    }


def _expected(alert: Alert, firing: Firing, runbook_base: str) -> Node:
    return {
        "exp_labels": {"severity": alert.severity, **alert.labels, **firing.labels},
        "exp_annotations": {
            "summary": firing.summary,
            "description": firing.description,
            "runbook_url": runbook_url(runbook_base, alert.name),
        },
    }
