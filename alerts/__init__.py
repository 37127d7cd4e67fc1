"""Recording and alerting rules as code, with their promtool cases: one module per area.

An area's module has ``groups(settings)``; a new area is one more line in AREAS. Thresholds come from the settings
(``alerting.thresholds``), and every alert has a runbook of its name in docs/runbooks/.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from alerts import (
    backup,
    collector,
    cost,
    database,
    edge,
    hosts,
    llm,
    meta,
    phoenix,
    recording,
    security,
    services,
    slo,
)
from alerts.model import Alert, RuleGroup
from alerts.render import rule_file
from components.alertmanager.render import Inhibition
from components.contributions import ScrapeTarget
from components.settings import Settings

AREAS: Final[Mapping[str, Callable[[Settings], list[RuleGroup]]]] = {
    "recording": recording.groups,
    "slo": slo.groups,
    "llm": llm.groups,
    "cost": cost.groups,
    "services": services.groups,
    "collector": collector.groups,
    "phoenix": phoenix.groups,
    "database": database.groups,
    "backup": backup.groups,
    "edge": edge.groups,
    "security": security.groups,
    "hosts": hosts.groups,
    "meta": meta.groups,
}
"""Area (its rule file's name) -> its groups. Recording rules come first: others are made from them."""


def area_groups(settings: Settings, targets: Sequence[ScrapeTarget] = ()) -> dict[str, list[RuleGroup]]:
    """Area -> groups, without the alerts that the settings leave out.

    Args:
        targets: what is scraped; each becomes an expected target.

    Raises:
        ValueError: when the settings leave out an alert that does not exist.
    """
    found = {area: groups(settings) for area, groups in AREAS.items()}
    found["recording"] += recording.expected_targets(targets)
    known = {alert.name for groups in found.values() for group in groups for alert in group.alerts}
    unknown = sorted(set(settings.alerting.disabled) - known)
    if unknown:
        raise ValueError(f"alerting.disabled names unknown alerts: {', '.join(unknown)}; docs/runbooks/ has the names")
    return {area: _without(groups, settings.alerting.disabled) for area, groups in found.items()}


def _without(groups: Iterable[RuleGroup], names: Sequence[str]) -> list[RuleGroup]:
    kept = []
    for group in groups:
        rules = tuple(rule for rule in group.rules if not (isinstance(rule, Alert) and rule.name in names))
        if rules:
            kept.append(RuleGroup(group.name, rules, group.interval_seconds))
    return kept


def groups(settings: Settings, targets: Sequence[ScrapeTarget] = ()) -> list[RuleGroup]:
    """Every group of every area."""
    return [group for area in area_groups(settings, targets).values() for group in area]


def all_alerts(settings: Settings) -> list[Alert]:
    """Every alert."""
    return [alert for group in groups(settings) for alert in group.alerts]


def rule_files(settings: Settings, targets: Sequence[ScrapeTarget] = ()) -> dict[str, str]:
    """File name -> Prometheus rule file: one per area, and the settings' own."""
    base = settings.alerting.runbooks
    ours = {f"{area}.yml": rule_file(found, base) for area, found in area_groups(settings, targets).items() if found}
    return ours | {f"own-{name}": text for name, text in settings.alerting.own_rules().items()}


def inhibitions(settings: Settings) -> list[Inhibition]:
    """Which alerts hold back which, for Alertmanager."""
    found = []
    for alert in all_alerts(settings):
        for silencer in alert.silenced_by:
            source = [f'alertname="{silencer.alert}"', *(f'{key}="{value}"' for key, value in silencer.when.items())]
            found.append(Inhibition(tuple(source), (f'alertname="{alert.name}"',), silencer.equal))
    return found
