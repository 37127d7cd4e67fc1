"""What Phoenix is started with: an environment without secrets, secrets as files, jobs; and the launcher itself."""

import importlib.util
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.names import CONFIG_DIR, NetworkName, Port
from components.phoenix import Phoenix, render
from components.phoenix.component import CONTAINER_CODE
from components.phoenix.container import launcher, retention
from components.postgres import Postgres
from components.settings import Settings, load_settings
from components.workload import Job, Workload
from tests.engine.database_lab import describe

pytestmark = pytest.mark.unit


def described(settings: Settings | None = None) -> dict[str, Any]:
    def build(context: Any) -> None:
        Phoenix("phoenix", context, postgres=Postgres("postgres", context))

    return describe(build, settings=settings)


@pytest.fixture(scope="module")
def asked() -> dict[str, Any]:
    return described()


@pytest.fixture(scope="module")
def service(asked: dict[str, Any]) -> Workload:
    found = asked["phoenix"]
    assert isinstance(found, Workload)
    return found


def test_login_tls_cookies_and_passwords_are_strict(service: Workload) -> None:
    for variable in (
        "PHOENIX_ENABLE_AUTH",
        "PHOENIX_TLS_ENABLED",
        "PHOENIX_USE_SECURE_COOKIES",
        "PHOENIX_ENABLE_STRONG_PASSWORD_POLICY",
    ):
        assert service.env[variable] == "true", variable


def test_nothing_calls_out_and_the_plaintext_metrics_stay_off(service: Workload) -> None:
    for variable in (
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES",
        "PHOENIX_TELEMETRY_ENABLED",
        "PHOENIX_ENABLE_MCP_SERVER",
        "PHOENIX_ENABLE_OAUTH2_AUTHORIZATION_SERVER",
        "PHOENIX_ENABLE_PROMETHEUS",
    ):
        assert service.env[variable] == "false", variable
    assert service.env["PHOENIX_DISABLE_AGENT_ASSISTANT"] == "true"
    assert service.env["PHOENIX_ALLOWED_SANDBOX_PROVIDERS"] == "NONE"


def test_the_environment_and_the_commands_hold_no_secret(asked: dict[str, Any]) -> None:
    secrets = {
        file.content.strip()
        for item in asked.values()
        for path, file in item.files.items()
        if path.startswith("secrets/")
    }
    assert secrets
    for item in asked.values():
        seen = " ".join([*map(str, item.env.values()), *map(str, item.command)])
        assert not [secret for secret in secrets if secret in seen], item


def test_secret_files_are_the_owner_s_alone(service: Workload) -> None:
    names = {path for path in service.files if path.startswith("secrets/")}
    assert names == {f"secrets/{name}" for name in (*launcher.SECRET_FILES, "pgpass", "metrics-token.sha256")}
    assert {service.files[path].mode for path in names} == {"0400"}


def test_the_database_s_certificate_and_name_are_verified_and_the_password_is_not_in_the_url(service: Workload) -> None:
    url = service.env["PHOENIX_SQL_DATABASE_URL"]
    assert (
        url == "postgresql://phoenix@postgres:5432/phoenix?sslmode=verify-full&sslrootcert=/etc/agentstack/tls/ca.crt"
    )
    assert str(service.files["secrets/pgpass"].content).startswith("postgres:5432:phoenix:phoenix:")
    assert service.env["PGPASSFILE"] == f"{CONFIG_DIR}/secrets/pgpass"


@pytest.mark.parametrize(("password", "field"), [("plain", "plain"), ("a:b", "a\\:b"), ("a\\b", "a\\\\b")])
def test_pgpass_escapes_what_would_end_a_field(password: str, field: str) -> None:
    assert render.pgpass("db", 5432, "phoenix", "phoenix", password) == f"db:5432:phoenix:phoenix:{field}\n"


def test_every_middleware_is_mounted_where_phoenix_looks_for_it(service: Workload) -> None:
    for entry in str(service.env["PHOENIX_FASTAPI_MIDDLEWARE_PATHS"]).split(","):
        path, _, name = entry.partition(":")
        text = service.files[path.removeprefix(f"{CONFIG_DIR}/")].content
        assert f"class {name}(BaseHTTPMiddleware):" in str(text)


