"""The runbooks' commands work as they stand there: each block that is marked to be run, once."""

import os
from pathlib import Path

import pytest

from tests.e2e.guide_commands import commands, on_stack
from tests.e2e.stack import ROOT, StackUnderTest

pytestmark = pytest.mark.e2e

RUNBOOKS = ROOT / "docs" / "runbooks"


def blocks() -> dict[str, str]:
    """Command -> the first runbook that has it."""
    found: dict[str, str] = {}
    for path in sorted(RUNBOOKS.glob("*.md")):
        for command in commands(path.read_text(encoding="utf-8")):
            found.setdefault(command.text, f"{path.stem}:{command.line}")
    return found


@pytest.mark.parametrize(("text", "where"), [pytest.param(text, where, id=where) for text, where in blocks().items()])
def test_a_command_of_a_runbook_works(stack: StackUnderTest, text: str, where: str, tmp_path: Path) -> None:
    path = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{stack.environment['PATH']}"
    endpoints = {key: stack.endpoint(key) for key in stack.outputs["endpoints"]}
    script = on_stack(text, stack.name, endpoints).replace(
        "localhost:6006", endpoints["phoenix"].removeprefix("https://")
    )
    done = stack.run("/bin/bash", "-o", "pipefail", "-c", f'export PATH="{path}"\n{script}', timeout=120, check=False)
    assert done.returncode == 0, f"{where}\n{script}\n{done.stdout}\n{done.stderr}"
