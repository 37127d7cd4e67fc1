"""Alertmanager's configuration: who is told what, by which credentials, when nobody is, and what holds back what."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import alerts
from components.alertmanager import render
from components.alertmanager.render import Inhibition
from components.settings import Settings, SettingsError, load_settings
from tests.unit.program import labels, revealed, run_program

pytestmark = pytest.mark.unit


@pytest.fixture
def credential(tmp_path: Path) -> str:
    """A file of this machine with a credential in it."""
    path = tmp_path / "credential"
    path.write_text("https://hooks.example.org/PLANTED-credential\n")
    return str(path)


def everyone(credential: str) -> dict[str, Any]:
    """One receiver of each kind, a dead man's switch and a maintenance window."""
    return {
        "receivers": {
            "tickets": {"type": "webhook", "urlFile": credential, "bearerTokenFile": credential, "caFile": credential},
            "chat": {"type": "slack", "apiUrlFile": credential, "channel": "#alerts", "severities": ["warning"]},
            "mail": {
                "type": "email",
                "to": ["a@example.org", "b@example.org"],
                "sender": "stack@example.org",
                "server": "mail.example.org:587",
                "username": "stack",
                "passwordFile": credential,
            },
            "pager": {"type": "pagerduty", "routingKeyFile": credential},
        },
        "deadMansSwitch": {"urlFile": credential, "intervalSeconds": 60},
        "maintenance": {
            "sunday": {
                "weekdays": ["sunday"],
                "start": "02:00",
                "end": "04:00",
                "timeZone": "Europe/Berlin",
                "severities": ["warning", "info"],
            }
        },
    }


def config(settings: Settings, inhibitions: list[Inhibition] | None = None) -> dict[str, Any]:
    """The rendered configuration, read back."""
    found: dict[str, Any] = yaml.safe_load(render.render_config(settings.alerting, inhibitions or []))
    return found


