"""`make down`: take a stack down. Data volumes, generated secrets and the CA stay: the next `up` goes on with them.

    python -m tools.down [--stack NAME] [--volumes [--yes]]

With --volumes (after asking) nothing is left: no data, no secrets, no state. The caches stay.
Exit codes: 0 done, 1 a step failed or the question was answered with no, 2 bad usage.
"""

import argparse
import shutil
import sys
from pathlib import Path

from tools import heal
from tools.console import Failure, Progress, capture, main
from tools.driver import Stack, forget_salt, salt_of, untouched
from tools.layout import layout, stack_name


def confirmed(stack: str) -> bool:
    """Ask for the stack's name: too long a word to type by accident."""
    if not sys.stdin.isatty():
        raise Failure(
            "VOLUMES=1 deletes all data of the stack and there is nobody to ask",
            f"say so: make down STACK={stack} VOLUMES=1 YES=1",
            code=2,
        )
    print(f"This deletes all traces, metrics, backups, logins and the CA of the stack {stack!r}, for good.")
    return input(f"Type the stack's name to go on ({stack}): ").strip() == stack


def remove_rest(stack: Stack) -> None:
    """Whatever of the stack is still on the engine, data volumes included.

    Raises:
        Failure: when something can't be removed.
    """
    found = heal.look(stack.env, stack.name)
    for kind, arguments, things in (
        ("container", ["rm", "--force"], found.containers),
        ("network", ["network", "rm"], found.networks),
        ("volume", ["volume", "rm"], found.volumes),
    ):
        for thing in things:
            capture(["docker", *arguments, thing.id], stack.env, timeout_seconds=120)
            stack.progress.say(f"removed the {kind} {thing.name}")


def forget_state(state: Path, stack: str) -> None:
    """What Pulumi keeps of a stack that is removed: history, backups, the last state but one."""
    for path in (state / ".pulumi").glob(f"*/agentstack/{stack}*"):
        if path.is_dir() and path.name == stack:
            shutil.rmtree(path)
        elif path.is_file() and path.name.split(".")[0] == stack:
            path.unlink()


def take_down(name: str, *, volumes: bool, yes: bool) -> int:
    """The whole of it."""
    here = layout()
    progress = Progress()
    heal.remove_dead_locks(here.state, name)
    stack = Stack(here, name, progress)
    if not stack.exists():
        progress.say(f"there is no stack {name} in {here.state}")
        if not volumes:
            return 0
    if volumes and not yes and not confirmed(name):
        raise Failure("not confirmed; nothing was changed")
    if stack.exists():
        with untouched(stack.file):
            export = heal.heal(stack)
            forget_salt(stack.file, salt_of(export))
            if volumes:
                stack.pulumi("state", "unprotect", "--all", "--yes", "--stack", name)
                stack.operation("destroy", "pulumi destroy", "--skip-preview")
                options = ("--yes", "--force", "--preserve-config", "--remove-backups")
                stack.pulumi("stack", "rm", *options, "--stack", name)
            else:
                stack.operation("destroy", "pulumi destroy", "--skip-preview", "--exclude-protected")
    if volumes:
        remove_rest(stack)
        forget_state(here.state, name)
        shutil.rmtree(here.stack(name), ignore_errors=True)
        progress.say(f"nothing of the stack {name} is left (caches and images stay)")
    else:
        progress.say("data, logins and CA are kept: `make up` goes on with them; `make down VOLUMES=1` deletes them")
    return 0


def cli() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.down", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--stack", help="the stack (default: PULUMI_STACK, then dev)")
    parser.add_argument("--volumes", action="store_true", help="delete data, secrets and state too")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    given = parser.parse_args()
    return take_down(stack_name(given.stack), volumes=given.volumes, yes=given.yes)


if __name__ == "__main__":
    sys.exit(main(cli))
