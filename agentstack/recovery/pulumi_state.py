"""The stack's state and its passphrase, as the escrow file carries them."""

import json
import subprocess
from pathlib import Path
from typing import Any, Final

from agentstack import project
from agentstack.errors import CommandError
from agentstack.recovery.escrow import write_private

TIMEOUT_SECONDS: Final = 300


def _pulumi(*words: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        ["pulumi", *words, "--non-interactive"],
        env=project.environment(),
        cwd=project.root(),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    if done.returncode:
        raise CommandError(f"`pulumi {' '.join(words[:2])}` failed: {done.stderr.strip()}", "run `make setup` first")
    return done.stdout


def _passphrase_path() -> Path:
    found = project.environment().get("PULUMI_CONFIG_PASSPHRASE_FILE")
    if not found:
        raise CommandError(
            "PULUMI_CONFIG_PASSPHRASE_FILE is not set",
            "`make setup` sets it up, `. .agentstack/env` shows it to a shell",
        )
    return Path(found)


def export_state(stack: str) -> tuple[dict[str, Any], str]:
    """The state, its secrets encrypted as they are, and the passphrase that opens them."""
    state: dict[str, Any] = json.loads(_pulumi("stack", "export", "--stack", stack))
    return state, _passphrase_path().read_text(encoding="utf-8").strip()


def put_passphrase(text: str) -> None:
    """Make the escrow's passphrase that of this machine.

    Raises:
        CommandError: when stacks exist here that another passphrase opens.
    """
    path = _passphrase_path()
    if path.is_file() and path.read_text(encoding="utf-8").strip() == text:
        return
    stacks = json.loads(_pulumi("stack", "ls", "--json"))
    if stacks:
        names = ", ".join(entry["name"] for entry in stacks)
        raise CommandError(
            f"this machine has the stack(s) {names}, which its own passphrase opens",
            "open the escrow file on a new machine, or with AGENTSTACK_HOME set to a new directory",
        )
    write_private(path, f"{text}\n".encode())


def import_state(stack: str, state: str) -> None:
    """Make the stack with this state.

    Raises:
        CommandError: when the stack exists and is not empty: what runs here is never replaced by an old state.
    """
    _pulumi("stack", "select", "--create", stack)
    present = json.loads(_pulumi("stack", "export", "--stack", stack))
    if len((present.get("deployment") or {}).get("resources") or []) > 1:
        raise CommandError(f"stack {stack!r} exists here and is not empty", "nothing was changed")
    _pulumi("stack", "import", "--stack", stack, stdin=state)
