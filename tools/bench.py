"""`make bench`: the times and the memory that docs/performance.md tells, measured on a stack of its own.

    python -m tools.bench [--runs N]

It brings a stack up beside whatever runs here (own name, subnets, ports, state), with the images present, and takes it
down again. Exit codes: 0 measured, 1 a step failed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

from tools.console import Failure, Progress, main, seconds

NAME: Final = "tbe9c4"
AIMS: Final = {"no-op `pulumi up`": "≤ 5 s", "`pulumi preview`": "≤ 4 s", "idle resident memory": "≤ 1536 MiB"}


def timed(work: Callable[[], object]) -> float:
    """How long a piece of work takes, in seconds."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def rows(measured: dict[str, str]) -> str:
    """A Markdown table."""
    lines = ["| what | measured | aim |", "| --- | --- | --- |"]
    lines += [f"| {name} | {value} | {AIMS.get(name, '')} |" for name, value in measured.items()]
    return "\n".join(lines)


def idle_memory(status: str) -> int:
    """Resident memory of all services in MiB, from `agentstack status --json`."""
    return sum(int(row["memory_bytes"] or 0) for row in json.loads(status)) // 1024 // 1024


def measure(runs: int) -> dict[str, str]:
    """Up from nothing, up again, preview, memory after a minute's rest.

    Raises:
        Failure: when the stack does not come up.
    """
    from tests.e2e.stack import StackUnderTest

    progress = Progress()
    stack = StackUnderTest(NAME)
    environment = {**stack.environment, "AGENTSTACK_HOME": ".agentstack-test"}
    setup = [sys.executable, "-m", "tools.bootstrap", "pulumi", "state"]
    subprocess.run(setup, env={**os.environ, **environment}, check=True)
    stack.clear()
    stack.write_settings()
    try:
        with progress.step("cold up"):
            cold = timed(stack.up)
        with progress.step("up again, and preview"):
            again = ["--yes", "--skip-preview", "--non-interactive", "--stack", NAME]
            noop = [timed(lambda: stack.pulumi("up", *again)) for _ in range(runs)]
            preview = [
                timed(lambda: stack.pulumi("preview", "--non-interactive", "--stack", NAME)) for _ in range(runs)
            ]
        with progress.step("a minute's rest"):
            time.sleep(60)  # what is measured is a stack that has nothing to do
        memory = idle_memory(stack.agentstack("status", "--json", check=False).stdout)
    except AssertionError as error:
        raise Failure(f"the stack for the measurement did not come up: {error}", "does `make up` work here?") from error
    finally:
        with progress.step("taking it down"):
            stack.down(volumes=True, check=False)
            stack.clear()
    return {
        "cold `make up`, images present": seconds(cold),
        "no-op `pulumi up`": seconds(statistics.median(noop)),
        "`pulumi preview`": seconds(statistics.median(preview)),
        "idle resident memory": f"{memory} MiB",
    }


def cli() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="how often short things are measured (median; default 5)")
    print(rows(measure(parser.parse_args().runs)))
    return 0


if __name__ == "__main__":
    sys.exit(main(cli))
