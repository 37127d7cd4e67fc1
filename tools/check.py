"""`make test`, `make test-fast`, `make lint`: everything that proves the product, in one pytest run.

    python3 -m tools.check all|fast|drift|recovery|alerts|lint

Lint and types are unit tests too (tests/unit/test_lint.py), so one closing line and one exit code tell all. Both are
left in `.agentstack/logs/test-result` for `.ci/run`. Exit codes: pytest's own (5, nothing collected, is a failure).
"""

import argparse
import os
import subprocess
import sys
from typing import Final

from tools import venv
from tools.console import main
from tools.layout import Layout, layout, private

TIERS: Final = {
    "all": ["-m", "not drift and not recovery and not alerts"],
    "fast": ["-m", "unit or rules"],
    "drift": ["-m", "drift"],
    "recovery": ["-m", "recovery"],
    "alerts": ["-m", "alerts"],
}
RESULT: Final = "test-result"


def environment() -> dict[str, str]:
    """The tests' environment: nothing in it that changes what Pulumi does or which stack is meant."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")}


def run_pytest(here: Layout, words: list[str]) -> tuple[int, str]:
    """Run pytest, its output shown as it comes; its exit code and its closing line."""
    python = venv.require(here)
    command = [str(python), "-m", "pytest", *words]
    closing = ""
    with subprocess.Popen(
        command, cwd=here.root, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if line.strip():
                closing = line.rstrip("\n")
    return process.returncode, closing


def work(what: str, rest: list[str]) -> int:
    """Run a tier."""
    here = layout()
    if what == "lint":
        command = [str(venv.require(here)), "-m", "tools.lint"]
        return subprocess.run(command, cwd=here.root, check=False).returncode
    code, closing = run_pytest(here, [*TIERS[what], *rest])
    private(here.logs)
    (here.logs / RESULT).write_text(f"{code}\n{closing}\n", encoding="utf-8")
    return code


def cli() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.check", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("what", choices=[*TIERS, "lint"])
    given, rest = parser.parse_known_args()
    return work(given.what, rest)


if __name__ == "__main__":
    sys.exit(main(cli))
