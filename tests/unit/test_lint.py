"""Style and types of everything that is committed, one test per linter (`make lint` runs the same)."""

from pathlib import Path

import pytest

from tools import lint
from tools.console import Failure

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("check", list(lint.checks()), ids=lambda check: check.name)
def test_the_linter_finds_nothing(check: lint.Check) -> None:
    assert lint.findings(check) == ""


def test_a_linter_finds_a_planted_fault(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import os\n")
    check = lint.Check("ruff", (str(lint.BIN / "ruff"), "check", "--isolated", "--no-cache"), ("bad.py",))
    assert "F401" in lint.findings(check, tmp_path)


def test_a_linter_without_files_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no file"):
        lint.findings(lint.Check("shellcheck", ("shellcheck",)), tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("run", "#!/bin/sh\n", True),
        ("run", "#!/usr/bin/env bash\n", True),
        ("run", "#!/usr/bin/env python3\n", False),
        ("start.sh", "", True),
        ("notes.md", "#!/bin/sh\n", False),
    ],
)
def test_shell_scripts_are_found_by_name_or_first_line(tmp_path: Path, name: str, content: str, expected: bool) -> None:
    (tmp_path / name).write_text(content)
    assert lint.is_shell(tmp_path, name) is expected
