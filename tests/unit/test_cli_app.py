"""The command line as a whole, with a Pulumi and a Docker that answer what real ones would."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentstack import project, psql
from agentstack.commands.observe import flatten, log_command
from agentstack.errors import CommandError
from tests.unit.test_cli_outputs import RAW
from tests.unit.test_cli_status import inspected

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]


class Machine:
    """A machine whose `pulumi` and `docker` are scripts: argument words -> (exit code, output)."""

    def __init__(self, directory: Path) -> None:
        self.bin = directory / "bin"
        self.bin.mkdir()
        # A checkout of its own: that of this machine may have been set up, and would bring its own Pulumi.
        self.checkout = directory / "checkout"
        (self.checkout / "components").mkdir(parents=True)
        (self.checkout / "components" / "names.py").touch()
        (self.checkout / "Pulumi.yaml").touch()
        self.answers: dict[str, dict[str, Any]] = {}

    def answer(self, program: str, words: str, output: Any, code: int = 0) -> None:
        """What ``program`` says when its arguments begin with ``words``."""
        text = output if isinstance(output, str) else json.dumps(output)
        self.answers.setdefault(program, {})[words] = (code, text)
        script = self.bin / program
        script.write_text(
            f"#!{sys.executable}\n"
            "import sys\n"
            f"answers = {self.answers[program]!r}\n"
            "line = ' '.join(sys.argv[1:])\n"
            "for words, (code, text) in answers.items():\n"
            "    if line.startswith(words):\n"
            "        (sys.stderr if code else sys.stdout).write(text)\n"
            "        sys.exit(code)\n"
            "sys.exit(f'unexpected: {line}')\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`agentstack ...` there."""
        environment = {"PATH": str(self.bin), "HOME": str(self.bin), "COLUMNS": "200"}
        return subprocess.run(
            [sys.executable, "-P", "-m", "agentstack", *words],
            cwd=self.checkout,
            env={**environment, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.answer("pulumi", "stack output --json --show-secrets", RAW)
    made.answer("docker", "ps", "1 2 3")
    names = ("agentstack-dev-postgres", "agentstack-dev-phoenix", "agentstack-dev-phoenix-2")
    made.answer("docker", "container inspect", [inspected(name=name) for name in names])
    made.answer("docker", "image inspect", [{"Id": "sha256:1111", "RepoTags": ["agentstack/phoenix:abc"]}])
    made.answer("docker", "stats", "\n".join(json.dumps({"Name": n, "MemUsage": "10MiB / 1GiB"}) for n in names))
    return made


def test_status_is_0_when_all_are_healthy(machine: Machine) -> None:
    done = machine.run("status", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["service"], row["health"]) for row in rows] == [
        ("postgres", "healthy"),
        ("phoenix", "healthy"),
        ("phoenix", "healthy"),
    ]
    assert {row["memory_bytes"] for row in rows} == {10 * 1024**2}


def test_status_is_1_and_names_the_sick_one(machine: Machine) -> None:
    machine.answer("docker", "container inspect", [inspected(health="unhealthy")])
    done = machine.run("status")
    assert done.returncode == 1
    assert "agentstack-dev-phoenix is unhealthy" in done.stderr
    assert "agentstack-dev-postgres is missing" in done.stderr


def test_status_is_1_when_the_engine_can_not_be_asked(machine: Machine) -> None:
    machine.answer("docker", "ps", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", code=1)
    done = machine.run("status")
    assert done.returncode == 1
    assert "Cannot connect to the Docker daemon" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_such_stack_is_usage(machine: Machine) -> None:
    machine.answers["pulumi"].clear()
    machine.answer("pulumi", "stack output", "error: no stack named 'nope' found", code=255)
    done = machine.run("outputs", "--stack", "nope")
    assert done.returncode == 2
    assert "'nope'" in done.stderr


def test_outputs_print_no_secret_unless_asked(machine: Machine) -> None:
    for words in (["outputs"], ["outputs", "--json"]):
        done = machine.run(*words)
        assert done.returncode == 0, done.stderr
        assert "smoke-token" not in done.stdout + done.stderr
        assert "https://localhost:6006" in done.stdout
    assert "smoke-token" in machine.run("outputs", "--json", "--show-secrets").stdout


def test_an_unknown_service_or_application_is_usage_and_lists_those_there_are(machine: Machine) -> None:
    done = machine.run("logs", "redis")
    assert done.returncode == 2
    assert "phoenix, postgres" in done.stderr
    done = machine.run("connect", "unknown-app")
    assert done.returncode == 2
    assert "agentstack-smoke, shop" in done.stderr


def test_without_pulumi_it_says_how_to_get_it(tmp_path: Path) -> None:
    done = Machine(tmp_path).run("status")
    assert done.returncode == 1
    assert "make up" in done.stderr


def test_usage_errors_are_2(machine: Machine) -> None:
    assert machine.run("nonsense").returncode == 2
    assert machine.run("demo", "--traces", "0").returncode == 2


def test_the_shells_variables_win_except_for_path() -> None:
    merged = project.merge_environment(
        {"PULUMI_BACKEND_URL": "file:///mine", "PATH": "/usr/bin"},
        {"PULUMI_BACKEND_URL": "file:///theirs", "PULUMI_HOME": "/p", "PATH": "/p/bin:/usr/bin"},
    )
    assert merged == {"PULUMI_BACKEND_URL": "file:///mine", "PULUMI_HOME": "/p", "PATH": "/p/bin:/usr/bin"}


def test_the_machines_variables_are_read_as_a_shell_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / ".agentstack"
    directory.mkdir()
    (directory / "env").write_text('export PULUMI_HOME="/a b/c"\nexport PATH="$PULUMI_HOME/bin:$PATH"\n')
    monkeypatch.delenv("PULUMI_HOME", raising=False)
    found = project.environment(tmp_path)
    assert found["PULUMI_HOME"] == "/a b/c"
    assert found["PATH"] == f"/a b/c/bin:{os.environ['PATH']}"


def test_outside_a_checkout_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no AgentStack checkout"):
        project.find_root(tmp_path, tmp_path)
    assert project.find_root(ROOT / "components", tmp_path) == ROOT


def test_connect_writes_the_authority_and_prints_only_exports(machine: Machine) -> None:
    machine.answer("pulumi", "config --json", {"agentstack:stack": {"value": '{"defaultProject": "mine"}'}})
    endpoints = {"phoenix": "https://localhost:6006", "otlp_grpc": "https://localhost:4317"}
    machine.answers["pulumi"].pop("stack output --json --show-secrets")
    raw = {**RAW, "endpoints": {**endpoints, "otlp_http": "https://localhost:4318"}}
    machine.answer("pulumi", "stack output --json --show-secrets", raw)
    done = machine.run("connect", "shop")
    assert done.returncode == 0, done.stderr
    assert "export PHOENIX_API_KEY=shop-token" in done.stdout
    assert "export PHOENIX_PROJECT_NAME=mine" in done.stdout
    assert all(line.startswith(("export ", "unset ")) for line in done.stdout.splitlines())
    written = machine.checkout / ".agentstack" / "dev" / "ca.crt"
    assert written.read_text() == RAW["ca_certificate"]
    assert stat.S_IMODE(written.parent.stat().st_mode) == 0o700


def test_psql_commands_carry_no_password() -> None:
    command = psql.command("agentstack-dev-postgres", "reader", ["-c", "select 1"], terminal=False)
    assert command[-7:] == ["-X", "-U", "reader", "-d", "phoenix", "-c", "select 1"]
    assert "--tty" not in command
    assert psql.command("x", "admin", [], terminal=True)[3] == "--tty"


def test_log_commands() -> None:
    assert log_command("c", follow=True, tail=0, since="10m") == [
        "docker", "logs", "--timestamps", "--tail", "all", "--follow", "--since", "10m", "c",
    ]  # fmt: skip


def test_long_outputs_are_shown_by_their_first_line() -> None:
    assert flatten({"a": {"b": ["x", "y"]}, "pem": "BEGIN\nmore\n"}) == [("a.b", "x, y"), ("pem", "BEGIN ...")]
