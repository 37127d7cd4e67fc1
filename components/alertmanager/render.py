"""Alertmanager's configuration as text: routes by severity, inhibition, maintenance, receivers. Pure.

A severity is a receiver: everyone who wants it is in there, so that a route needs no ``continue``. Without anyone the
receiver is empty and the alert is seen in the user interfaces only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

import yaml

from components.names import CONFIG_DIR, TLS_CA, Port, Service
from components.settings.alerting import (
    AlertingSettings,
    EmailReceiver,
    MaintenanceWindow,
    PagerDutyReceiver,
    Receiver,
    Severity,
    SlackReceiver,
    WebhookReceiver,
)

SEVERITIES: Final[tuple[str, ...]] = get_args(Severity)
NOBODY: Final = "nobody"
DEAD_MANS_SWITCH: Final = "dead-mans-switch"
WATCHDOG: Final = "Watchdog"
SECRETS: Final = "secrets/receivers"
GROUP_BY: Final = ("alertname", "component", "service", "project")

Node = dict[str, Any]


@dataclass(frozen=True)
class Inhibition:
    """While an alert fires that ``source`` matches, alerts that ``target`` matches are held back.

    Matchers are Alertmanager's: ``alertname="HostDown"``. Labels in ``equal`` must be the same on both (a label that
    both lack counts as the same).
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    equal: tuple[str, ...] = ()


def secret_files(settings: AlertingSettings) -> dict[str, str]:
    """File below CONFIG_DIR -> the file of this machine that it is read from."""
    found: dict[str, str] = {}
    for name, receiver in settings.receivers.items():
        for field in type(receiver).model_fields:
            source = getattr(receiver, field)
            if field.endswith("_file") and source is not None:
                found[f"{SECRETS}/{name}/{field}"] = source
    switch = settings.dead_mans_switch
    if switch is not None:
        found[f"{SECRETS}/{DEAD_MANS_SWITCH}/url_file"] = switch.url_file
        if switch.ca_file is not None:
            found[f"{SECRETS}/{DEAD_MANS_SWITCH}/ca_file"] = switch.ca_file
    return found


def _path(name: str, field: str) -> str:
    return f"{CONFIG_DIR}/{SECRETS}/{name}/{field}"


def _http(name: str, ca_file: str | None, bearer_token_file: str | None = None) -> Node:
    """``http_config`` of a receiver: the system's authorities, or one's own; never unverified."""
    config: Node = {"follow_redirects": False}
    if ca_file is not None:
        config["tls_config"] = {"ca_file": _path(name, "ca_file"), "min_version": "TLS12"}
    if bearer_token_file is not None:
        config["authorization"] = {"type": "Bearer", "credentials_file": _path(name, "bearer_token_file")}
    return config


_SUMMARY: Final = (
    '{{ .Status | toUpper }}{{ if eq .Status "firing" }} {{ .Alerts.Firing | len }}{{ end }}: '
    "{{ .CommonLabels.alertname }}{{ with .CommonLabels.stack }} ({{ . }}){{ end }}"
)
_DETAILS: Final = (
    "{{ range .Alerts }}{{ .Annotations.summary }}\n{{ .Annotations.description }}\n"
    "{{ with .Annotations.runbook_url }}Runbook: {{ . }}\n{{ end }}\n{{ end }}"
)


def _integration(name: str, receiver: Receiver) -> tuple[str, Node]:
    """Alertmanager's key of the list a receiver belongs to, and its entry there."""
    told: Node = {"send_resolved": receiver.resolved}
    if isinstance(receiver, WebhookReceiver):
        http = _http(name, receiver.ca_file, receiver.bearer_token_file)
        return "webhook_configs", {"url_file": _path(name, "url_file"), "http_config": http, "timeout": "10s", **told}
    if isinstance(receiver, SlackReceiver):
        return "slack_configs", {
            "api_url_file": _path(name, "api_url_file"),
            "channel": receiver.channel,
            "title": _SUMMARY,
            "text": _DETAILS,
            **told,
        }
    if isinstance(receiver, PagerDutyReceiver):
        return "pagerduty_configs", {
            "routing_key_file": _path(name, "routing_key_file"),
            "severity": '{{ if eq .CommonLabels.severity "critical" }}critical{{ else }}warning{{ end }}',
            "description": _SUMMARY,
            **told,
        }
    return "email_configs", _email(name, receiver, told)


def _email(name: str, receiver: EmailReceiver, told: Node) -> Node:
    entry: Node = {
        "to": ", ".join(receiver.to),
        "from": receiver.sender,
        "smarthost": receiver.server,
        "require_tls": True,
        "headers": {"Subject": _SUMMARY},
        **told,
    }
    if receiver.username is not None:
        entry |= {"auth_username": receiver.username, "auth_password_file": _path(name, "password_file")}
    if receiver.ca_file is not None:
        entry["tls_config"] = {"ca_file": _path(name, "ca_file"), "min_version": "TLS12"}
    return entry