def by_name(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Items by their name."""
    return {item["name"]: item for item in items}


def routes(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Child routes by what they match."""
    return {route["matchers"][0]: route for route in found["route"]["routes"]}


def test_without_receivers_it_runs_and_tells_nobody() -> None:
    settings = load_settings({})
    found = config(settings)
    assert not settings.alerting.calls_out
    for receiver in found["receivers"]:
        assert set(receiver) == {"name"}
    assert routes(found)['alertname="Watchdog"']["receiver"] == "nobody"


def test_each_severity_has_everyone_who_wants_it(credential: str) -> None:
    settings = load_settings({"alerting": everyone(credential)})
    receivers = by_name(config(settings)["receivers"])
    kinds = {name: {key for key in receiver if key != "name"} for name, receiver in receivers.items()}
    assert kinds["critical"] == {"webhook_configs", "email_configs", "pagerduty_configs"}
    assert kinds["warning"] == {"webhook_configs", "slack_configs", "email_configs"}
    assert kinds["info"] == set()
    found = routes(config(settings))
    assert {found[f'severity="{severity}"']["receiver"] for severity in ("critical", "warning", "info")} == {
        "critical",
        "warning",
        "info",
    }


def test_a_critical_alert_is_told_sooner_and_more_often(credential: str) -> None:
    found = routes(config(load_settings({"alerting": {"groupWaitSeconds": 30}})))
    critical, warning = found['severity="critical"'], found['severity="warning"']
    assert (critical["group_wait"], critical["repeat_interval"]) == ("10s", "1h")
    assert (warning["group_wait"], warning["repeat_interval"]) == ("30s", "12h")


def test_credentials_are_files_and_nothing_else(credential: str) -> None:
    settings = load_settings({"alerting": everyone(credential)})
    text = render.render_config(settings.alerting, [])
    assert "PLANTED" not in text
    assert "insecure_skip_verify" not in text
    receivers = by_name(yaml.safe_load(text)["receivers"])
    (webhook,) = receivers["critical"]["webhook_configs"]
    where = "/etc/agentstack/secrets/receivers"
    assert webhook["url_file"] == f"{where}/tickets/url_file"
    assert webhook["http_config"]["authorization"]["credentials_file"] == f"{where}/tickets/bearer_token_file"
    assert webhook["http_config"]["tls_config"]["ca_file"] == f"{where}/tickets/ca_file"
    (mail,) = receivers["critical"]["email_configs"]
    assert (mail["require_tls"], mail["auth_password_file"]) == (True, f"{where}/mail/password_file")
    assert mail["to"] == "a@example.org, b@example.org"
    named = set()

    def look(node: Any) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                if isinstance(value, str) and key.endswith("_file"):
                    named.add(value.removeprefix("/etc/agentstack/"))
                look(value)
        elif isinstance(node, list):
            for value in node:
                look(value)

    look(yaml.safe_load(text))
    assert named == set(render.secret_files(settings.alerting)), "every file that is named is carried, and no other"


def test_the_dead_mans_switch_hears_all_the_time(credential: str) -> None:
    settings = load_settings({"alerting": everyone(credential)})
    found = config(settings)
    route = routes(found)['alertname="Watchdog"']
    assert (route["receiver"], route["repeat_interval"], route["group_interval"]) == ("dead-mans-switch", "60s", "30s")
    assert "mute_time_intervals" not in route
    (webhook,) = by_name(found["receivers"])["dead-mans-switch"]["webhook_configs"]
    assert webhook["send_resolved"] is False
    assert found["route"]["routes"][0] is not None
    assert found["route"]["routes"][0]["matchers"] == ['alertname="Watchdog"'], "before any route by severity"


def test_maintenance_holds_back_the_severities_it_names(credential: str) -> None:
    found = config(load_settings({"alerting": everyone(credential)}))
    assert found["time_intervals"] == [
        {
            "name": "sunday",
            "time_intervals": [
                {
                    "times": [{"start_time": "02:00", "end_time": "04:00"}],
                    "location": "Europe/Berlin",
                    "weekdays": ["sunday"],
                }
            ],
        }
    ]
    muted = {key: route.get("mute_time_intervals") for key, route in routes(found).items()}
    assert muted['severity="warning"'] == ["sunday"]
    assert muted['severity="critical"'] is None


def test_inhibition_comes_from_the_alerts() -> None:
    settings = load_settings({})
    found = config(settings, alerts.inhibitions(settings))["inhibit_rules"]
    down = [rule for rule in found if 'alertname="ServiceDown"' in rule["source_matchers"]]
    assert {
        "source_matchers": ['alertname="ServiceDown"', 'component="phoenix"'],
        "target_matchers": ['alertname="CollectorNotDelivering"'],
    } in down
    assert {
        "source_matchers": ['alertname="CollectorQueueNearlyFull"'],
        "target_matchers": ['alertname="CollectorQueueFilling"'],
        "equal": ["instance", "exporter"],
    } in found
    assert len(found) == len(alerts.inhibitions(settings)) > 20


@pytest.mark.parametrize(
    ("alerting", "path", "words"),
    [
        ({"receivers": {"x": {"type": "webhook", "urlFile": "/no/such/file"}}}, "urlFile", "can't be read"),
        ({"receivers": {"x": {"type": "pager"}}}, "receivers.x", "pagerduty"),
        ({"maintenance": {"x": {"start": "22:00", "end": "02:00"}}}, "maintenance.x", "crosses midnight"),
        ({"maintenance": {"x": {"start": "25:00", "end": "24:00"}}}, "maintenance.x.start", "pattern"),
        ({"projectBudgets": {"x": {}}}, "alerting", "perHourUsd or perDayUsd"),
        ({"thresholds": {"errorRatio": 1.5}}, "thresholds.errorRatio", "less than or equal to 1"),
        ({"ruleFiles": ["Pulumi.yaml"]}, "ruleFiles.0", "no rule file"),
        ({"dashboardFiles": ["README.md"]}, "dashboardFiles.0", "no JSON"),
    ],
)
def test_bad_settings_say_what_is_allowed(alerting: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"alerting": alerting})
    (problem,) = caught.value.problems
    assert path in problem.path
    assert words in problem.message


def test_a_login_at_the_mail_server_is_whole(credential: str) -> None:
    mail = {"type": "email", "to": ["a@b"], "sender": "c@d", "server": "m:25", "username": "u"}
    with pytest.raises(SettingsError, match="belong together"):
        load_settings({"alerting": {"receivers": {"x": mail}}})


def test_it_leaves_the_stack_only_to_tell_somebody(credential: str) -> None:
    def networks(overrides: dict[str, Any]) -> set[str]:
        container = run_program("dev", overrides).containers("service")["alertmanager"]
        return {one["name"] for one in revealed(container.inputs)["networksAdvanced"]}

    assert networks({}) == {"agentstack-dev-monitoring-network"}
    assert networks({"alerting": everyone(credential)}) == {
        "agentstack-dev-monitoring-network",
        "agentstack-dev-egress-network",
    }


def test_credentials_reach_the_container_as_secret_files(credential: str) -> None:
    program = run_program("dev", {"alerting": everyone(credential)})
    carrier = next(
        resource
        for resource in program.containers("config").values()
        if labels(resource)["io.agentstack.service"] == "alertmanager"
    )
    uploads = {upload["file"]: upload for upload in revealed(carrier.inputs)["uploads"]}
    upload = uploads["/etc/agentstack/secrets/receivers/tickets/url_file"]
    assert upload["content"] == "https://hooks.example.org/PLANTED-credential"
    assert upload["permissions"] == "0400"
