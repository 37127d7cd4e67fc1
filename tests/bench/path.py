"""The whole path of a running stack: spans stored per second, and the time from sender to stored.

Stored means: a row of the database, counted by its own client.
"""

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import httpx
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.e2e.stack import StackUnderTest, poll
from tests.e2e.telemetry import llm_span, request, send_http

PER_REQUEST = 100
CONNECTIONS = 8
SINGLE = 200
EVERY_SECONDS = 0.1
"""Requests of one span each, for the latency, and the time between two."""


def post(client: httpx.Client, stack: StackUnderTest, project: str, spans: Sequence[Span]) -> None:
    """Send until acknowledged."""
    body = request(project, spans)
    while True:
        answer = send_http(stack, body, stack.token("bench"), client=client)
        if answer.status_code == httpx.codes.OK:
            return
        if answer.status_code not in {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE}:
            answer.raise_for_status()
        time.sleep(0.1)


@dataclass(frozen=True)
class Measured:
    """Spans stored per second; seconds from sending to stored, median and 99th percentile of single spans."""

    spans_per_second: float
    median_seconds: float
    p99_seconds: float


def measure(stack: StackUnderTest, spans: int) -> Measured:
    """Send ``spans`` over a few connections, then single ones."""
    project = "bench"
    bodies = [[llm_span() for _ in range(PER_REQUEST)] for _ in range(spans // PER_REQUEST)]

    def sender(mine: list[list[Span]]) -> None:
        with stack.client("otlp_http") as client:
            for body in mine:
                post(client, stack, project, body)

    began = time.monotonic()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for done in [pool.submit(sender, bodies[index::CONNECTIONS]) for index in range(CONNECTIONS)]:
            done.result()
    total = len(bodies) * PER_REQUEST
    poll(lambda: len(stack.stored_ids(project)) == total, 300, f"{total} spans stored", every=0.5)
    rate = total / (time.monotonic() - began)

    return Measured(rate, *latency(stack, f"{project}-single"))


def latency(stack: StackUnderTest, project: str) -> tuple[float, float]:
    """Median and 99th percentile of the time from sending a single span until the database shows it."""
    sent: dict[str, float] = {}
    seen: dict[str, float] = {}

    def send(client: httpx.Client, span: Span) -> None:
        sent[span.span_id.hex()] = time.monotonic()
        post(client, stack, project, [span])

    def look() -> bool:
        now = time.monotonic()
        for found in stack.stored_ids(project) - seen.keys():
            seen[found] = now
        return len(seen) == SINGLE

    with stack.client("otlp_http") as client, ThreadPoolExecutor(CONNECTIONS) as pool:
        watching = pool.submit(poll, look, 120, "every single span stored", 0.05)
        sending: list[Future[None]] = []
        for _ in range(SINGLE):
            sending.append(pool.submit(send, client, llm_span()))
            time.sleep(EVERY_SECONDS)
        for one in sending:
            one.result()
        watching.result()
    times = sorted(seen[one] - sent[one] for one in sent)
    return statistics.median(times), times[round(0.99 * SINGLE) - 1]


def rows(stack: StackUnderTest, spans: int) -> str:
    """A Markdown table."""
    found = measure(stack, spans)
    return "\n".join(
        [
            "| spans stored per second | sender to stored, median | p99 |",
            "| --- | --- | --- |",
            f"| {found.spans_per_second:.0f} | {found.median_seconds:.2f} s | {found.p99_seconds:.2f} s |",
        ]
    )