def test_origins_are_our_own_names_and_the_allowed_ones() -> None:
    settings = load_settings(
        {
            "publicNames": ["traces.example.org", "*.example.org", "2001:db8::7"],
            "ports": {"phoenix": 7006},
            "allowedOrigins": ["https://app.example.org"],
        }
    )
    assert render.origins(settings) == [
        "https://localhost:7006",
        "https://127.0.0.1:7006",
        "https://[::1]:7006",
        "https://traces.example.org:7006",
        "https://[2001:db8::7]:7006",
        "https://app.example.org",
    ]


def test_an_unready_phoenix_is_unhealthy_but_only_a_dead_one_is_restarted(service: Workload) -> None:
    assert service.health is not None
    probe = service.health.probe
    assert probe[probe.index("--url") + 1].endswith("/readyz")
    assert probe[probe.index("--live-url") + 1].endswith("/healthz")


def test_it_can_finish_what_it_has_before_it_is_killed(service: Workload) -> None:
    text = (CONTAINER_CODE / "ingest.py").read_text()
    answer = float(text.split("ANSWER_SECONDS: Final = ")[1].split()[0])
    assert service.stop_grace_seconds > answer


def test_the_schema_is_migrated_once_before_any_replica(asked: dict[str, Any], service: Workload) -> None:
    migrate = asked["phoenix-migrate"]
    assert isinstance(migrate, Job)
    assert migrate.command == [f"{render.CODE}/launcher.py", "migrate"]
    assert set(migrate.files) == {"tls/ca.crt", "phoenix/launcher.py", "secrets/pgpass"}
    assert len(service.start_after) == len(migrate.start_after) == 1


def test_another_retention_changes_the_job_s_command() -> None:
    job = described(load_settings({"retentionDays": 14}))["phoenix-retention"]
    assert isinstance(job, Job)
    words = [str(word) for word in job.command]
    assert words[words.index("--days") + 1] == "14"
    assert words[words.index("--url") + 1] == "https://phoenix:6006"


def test_it_is_on_two_networks_and_prometheus_reads_it_with_a_token(service: Workload) -> None:
    assert {network.network for network in service.networks} == {NetworkName.PHOENIX, NetworkName.MONITORING}
    assert not service.ports
    found: list[Any] = []

    def build(context: Any) -> None:
        phoenix = Phoenix("phoenix", context, postgres=Postgres("postgres", context))
        found.extend(phoenix.scrape_targets)

    describe(build, settings=load_settings({"phoenix": {"replicas": 2}}))
    assert [(target.port, target.path, target.auth, target.replicas) for target in found] == [
        (Port.PHOENIX, "/metrics", "bearer", 2)
    ]


# ---- launcher


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name in launcher.SECRET_FILES:
        (folder / name).write_text(f"value-of-{name}\n")
    return folder


