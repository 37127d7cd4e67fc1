"""`make bench`: the figures of docs/performance.md, measured on a stack of its own and written there.

    python -m tools.bench [--runs N] [--spans N]

It brings a stack up beside whatever runs here (own name, subnets, ports, state), with the images present, and takes it
down again; then two Collectors alone. Exit codes: 0 measured, 1 a step failed.
"""

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tools.console import Failure, Progress, main, seconds

NAME: Final = "tbe9c4"
PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
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


def memory_rows(status: str) -> str:
    """Resident memory and limit of each service, MiB, from `agentstack status --json`."""
    mebibyte = 1024 * 1024
    found = [
        f"| {row['container'].split('-', 2)[2]} | {int(row['memory_bytes'] or 0) // mebibyte} "
        f"| {int(row['memory_limit_bytes'] or 0) // mebibyte} |"
        for row in json.loads(status)
    ]
    return "\n".join(["| service | resident, MiB | limit, MiB |", "| --- | --- | --- |", *found])


def machine() -> str:
    """What was measured on: processor, cores, memory, engine."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    gibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    version = ["docker", "version", "--format", "{{.Server.Version}}"]
    engine = subprocess.run(version, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    load = os.getloadavg()[0]
    return (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}: {os.cpu_count()} cores ({model}), {gibibytes:.0f} GiB, "
        f"Docker {engine}, Python {platform.python_version()}; load before the run {load:.1f}."
    )


def written(page: Path, measured: dict[str, str]) -> None:
    """Put each part between its own two marks of the page.

    Raises:
        Failure: when the page lacks the marks of a part.
    """
    text = page.read_text(encoding="utf-8")
    for name, part in measured.items():
        begin, end = f"<!-- bench:{name} -->", f"<!-- end:{name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise Failure(f"{page.name} has no place for the part {name!r}", f"put the lines {begin} and {end} there")
        text = f"{before}{begin}\n{part}\n{end}{after}"
    page.write_text(text, encoding="utf-8")


def measure(runs: int, spans: int) -> dict[str, str]:
    """Up from nothing, up again, preview, memory after a minute's rest, the path of spans; each part as Markdown.

    Raises:
        Failure: when the stack does not come up.
    """
    from tests.bench import path
    from tests.e2e.stack import StackUnderTest

    progress = Progress()
    described = machine()
    stack = StackUnderTest(NAME)
    environment = {**stack.environment, "AGENTSTACK_HOME": ".agentstack-test"}
    setup = [sys.executable, "-m", "tools.bootstrap", "pulumi", "state"]
    subprocess.run(setup, env={**os.environ, **environment}, check=True)
    stack.clear()
    stack.write_settings({"applications": {"bench": {"requestsPerSecond": 10_000, "bytesPerSecond": 1_000_000_000}}})
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
        status = stack.agentstack("status", "--json", check=False).stdout
        with progress.step("the path of spans"):
            through = path.rows(stack, spans)
    except AssertionError as error:
        raise Failure(f"the stack for the measurement did not come up: {error}", "does `make up` work here?") from error
    finally:
        with progress.step("taking it down"):
            stack.down(volumes=True, check=False)
            stack.clear()
    with progress.step("the Collector's work on a span"):
        collector = [sys.executable, "-m", "tests.bench.collector"]
        pipeline = subprocess.run(collector, check=True, capture_output=True, text=True, timeout=900).stdout.strip()
    life = {
        "cold `make up`, images present": seconds(cold),
        "no-op `pulumi up`": seconds(statistics.median(noop)),
        "`pulumi preview`": seconds(statistics.median(preview)),
        "idle resident memory": f"{idle_memory(status)} MiB",
    }
    return {
        "machine": described,
        "life": rows(life),
        "memory": memory_rows(status),
        "path": through,
        "collector": pipeline,
    }


def cli() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="how often short things are measured (median; default 5)")
    parser.add_argument("--spans", type=int, default=20_000, help="spans sent through the whole path (default 20000)")
    given = parser.parse_args()
    measured = measure(given.runs, given.spans)
    print("\n\n".join(measured.values()))
    written(PAGE, measured)
    return 0


if __name__ == "__main__":
    sys.exit(main(cli))
