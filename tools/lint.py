"""Style and types of everything that is committed: ruff, mypy, yamllint, shellcheck, hadolint.

    python -m tools.lint

The unit tests run the same checks, each as a test of its own. Exit codes: 0 clean, 1 something was found.
"""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.console import Failure, capture, main
from tools.layout import ROOT

BIN: Final = Path(sys.executable).parent


@dataclass(frozen=True)
class Check:
    """One linter: its name, its command, the files that it is given (none: it finds its own)."""

    name: str
    command: tuple[str, ...]
    files: tuple[str, ...] = ()
    finds_its_own: bool = False


def committed(root: Path = ROOT) -> list[str]:
    """Every file that git knows or would take, relative to the checkout.

    Raises:
        Failure: where git can't tell.
    """
    listed = capture(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=root)
    return sorted(name for name in listed.split("\0") if name and (root / name).is_file())


def is_shell(root: Path, name: str) -> bool:
    """A shell script by its name or by its first line."""
    if name.endswith(".sh"):
        return True
    if Path(name).suffix:
        return False
    with (root / name).open("rb") as file:
        first = file.readline(80)
    return first.startswith(b"#!") and first.split(b"/")[-1].split()[-1:] in ([b"sh"], [b"bash"], [b"dash"])


def checks(root: Path = ROOT) -> Iterator[Check]:
    """What is checked by what."""
    files = committed(root)
    shell = tuple(name for name in files if is_shell(root, name))
    yaml = tuple(name for name in files if name.endswith((".yaml", ".yml")))
    docker = tuple(name for name in files if Path(name).name.startswith("Dockerfile"))
    python = tuple(sorted({name.split("/")[0] for name in files if name.endswith(".py")}))
    yield Check("ruff", (str(BIN / "ruff"), "check", "--quiet", "--output-format", "concise"), finds_its_own=True)
    yield Check("mypy", (str(BIN / "mypy"), "--strict", "--no-error-summary"), python)
    yield Check("yamllint", (str(BIN / "yamllint"), "--strict"), yaml)
    yield Check("shellcheck", (str(BIN / "shellcheck"),), shell)
    yield Check("hadolint", (str(BIN / "hadolint"), "--no-color"), docker)


def findings(check: Check, root: Path = ROOT) -> str:
    """What a linter says; empty when it is content.

    Raises:
        Failure: when there is nothing to check, or the linter can't run.
    """
    if not check.finds_its_own and not check.files:
        raise Failure(
            f"{check.name} was given no file", "a check without anything to check proves nothing: see tools/lint.py"
        )
    try:
        done = subprocess.run(
            [*check.command, *check.files], cwd=root, capture_output=True, text=True, check=False, timeout=900
        )
    except FileNotFoundError as error:
        raise Failure(f"{check.command[0]} is missing", "run `make setup`") from error
    said = (done.stdout + done.stderr).strip()
    return said or (f"exit code {done.returncode}" if done.returncode else "") if done.returncode else ""


def work() -> int:
    """Run them all; 1 when any found something."""
    found = False
    for check in checks():
        said = findings(check)
        found = found or bool(said)
        print(f"{check.name}: {'clean' if not said else ''}", flush=True)
        if said:
            print(said, flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(work))
