"""`agentstack demo` knows what it sends: Prometheus must show the same, to the cent."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.e2e.stack import ROOT, StackUnderTest, poll

pytestmark = pytest.mark.e2e


def demo(stack: StackUnderTest, traces: int, rate: float, seed: int = 1) -> subprocess.Popen[str]:
    """`agentstack demo` in the background; its totals are the JSON on its standard output."""
    words = ["--traces", str(traces), "--rate", str(rate), "--seed", str(seed), "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "agentstack", "demo", *words],
        cwd=ROOT,
        env=stack.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def ended(running: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    """What the traffic adds up to."""
    out, _ = running.communicate(timeout=seconds)
    assert running.returncode == 0
    totals: dict[str, Any] = json.loads(out)
    return totals


def total(stack: StackUnderTest, metric: str) -> float:
    """A counter from spans, over the projects of the demo traffic."""
    rows = stack.query(f'sum({metric}{{project=~"agentstack-demo-.+"}})')
    return float(rows[0]["value"][1]) if rows else 0.0


def figures(stack: StackUnderTest) -> tuple[float, float, float, float]:
    """Spans, traces, tokens, US dollars."""
    return (
        total(stack, "phoenix_trace_spans_total"),
        total(stack, "phoenix_traces_total"),
        total(stack, "phoenix_trace_llm_token_usage_total"),
        total(stack, "phoenix_trace_llm_estimated_cost_usd_total"),
    )


def test_prometheus_shows_the_demos_totals_within_a_minute(stack: StackUnderTest) -> None:
    before = figures(stack)
    totals = ended(demo(stack, traces=60, rate=0, seed=7), 180)
    wanted = (totals["spans"], totals["traces"], totals["tokens"]["total"], float(totals["cost_usd"]))

    def arrived() -> bool:
        grown = [after - start for after, start in zip(figures(stack), before, strict=True)]
        return grown[:3] == list(wanted[:3]) and abs(grown[3] - wanted[3]) < 0.005

    poll(arrived, 60, f"spans, traces, tokens and cost grew by {wanted}")
