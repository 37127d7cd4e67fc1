"""Getting a machine ready, step by step, with nothing but Python's standard library.

    python3 -m tools.bootstrap [engine] [venv] [pulumi] [state]

engine: a Docker engine that answers; venv: `.venv` as requirements.lock says; pulumi: command line, language host and
plugins; state: `.agentstack/` with state backend, passphrase and environment. Each does nothing where all is there
already. Exit codes: 0 ready, 1 a step failed, 2 bad usage or too old a Python.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - said in a sentence, before any import that needs it
    sys.exit(
        "Python 3.11 or newer is needed, this is %d.%d.\n" % sys.version_info[:2]  # noqa: UP031 - runs on old Pythons
        + "what to do: install one (Debian/Ubuntu: `apt-get install python3.11 python3.11-venv`) and say which: "
        + "make PYTHON=python3.11 up"
    )

import argparse

from tools import docker_engine, pulumi_cli, state, venv
from tools.console import Progress, main
from tools.layout import layout, private

STEPS = ("engine", "venv", "pulumi", "state")


def work(steps: list[str]) -> int:
    """Run the steps in their order."""
    here = layout()
    progress = Progress()
    private(here.home)
    private(here.logs)
    if "engine" in steps:
        docker_engine.ensure_engine(here, progress)
    if "venv" in steps:
        venv.ensure_venv(here, progress)
    if "pulumi" in steps or "state" in steps:
        found = pulumi_cli.ensure_pulumi(here, progress)
        if "state" in steps:
            values = state.variables(here, found.bin, found.home, docker_engine.host_of_context())
            state.ensure_state(here, values)
    return 0


def cli() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.bootstrap", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("steps", nargs="*", metavar="STEP", help=", ".join(STEPS) + " (default: all)")
    given = parser.parse_args()
    steps = given.steps or list(STEPS)
    if unknown := sorted(set(steps) - set(STEPS)):
        parser.error(f"unknown step {', '.join(unknown)}; there are {', '.join(STEPS)}")
    return work(steps)


if __name__ == "__main__":
    sys.exit(main(cli))