def _receivers(settings: AlertingSettings) -> list[Node]:
    found: list[Node] = [{"name": NOBODY}]
    for severity in SEVERITIES:
        receiver: Node = {"name": severity}
        for name, one in sorted(settings.receivers.items()):
            if severity in one.severities:
                key, entry = _integration(name, one)
                receiver.setdefault(key, []).append(entry)
        found.append(receiver)
    switch = settings.dead_mans_switch
    if switch is not None:
        entry = {
            "url_file": _path(DEAD_MANS_SWITCH, "url_file"),
            "http_config": _http(DEAD_MANS_SWITCH, switch.ca_file),
            "timeout": "10s",
            "send_resolved": False,
            "max_alerts": 1,
        }
        found.append({"name": DEAD_MANS_SWITCH, "webhook_configs": [entry]})
    return found


def _time_interval(window: MaintenanceWindow) -> Node:
    interval: Node = {"times": [{"start_time": window.start, "end_time": window.end}], "location": window.time_zone}
    if window.weekdays:
        interval["weekdays"] = list(window.weekdays)
    if window.days_of_month:
        interval["days_of_month"] = [str(day) for day in window.days_of_month]
    return interval


def _watchdog_route(settings: AlertingSettings) -> Node:
    """The alert that always fires: to the switch as often as it asks, or to nobody. No maintenance holds it back."""
    matchers = [f'alertname="{WATCHDOG}"']
    switch = settings.dead_mans_switch
    if switch is None:
        return {"receiver": NOBODY, "matchers": matchers}
    return {
        "receiver": DEAD_MANS_SWITCH,
        "matchers": matchers,
        "group_wait": "0s",
        # Told again at the first flush after the repeat interval: flushes must come at least twice as often.
        "group_interval": f"{max(1, switch.interval_seconds // 2)}s",
        "repeat_interval": f"{switch.interval_seconds}s",
    }


def _severity_route(severity: str, settings: AlertingSettings) -> Node:
    critical = severity == "critical"
    route: Node = {
        "receiver": severity,
        "matchers": [f'severity="{severity}"'],
        "group_wait": f"{settings.group_wait_seconds // 3 if critical else settings.group_wait_seconds}s",
        "repeat_interval": f"{settings.repeat_critical_hours if critical else settings.repeat_hours}h",
    }
    windows = sorted(name for name, window in settings.maintenance.items() if severity in window.severities)
    if windows:
        route["mute_time_intervals"] = windows
    return route


def render_config(settings: AlertingSettings, inhibitions: Sequence[Inhibition]) -> str:
    """alertmanager.yml."""
    config: Node = {
        "global": {"resolve_timeout": "5m"},
        "route": {
            "receiver": NOBODY,
            "group_by": list(GROUP_BY),
            "group_wait": f"{settings.group_wait_seconds}s",
            "group_interval": f"{settings.group_interval_seconds}s",
            "repeat_interval": f"{settings.repeat_hours}h",
            "routes": [
                _watchdog_route(settings),
                *(_severity_route(severity, settings) for severity in SEVERITIES),
            ],
        },
        "receivers": _receivers(settings),
    }
    if settings.maintenance:
        config["time_intervals"] = [
            {"name": name, "time_intervals": [_time_interval(window)]}
            for name, window in sorted(settings.maintenance.items())
        ]
    if inhibitions:
        config["inhibit_rules"] = [
            {
                "source_matchers": list(one.source),
                "target_matchers": list(one.target),
                **({"equal": list(one.equal)} if one.equal else {}),
            }
            for one in inhibitions
        ]
    return yaml.safe_dump(config, sort_keys=False)


def client_config(username: str) -> str:
    """What ``amtool --http.config.file`` needs inside the container: silences and checks from the runbooks."""
    return yaml.safe_dump(
        {
            "basic_auth": {"username": username, "password_file": f"{CONFIG_DIR}/secrets/scrape-password"},
            "tls_config": {"ca_file": TLS_CA, "server_name": Service.ALERTMANAGER.value, "min_version": "TLS13"},
        },
        sort_keys=False,
    )


def command(external_url: str) -> tuple[str, ...]:
    """Alertmanager's flags: a single one, so that the gossip between several is off."""
    return (
        f"--config.file={CONFIG_DIR}/alertmanager.yml",
        f"--web.config.file={CONFIG_DIR}/web.yml",
        f"--web.listen-address=0.0.0.0:{Port.ALERTMANAGER}",
        f"--web.external-url={external_url}",
        "--web.route-prefix=/",
        "--storage.path=/alertmanager",
        "--cluster.listen-address=",
        "--log.format=json",
    )
