"""One GitHub issue per stack: opened with drift, rewritten, closed without; left alone when it could not be told."""

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentstack.drift import ticket
from agentstack.errors import CommandError

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
CLEAN: dict[str, Any] = {"stack": "dev", "clean": True, "findings": []}
UNTOLD: dict[str, Any] = {"stack": "dev", "clean": None, "findings": [], "error": "the engine is down"}
DRIFTED: dict[str, Any] = {
    "stack": "dev",
    "clean": False,
    "findings": [
        {"kind": "stopped", "resource": "agentstack-dev-phoenix", "expected": "running and healthy",
         "actual": "exited | code 1", "since": None, "repair": "start it"}
    ],
}  # fmt: skip
OURS = {"number": 7, "title": "Drift: stack dev"}
OTHER = {"number": 3, "title": "Drift: stack prod"}


def verbs(actions: list[ticket.Action]) -> list[tuple[str, ...]]:
    return [
        action.arguments[:3] if action.arguments[1] in {"close", "edit"} else action.arguments[:2] for action in actions
    ]


@pytest.mark.parametrize(
    ("report", "issues", "expected"),
    [
        (DRIFTED, [OTHER], [("label", "create"), ("issue", "create")]),
        (DRIFTED, [OTHER, OURS], [("issue", "edit", "7")]),
        (CLEAN, [OTHER, OURS], [("issue", "close", "7")]),
        (CLEAN, [OTHER], []),
        (UNTOLD, [OURS], []),
        (UNTOLD, [], []),
    ],
    ids=["opened", "rewritten", "closed", "nothing to close", "untold with one", "untold without"],
)
def test_what_becomes_of_the_issue(
    report: dict[str, Any], issues: list[dict[str, Any]], expected: list[tuple[str, ...]]
) -> None:
    assert verbs(ticket.decide(report, issues, "")) == expected


def test_the_text_is_a_table_that_holds() -> None:
    text = ticket.body(DRIFTED, "https://example.org/run/1")
    row = next(line for line in text.splitlines() if "agentstack-dev-phoenix" in line)
    assert row == "| stopped | agentstack-dev-phoenix | running and healthy | exited \\| code 1 |  | start it |"
    assert "https://example.org/run/1" in text


def test_the_run_is_named_only_in_actions() -> None:
    environment = {"GITHUB_SERVER_URL": "https://g", "GITHUB_REPOSITORY": "o/r", "GITHUB_RUN_ID": "9"}
    assert ticket.run_url(environment) == "https://g/o/r/actions/runs/9"
    assert ticket.run_url({"GITHUB_RUN_ID": "9"}) == ""


@pytest.fixture
def gh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `gh` that lists no issue and writes down what it is told."""
    log, script = tmp_path / "gh.jsonl", tmp_path / "bin" / "gh"
    script.parent.mkdir()
    script.write_text(
        f"#!{sys.executable}\n"
        "import json, sys\n"
        "words = sys.argv[1:]\n"
        "if words[:2] == ['issue', 'list']:\n"
        "    print('[]')\n"
        "else:\n"
        f"    open({str(log)!r}, 'a').write(json.dumps([words, sys.stdin.read()]) + '\\n')\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    return log


def test_drift_writes_the_summary_and_opens_the_issue(gh: Path) -> None:
    ticket.tell(DRIFTED)
    summary = (gh.parent / "summary.md").read_text()
    assert "agentstack-dev-phoenix" in summary
    calls = [json.loads(line) for line in gh.read_text().splitlines()]
    assert [words[:2] for words, _ in calls] == [["label", "create"], ["issue", "create"]]
    assert calls[1][1] == summary


def test_without_gh_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="gh command was not found"):
        ticket.tell(CLEAN)


def test_the_workflows_run_tested_commands_and_nothing_else() -> None:
    def commands(name: str) -> list[str]:
        jobs = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())["jobs"]
        return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]

    assert commands("drift.yml") == ['.venv/bin/agentstack drift --github --stack "$STACK"']
    assert commands("ci.yml") == ['sudo env "PATH=$PATH" make test']
    assert "make test" in (ROOT / "README.md").read_text()
