"""Grafana: settings, provisioning, and the one-shot that keeps its users."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.grafana import render, users
from components.settings import SettingsError, load_settings
from tests.unit.program import labels, revealed, run_program

pytestmark = pytest.mark.unit


def test_no_secret_stands_in_the_environment() -> None:
    env = render.environment("https://localhost:3001", "prometheus")
    for name, value in env.items():
        if any(word in name for word in ("PASSWORD", "SECRET_KEY")):
            assert name.endswith("__FILE"), name
            assert value.startswith("/etc/agentstack/secrets/")


def test_nobody_comes_in_without_a_login_and_nothing_calls_home() -> None:
    env = render.environment("https://traces.example.org:3001", "prometheus")
    assert env["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert env["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert env["GF_USERS_AUTO_ASSIGN_ORG_ROLE"] == "Viewer"
    assert env["GF_SERVER_PROTOCOL"] == "https"
    assert (env["GF_SERVER_ROOT_URL"], env["GF_SERVER_DOMAIN"]) == (
        "https://traces.example.org:3001/",
        "traces.example.org",
    )
    for name in ("GF_ANALYTICS_REPORTING_ENABLED", "GF_ANALYTICS_CHECK_FOR_UPDATES", "GF_NEWS_NEWS_FEED_ENABLED"):
        assert env[name] == "false"
    # With a read-only root the installer would end the bundled plugins and leave every panel blank.
    assert (env["GF_PLUGINS_PREINSTALL_DISABLED"], env["GF_PLUGINS_PREINSTALL_AUTO_UPDATE"]) == ("true", "false")


def test_the_data_source_is_verified_and_logs_in() -> None:
    (source,) = yaml.safe_load(render.data_sources("https://prometheus:9090", "grafana", "3.15.0"))["datasources"]
    assert (source["url"], source["access"], source["editable"]) == ("https://prometheus:9090", "proxy", False)
    assert (source["basicAuth"], source["basicAuthUser"]) == (True, "grafana")
    assert source["jsonData"]["tlsAuthWithCACert"] is True
    assert source["jsonData"]["tlsSkipVerify"] is False
    assert source["jsonData"]["serverName"] == "prometheus"
    assert source["secureJsonData"] == {
        "basicAuthPassword": "$__file{/etc/agentstack/secrets/prometheus-password}",
        "tlsCACert": "$__file{/etc/agentstack/tls/ca.crt}",
    }


def test_dashboards_are_provisioned_read_only_with_folders() -> None:
    (provider,) = yaml.safe_load(render.dashboard_provider())["providers"]
    assert provider["allowUiUpdates"] is False
    assert provider["disableDeletion"] is True
    assert provider["options"] == {"path": "/etc/agentstack/dashboards", "foldersFromFilesStructure": True}
    assert "folder" not in provider, "excluded by folders from the structure"


def test_the_home_dashboard_is_one_of_ours() -> None:
    program = run_program("dev")
    carrier = next(
        resource
        for name, resource in program.containers("config").items()
        if labels(resource)["io.agentstack.service"] == "grafana" and name.startswith("grafana-config")
    )
    files = {upload["file"] for upload in revealed(carrier.inputs)["uploads"]}
    grafana = program.containers("service")["grafana"]
    env = dict(one.split("=", 1) for one in revealed(grafana.inputs)["envs"])
    assert env["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] in files
    assert "/etc/agentstack/provisioning/datasources/agentstack.yaml" in files


def test_the_administrators_name_is_taken() -> None:
    with pytest.raises(SettingsError, match="choose another name"):
        load_settings({"grafana": {"users": {"admin": {"role": "Viewer"}}}})
    with pytest.raises(SettingsError, match="Viewer"):
        load_settings({"grafana": {"users": {"guest": {"role": "Guest"}}}})


class FakeGrafana(users.Grafana):
    """Grafana's users API in memory."""

    def __init__(self, members: Mapping[str, tuple[int, str, str]], passwords: Mapping[str, str]) -> None:
        self.members = {login: list(value) for login, value in members.items()}
        self.passwords = dict(passwords)
        self.calls: list[str] = []

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        self.calls.append(f"{method} {path}")
        body = body or {}
        if path == "/api/org/users":
            return [
                {"login": login, "userId": number, "role": role, "email": mail}
                for login, (number, role, mail) in self.members.items()
            ]
        if path == "/api/admin/users":
            number = 100 + len(self.members)
            self.members[body["login"]] = [number, "Viewer", body["email"]]
            self.passwords[body["login"]] = body["password"]
            return {"id": number}
        number = int(path.split("/")[4])
        login = next(name for name, value in self.members.items() if value[0] == number)
        if method == "DELETE":
            del self.members[login]
        elif path.endswith("/password"):
            self.passwords[login] = body["password"]
        else:
            self.members[login][1] = body["role"]
        return {"message": "done"}


WANTED = {"mailDomain": "provisioned.invalid", "users": {"editor": {"role": "Editor"}, "viewer": {"role": "Viewer"}}}
PASSWORDS = {"editor": "one", "viewer": "two"}


@pytest.fixture
def grafana(monkeypatch: pytest.MonkeyPatch) -> FakeGrafana:
    """A Grafana with its administrator, a person's own login, and a login of the settings of yesterday."""
    fake = FakeGrafana(
        {
            "admin": (1, "Admin", "admin@localhost"),
            "jane": (2, "Editor", "jane@example.org"),
            "former": (3, "Editor", "former@provisioned.invalid"),
        },
        {"admin": "secret", "jane": "hers", "former": "old"},
    )
    monkeypatch.setattr(users, "knows", lambda url, ca, login, password: fake.passwords.get(login) == password)
    return fake


def keep(fake: FakeGrafana) -> list[str]:
    """One run of the one-shot."""
    return users.reconcile(fake, WANTED, PASSWORDS, "https://grafana:3000", "ca")


def test_users_are_made_and_removed_as_the_settings_say(grafana: FakeGrafana) -> None:
    assert keep(grafana) == [
        "editor: made",
        "editor: role Editor",
        "viewer: made",
        "viewer: role Viewer",
        "former: removed",
    ]
    assert set(grafana.members) == {"admin", "jane", "editor", "viewer"}
    assert grafana.passwords["editor"] == "one"


def test_a_second_run_changes_nothing(grafana: FakeGrafana) -> None:
    keep(grafana)
    grafana.calls.clear()
    assert keep(grafana) == []
    assert grafana.calls == ["GET /api/org/users"]


def test_a_changed_password_or_role_is_set_back(grafana: FakeGrafana) -> None:
    keep(grafana)
    grafana.passwords["viewer"] = "changed"
    grafana.members["viewer"][1] = "Admin"
    assert keep(grafana) == ["viewer: password set", "viewer: role Viewer"]
    assert grafana.passwords["viewer"] == "two"


def test_a_login_that_somebody_made_is_never_taken_over(grafana: FakeGrafana) -> None:
    grafana.members["editor"] = [9, "Viewer", "somebody@example.org"]
    with pytest.raises(users.ApiError, match="not of the settings' making"):
        keep(grafana)
    assert grafana.members["editor"] == [9, "Viewer", "somebody@example.org"]


def test_plain_http_is_refused(tmp_path: Path) -> None:
    arguments = ["--url", "http://grafana:3000", "--ca", "x", "--admin", "admin", "--admin-password-file", "x"]
    with pytest.raises(SystemExit) as caught:
        users.main([*arguments, "--users-file", "x", "--passwords-dir", "x", "--data-source", "prometheus"])
    assert caught.value.code == 2
