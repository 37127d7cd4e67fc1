"""A pytest plugin: a skipped test counts as a gap unless tests/README.md lists it with its reason.

The list is a table under the heading "Skipped tests": `| test id | reason |`, where an id is a path below tests/, or a
whole node id. Loaded by conftest.py at the top, so that it holds however pytest is started.
"""

import re
from pathlib import Path

import pytest

HEADING = "## Skipped tests"
_ROW = re.compile(r"^\|\s*`(?P<test>[^`|]+)`\s*\|\s*(?P<reason>[^|]*\S)\s*\|\s*$")


def allowed_skips(readme: str) -> dict[str, str]:
    """The table of README text: test id -> reason. A row without a reason is not a listing."""
    found: dict[str, str] = {}
    inside = False
    for line in readme.splitlines():
        if line.startswith("## "):
            inside = line.strip() == HEADING
        elif inside and (row := _ROW.match(line)):
            found[row["test"].strip()] = row["reason"]
    return found


def is_listed(node_id: str, listed: dict[str, str]) -> bool:
    """A test is listed by its node id (parameters left out or in) or by its file."""
    path, _, name = node_id.partition("::")
    return bool({node_id, path, f"{path}::{name.split('[')[0]}"} & set(listed))


class SkipGuard:
    """Collects the skipped tests of a run and fails it for those that are not listed."""

    def __init__(self, readme: Path) -> None:
        self._listed = allowed_skips(readme.read_text(encoding="utf-8")) if readme.is_file() else {}
        self.unlisted: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail") and not is_listed(report.nodeid, self._listed):
            self.unlisted.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped and not is_listed(report.nodeid, self._listed):
            self.unlisted.append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unlisted and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.unlisted:
            terminalreporter.section("skipped tests that tests/README.md does not list", sep="=", red=True)
            for test in self.unlisted:
                terminalreporter.line(f"{test}: make it run, or list it with its reason under '{HEADING}'")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(SkipGuard(config.rootpath / "tests" / "README.md"), "agentstack-skip-guard")
