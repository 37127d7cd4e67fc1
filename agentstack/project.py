"""Where the project is, which stack is meant, and the environment in which Pulumi finds it.

`make up` leaves `.agentstack/env` (backend, passphrase file, PULUMI_HOME, PATH). The commands read it themselves, so
that they work in a fresh shell; what the shell sets already wins.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from agentstack.errors import CommandError

DEFAULT_STACK: Final = "dev"
StackOption = Annotated[
    str, typer.Option("--stack", "-s", envvar="PULUMI_STACK", help="The stack that is meant.", show_default=True)
]


def find_root(start: Path, package: Path) -> Path:
    """The checkout: the nearest directory with a Pulumi.yaml at or above ``start``, else where the package lies.

    Raises:
        CommandError: when there is none.
    """
    for candidate in (start, *start.parents, package):
        if (candidate / "Pulumi.yaml").is_file() and (candidate / "components" / "names.py").is_file():
            return candidate
    raise CommandError(
        f"no AgentStack checkout at or above {start}", "change into the directory that holds Pulumi.yaml and try again"
    )


def root() -> Path:
    """The checkout that the commands work on."""
    return find_root(Path.cwd(), Path(__file__).resolve().parent.parent)


def merge_environment(own: Mapping[str, str], machine: Mapping[str, str]) -> dict[str, str]:
    """The shell's variables, completed by the machine's; PATH is the machine's, which extends the shell's."""
    merged = {**machine, **own}
    if "PATH" in machine:
        merged["PATH"] = machine["PATH"]
    return merged


def environment(checkout: Path | None = None) -> dict[str, str]:
    """The variables for Pulumi: the shell's own, then those of `.agentstack/env`.

    Raises:
        CommandError: when the file can't be read as a shell does.
    """
    own = dict(os.environ)
    where = checkout or root()
    path = where / os.environ.get("AGENTSTACK_HOME", ".agentstack") / "env"
    if not path.is_file():
        return own
    done = subprocess.run(
        ["/bin/sh", "-c", '. "$1" && env -0', "sh", str(path)],
        capture_output=True,
        text=True,
        check=False,
        env=own,
        cwd=where,
    )
    if done.returncode:
        raise CommandError(f"{path} can't be read: {done.stderr.strip()}", "`make up` writes it anew")
    machine = dict(pair.split("=", 1) for pair in done.stdout.split("\0") if "=" in pair)
    return merge_environment(own, machine)


def private_directory(stack: str, checkout: Path | None = None) -> Path:
    """`.agentstack/<stack>` (0700): what belongs to this machine alone."""
    base = (checkout or root()) / ".agentstack"
    directory = base / stack
    directory.mkdir(parents=True, exist_ok=True)
    base.chmod(0o700)
    directory.chmod(0o700)
    return directory
