"""Drift as one GitHub issue per stack: opened when there is some, kept up to date, closed when there is none.

The deciding is pure; `gh`, GitHub's own command line, does the rest. Where it could not be told whether there is
drift, the issue stays as it is.
"""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agentstack.errors import CommandError

LABEL: Final = "drift"
COLUMNS: Final = ("kind", "resource", "expected", "actual", "since", "repair")


@dataclass(frozen=True)
class Action:
    """Arguments of one `gh` command; ``body`` goes to its standard input."""

    arguments: tuple[str, ...]
    body: str = ""


def title(stack: str) -> str:
    """The title by which a stack's issue is known."""
    return f"Drift: stack {stack}"


def _cell(value: Any) -> str:
    return str(value or "").replace("|", "\\|").replace("\n", " ")


def body(report: Mapping[str, Any], url: str) -> str:
    """The text of the issue, and of the job's summary."""
    if report["clean"] is None:
        lines = [f"Could not tell whether stack `{report['stack']}` has drifted: {report['error']}"]
    elif report["clean"]:
        lines = [f"Stack `{report['stack']}` is as declared."]
    else:
        lines = [
            f"Stack `{report['stack']}` is not what was declared ({len(report['findings'])} findings).",
            "",
            f"| {' | '.join(COLUMNS)} |",
            f"| {' | '.join('---' for _ in COLUMNS)} |",
            *(f"| {' | '.join(_cell(finding[key]) for key in COLUMNS)} |" for finding in report["findings"]),
            "",
            f"`agentstack repair --stack {report['stack']}` shows what would mend it; docs/drift.md has the kinds.",
        ]
    return "\n".join([*lines, "", *([f"Found by {url}"] if url else []), ""])


def decide(report: Mapping[str, Any], open_issues: Sequence[Mapping[str, Any]], url: str) -> list[Action]:
    """What to do with the issue.

    Args:
        open_issues: number and title of the open issues with our label.
    """
    numbers = sorted(issue["number"] for issue in open_issues if issue["title"] == title(report["stack"]))
    text = body(report, url)
    if report["clean"] is None:
        return []
    if report["clean"]:
        return [
            Action(("issue", "close", str(number), "--reason", "completed", "--comment", text)) for number in numbers
        ]
    if numbers:
        return [Action(("issue", "edit", str(numbers[0]), "--body-file", "-"), text)]
    return [
        Action(("label", "create", LABEL, "--force", "--description", "What runs is not what was declared")),
        Action(
            ("issue", "create", "--title", title(report["stack"]), "--label", LABEL, "--body-file", "-"),
            text,
        ),
    ]


def _gh(arguments: Sequence[str], text: str = "") -> str:
    try:
        done = subprocess.run(["gh", *arguments], capture_output=True, text=True, check=False, input=text, timeout=120)
    except FileNotFoundError as error:
        raise CommandError("the gh command was not found", "install GitHub's command line on the runner") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError("`gh` did not answer within 120 s", "try again") from error
    if done.returncode:
        raise CommandError(
            f"`gh {' '.join(arguments[:2])}` failed: {done.stderr.strip()}", "may the job's token write issues?"
        )
    return done.stdout


def run_url(environment: Mapping[str, str]) -> str:
    """The address of this run, where it is a job of GitHub Actions."""
    keys = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    if not all(environment.get(key) for key in keys):
        return ""
    server, repository, run = (environment[key] for key in keys)
    return f"{server}/{repository}/actions/runs/{run}"


def tell(report: Mapping[str, Any]) -> None:
    """Write the job's summary, and bring the stack's issue up to date.

    Raises:
        CommandError: when GitHub could not be told.
    """
    url = run_url(os.environ)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with Path(summary).open("a", encoding="utf-8") as out:
            out.write(body(report, url))
    listed = _gh(("issue", "list", "--state", "open", "--label", LABEL, "--limit", "200", "--json", "number,title"))
    for action in decide(report, json.loads(listed or "[]"), url):
        _gh(action.arguments, action.body)
