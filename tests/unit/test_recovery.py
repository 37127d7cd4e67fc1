"""Restore, drill and escrow from the operator's side, without an engine: the order of steps, and what failures undo."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentstack.cli import app
from agentstack.commands.backup import size
from agentstack.errors import CommandError
from agentstack.outputs import StackOutputs
from agentstack.recovery import drill, escrow, restore
from agentstack.recovery.sidecar import Sidecar, hint, repository_name

OUTPUTS = StackOutputs(
    stack="dev",
    raw={
        "containers": {
            "postgres": "agentstack-dev-postgres",
            "pgbouncer": "agentstack-dev-pgbouncer",
            "phoenix": ["agentstack-dev-phoenix", "agentstack-dev-phoenix-2"],
            "backup": "agentstack-dev-backup",
        }
    },
)
WRITERS = ["agentstack-dev-phoenix", "agentstack-dev-phoenix-2", "agentstack-dev-pgbouncer"]
SERVER = "agentstack-dev-postgres"


class Stage:
    """Everything outside of the restore, noting what is done; ``failing`` names steps that fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failing: str = "", point: str | None = "the-end") -> None:
        self.done: list[str] = []
        self.failing = failing
        self.point = point
        monkeypatch.setattr(restore, "docker", self.docker)
        monkeypatch.setattr(restore, "await_healthy", self.await_healthy)
        monkeypatch.setattr(Sidecar, "ask", lambda _, *words: self.ask(*words))

    def _step(self, what: str) -> None:
        self.done.append(what)
        if self.failing and what.startswith(self.failing):
            raise CommandError(f"{what} failed")

    def docker(self, verb: str, *words: str, timeout_seconds: int = 0) -> bytes:
        names = [word for word in words if word.startswith("agentstack-")]
        self._step(f"{verb} {' '.join(names)}")
        return b""

    def await_healthy(self, stack: str, names: list[str], seconds: float = 0) -> None:
        self._step(f"healthy {' '.join(names)}")

    def ask(self, *words: str) -> dict[str, Any]:
        self._step(" ".join(words))
        answers: dict[str, dict[str, Any]] = {
            "close-log": {"point": self.point},
            "make": {"name": "N", "label": "L", "bytes": 1, "inside": {"spans": 3}},
            "swap": {"aside": "/old"},
        }
        return answers.get(words[0], {})

    def run(self, *words: str, repository: str = "local") -> dict[str, Any]:
        return restore.InPlace(OUTPUTS, repository, lambda _: None).run(words)