@pytest.fixture
def fake_phoenix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `phoenix` whose server tells what it was started with."""
    package = tmp_path / "site" / "phoenix"
    (package / "server").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('the whole server was imported')\n")
    (package / "server" / "__init__.py").write_text("")
    (package / "light.py").write_text("LOADED = True\n")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    yield package
    for name in [name for name in sys.modules if name.split(".")[0] == "phoenix"]:
        del sys.modules[name]


def test_phoenix_runs_in_this_very_process_with_its_secrets(
    secrets: Path, fake_phoenix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    (fake_phoenix / "__init__.py").write_text("")
    (fake_phoenix / "server" / "main.py").write_text(
        "import os, pathlib, sys\n"
        "if __name__ == '__main__':\n"
        f"    pathlib.Path({str(told)!r}).write_text(repr((os.getpid(), sys.argv[1:], os.environ['PHOENIX_SECRET'])))\n"
    )
    for variable in launcher.SECRET_FILES.values():
        monkeypatch.setenv(variable, "")
    monkeypatch.setenv("PHOENIX_SQL_DATABASE_URL", "postgresql://phoenix@localhost:1/phoenix")
    monkeypatch.setattr(launcher, "SECRETS", secrets)
    monkeypatch.setattr(launcher, "wait_for_database", lambda _address: True)
    assert launcher.main(["serve", "--extra"]) == 0
    assert told.read_text() == repr((os.getpid(), ["serve", "--extra"], "value-of-phoenix-secret"))


def test_secrets_are_stripped_and_all_needed(secrets: Path) -> None:
    environment: dict[str, str] = {}
    launcher.load_secrets(secrets, environment)
    assert environment == {variable: f"value-of-{name}" for name, variable in launcher.SECRET_FILES.items()}


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_without_a_secret_phoenix_does_not_start(
    secrets: Path, content: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = secrets / "admin-password"
    path.unlink() if content is None else path.write_text(content)
    monkeypatch.setattr(launcher, "SECRETS", secrets)
    monkeypatch.setattr(launcher, "wait_for_database", lambda _address: True)
    monkeypatch.setattr(launcher, "serve", lambda _arguments: pytest.fail("it started"))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert launcher.main(["serve"]) == 1
    assert str(path) in capsys.readouterr().err


def test_an_unknown_mode_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert launcher.main(["dance"]) == 2
    assert "serve or migrate" in capsys.readouterr().err


def test_it_waits_for_the_database_only_so_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        assert launcher.wait_for_database(address, 1)
    assert not launcher.wait_for_database(address, 0)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("postgresql://phoenix@postgres:5433/phoenix?sslmode=verify-full", ("postgres", 5433)),
        ("postgresql://phoenix@db.example.org/phoenix", ("db.example.org", 5432)),
    ],
)
def test_the_address_waited_for_is_the_url_s(url: str, address: tuple[str, int]) -> None:
    assert launcher.database_address(url) == address


def test_migrations_are_tried_again_while_postgresql_starts(capsys: pytest.CaptureFixture[str]) -> None:
    failures = [OSError("the database system is starting up"), OSError("once more")]

    def run() -> None:
        if failures:
            raise failures.pop()

    assert launcher.migrate(run, attempts=3, pause_seconds=0) == 0
    assert capsys.readouterr().err.count("failed") == 2


def test_migrations_that_keep_failing_fail_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    def run() -> None:
        raise RuntimeError("no such table")

    assert launcher.migrate(run, attempts=2, pause_seconds=0) == 1
    assert "RuntimeError: no such table" in capsys.readouterr().err


def test_a_migration_does_not_import_the_server(fake_phoenix: Path) -> None:
    launcher.bare_package("phoenix")
    assert importlib.import_module("phoenix.light").LOADED


# ---- retention


class FakePhoenixApi:
    """Remembers one policy as Phoenix does."""

    def __init__(self, days: float | None, cron: str = "0 0 * * 0", stubborn: bool = False) -> None:
        self.rule: dict[str, Any] = {"__typename": "x"} if days is None else {"__typename": "x", "maxDays": days}
        self.cron = cron
        self.stubborn = stubborn
        self.changes: list[dict[str, Any]] = []

    def __call__(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "mutation" in query:
            change = variables["input"]
            self.changes.append(change)
            if not self.stubborn:
                self.rule, self.cron = {"maxDays": change["rule"]["maxDays"]["maxDays"]}, change["cronExpression"]
            return {}
        return {"node": {"cronExpression": self.cron, "rule": self.rule}}


WANTED = retention.Policy(days=90.0, cron="0 3 * * *")


def test_a_policy_that_is_in_force_is_not_touched() -> None:
    api = FakePhoenixApi(90.0, "0 3 * * *")
    assert "nothing to change" in retention.reconcile(api, WANTED)
    assert api.changes == []


@pytest.mark.parametrize(("days", "cron"), [(30.0, "0 3 * * *"), (90.0, "0 0 * * 0"), (None, "0 3 * * *")])
def test_any_difference_is_put_right(days: float | None, cron: str) -> None:
    api = FakePhoenixApi(days, cron)
    retention.reconcile(api, WANTED)
    assert [change["id"] for change in api.changes] == [retention.DEFAULT_POLICY]
    assert retention.read(api) == WANTED


def test_a_policy_that_does_not_take_is_an_error() -> None:
    with pytest.raises(retention.RetentionError, match="is in force"):
        retention.reconcile(FakePhoenixApi(30.0, stubborn=True), WANTED)


def test_an_unreachable_phoenix_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "RETRY_SECONDS", 0)
    failures = [ConnectionRefusedError("not yet")]

    def action() -> str:
        if failures:
            raise failures.pop()
        return "done"

    assert retention.patiently(action) == "done"


def test_the_admin_secret_goes_over_https_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")
    words = ["--url", "http://phoenix:6006", "--ca", "ca", "--secret-file", str(secret), "--days", "1", "--cron", "x"]
    with pytest.raises(SystemExit):
        retention.main(words)
    assert "https" in capsys.readouterr().err