def test_the_steps_of_a_restore(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    done = stage.run("--latest")
    assert stage.done == [
        f"stop {' '.join(WRITERS)}",
        "close-log",
        "make --repository local --latest --point the-end",
        f"stop {SERVER}",
        "swap N",
        f"start {SERVER}",
        f"healthy {SERVER}",
        "start agentstack-dev-postgres-reconcile",
        f"start {' '.join(WRITERS)}",
        f"healthy {' '.join(WRITERS)}",
        "exec agentstack-dev-backup",
    ]
    assert done["label"] == "L"
    assert done["total_seconds"] >= 0


def test_a_moment_needs_the_log_closed_but_no_restore_point(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    stage.run("--to", "2026-11-24 14:30:00+00")
    assert "close-log" in stage.done
    assert "make --repository local --to 2026-11-24 14:30:00+00" in stage.done


def test_a_server_that_does_not_answer_is_restored_to_what_was_archived(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, point=None)
    stage.run("--latest")
    assert "make --repository local --latest" in stage.done


def test_from_the_second_repository_the_local_one_takes_the_cluster_on(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    stage.run("--latest", repository="s3")
    assert stage.done.index("swap N") < stage.done.index("adopt") < stage.done.index(f"start {SERVER}")


@pytest.mark.parametrize("failing", ["close-log", "make"])
def test_what_fails_before_the_swap_leaves_the_server_running(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    stage = Stage(monkeypatch, failing)
    with pytest.raises(CommandError):
        stage.run("--latest")
    assert not [step for step in stage.done if step.startswith(("swap", f"stop {SERVER}"))]
    assert stage.done[-1] == f"start {' '.join(WRITERS)}"


@pytest.mark.parametrize("failing", [f"healthy {SERVER}", "start agentstack-dev-postgres-reconcile"])
def test_what_fails_after_the_swap_is_swapped_back(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    stage = Stage(monkeypatch, failing)
    with pytest.raises(CommandError):
        stage.run("--latest")
    tail = stage.done[stage.done.index("swap-back N") :]
    assert tail == ["swap-back N", f"start {SERVER}", f"start {' '.join(WRITERS)}"]


def test_a_backup_as_it_is_needs_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, failing="close-log")
    stage.run("--backup", "20261124-020000F")
    assert "close-log" not in stage.done


def test_repositories_by_number_or_name() -> None:
    assert [repository_name(text) for text in ("1", "2", "local", "s3")] == ["local", "s3", "local", "s3"]
    with pytest.raises(CommandError, match="3"):
        repository_name("3")


@pytest.mark.parametrize(
    ("said", "helps"),
    [("Error: No such container: x", "make up"), ("no backup ended before", "backup list"), ("?", "")],
)
def test_failures_say_what_to_do(said: str, helps: str) -> None:
    assert helps in hint(said)
    assert bool(hint(said)) == bool(helps)


@pytest.mark.parametrize("words", [[], ["--latest", "--to", "x"], ["--backup", "a", "--latest"]])
def test_a_restore_needs_exactly_one_target(words: list[str]) -> None:
    result = CliRunner().invoke(app, ["restore", "--stack", "dev", *words])
    assert isinstance(result.exception, CommandError)
    assert "one of" in result.exception.what


def test_sizes_for_people() -> None:
    assert [size(n) for n in (5, 1500, 35_620_072, 2e12)] == ["5 B", "1.5 kB", "35.6 MB", "2.0 TB"]


# ---- drill


def found(**changed: Any) -> dict[str, Any]:
    base = {"timestamp": 1795530600, "label": "L", "bytes": 2e9, "rto": 60.0, "rpo": 120.0, "inside": {"spans": 7}}
    return {**base, "phases": {"restore": 20.0, "recovery": 5.0}, **changed}


def test_a_report_says_what_was_measured_and_whether_it_passed() -> None:
    text = drill.report("prod", "s3", found())
    assert "# Restore drill of stack prod, 2026-11-24 14:30 UTC" in text
    assert "Passed" in text
    assert "2000.0 MB at 100.0 MB/s" in text
    assert "| recovery | 5.0 |" in text


@pytest.mark.parametrize("missed", [{"rto": 4 * 3600 + 1}, {"rpo": 901}])
def test_a_drill_that_misses_an_aim_has_failed(missed: dict[str, float]) -> None:
    assert not drill.passed(found(**missed))
    assert "FAILED" in drill.report("prod", "local", found(**missed))


# ---- escrow

CONTENT = escrow.Content(
    "dev", 1795530600, {"deployment": {"resources": []}}, "state-passphrase", "config: {}", {"k": "v"}
)
PASSPHRASE = "correct horse battery staple"


def test_an_escrow_file_gives_back_what_was_put_in_and_shows_nothing() -> None:
    sealed = escrow.seal(CONTENT, PASSPHRASE)
    assert b"state-passphrase" not in sealed
    assert escrow.unseal(sealed, PASSPHRASE) == CONTENT
    assert escrow.seal(CONTENT, PASSPHRASE) != sealed, "salt and nonce are new each time"


def test_another_passphrase_or_a_changed_byte_opens_nothing() -> None:
    sealed = escrow.seal(CONTENT, PASSPHRASE)
    with pytest.raises(CommandError, match="passphrase"):
        escrow.unseal(sealed, PASSPHRASE + ".")
    for place in (len(sealed) - 1, sealed.index(b'"created"') + 12):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(CommandError):
            escrow.unseal(bytes(changed), PASSPHRASE)


@pytest.mark.parametrize("data", [b"", b"{}\n", b"something else"])
def test_what_is_no_escrow_file_is_said(data: bytes) -> None:
    with pytest.raises(CommandError, match="no escrow file"):
        escrow.unseal(data, PASSPHRASE)


def test_a_short_passphrase_is_refused() -> None:
    with pytest.raises(CommandError, match="shorter than 12"):
        escrow.seal(CONTENT, "short")


def test_only_the_identity_goes_to_a_new_machine() -> None:
    urn = "urn:pulumi:dev::agentstack::{}::x"
    state = {
        "version": 3,
        "deployment": {
            "pending_operations": [{"type": "creating"}],
            "resources": [
                {"urn": urn.format("pulumi:pulumi:Stack"), "type": "pulumi:pulumi:Stack"},
                {"urn": urn.format("random"), "type": "random:index/randomPassword:RandomPassword"},
                {"urn": urn.format("docker"), "type": "docker:index/volume:Volume"},
                {
                    "urn": urn.format("tls"),
                    "type": "tls:index/privateKey:PrivateKey",
                    "dependencies": [urn.format("docker"), urn.format("random")],
                    "propertyDependencies": {"a": [urn.format("docker")], "b": None},
                },
            ],
        },
    }
    deployment = escrow.identity(json.loads(json.dumps(state)))["deployment"]
    assert [r["type"].split(":")[0] for r in deployment["resources"]] == ["pulumi", "random", "tls"]
    assert deployment["resources"][2]["dependencies"] == [urn.format("random")]
    assert deployment["resources"][2]["propertyDependencies"] == {"a": [], "b": []}
    assert deployment["pending_operations"] == []


def test_the_credentials_of_the_second_repository_go_along(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("the-key")
    s3 = {"keyFile": "key", "bucket": "b"}
    stack_file = {"config": {"agentstack:stack": {"backup": {"s3": s3}}}}
    assert escrow.credential_files(stack_file, tmp_path) == {"key": "the-key"}
    assert escrow.credential_files({"config": {"agentstack:stack": {}}}, tmp_path) == {}
    assert escrow.credential_files({}, tmp_path) == {}


def test_a_private_file_is_private(tmp_path: Path) -> None:
    escrow.write_private(tmp_path / "file", b"x")
    assert oct((tmp_path / "file").stat().st_mode & 0o777) == "0o600"
