"""What the Collector's work on a span costs: the whole pipeline beside the same Collector that only passes on.

    python -m tests.bench.collector [--seconds N]

CPU time is what is compared, not the clock: the machine may be busy with other things. Prints a Markdown table.
"""

import argparse
import http.client
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

from components.names import APPLICATION_HEADER, Port
from tests.engine.collector_lab import PROTOBUF, Collector, CollectorLab, Span, export
from tests.engine.database_lab import docker, eventually

SPANS_PER_REQUEST = 512
CONNECTIONS = 4
TEXT_BYTES = 1500
TEXT = (
    "the quick brown fox jumps over a lazy dog while considering invoices, refunds and shipping of order 12345 to "
    "Berlin at 10:30 for user number seven"
)
TICKS_PER_SECOND = 100
"""Unit of process times in /proc."""


def _text(rng: random.Random, size: int) -> str:
    vocabulary = TEXT.split()
    words: list[str] = []
    length = 0
    while length < size:
        words.append(rng.choice(vocabulary))
        length += len(words[-1]) + 1
    return " ".join(words)


def _span(rng: random.Random, number: int) -> Span:
    """A chain, a retriever and two calls of a model take turns; about 2 kB each."""
    values: dict[str, Any] = {"session.id": f"s{rng.randrange(1000)}", "user.id": f"u{rng.randrange(1000)}"}
    if number % 4 == 0:
        half = TEXT_BYTES // 2
        values |= {
            "openinference.span.kind": "CHAIN",
            "input.value": _text(rng, half),
            "output.value": _text(rng, half),
        }
    elif number % 4 == 1:
        values["openinference.span.kind"] = "RETRIEVER"
        for document in range(4):
            values[f"retrieval.documents.{document}.document.content"] = _text(rng, TEXT_BYTES // 4)
            values[f"retrieval.documents.{document}.document.score"] = 0.5
    else:
        values |= {
            "openinference.span.kind": "LLM",
            "llm.model_name": rng.choice(("gpt-4o-2024-08-06", "claude-sonnet-4-5-20250929", "acme-llm-7b")),
            "llm.provider": "openai",
            "llm.invocation_parameters": '{"temperature":0.2,"max_tokens":512}',
            "llm.token_count.prompt": rng.randrange(200, 3200),
            "llm.token_count.completion": rng.randrange(60, 660),
            "llm.token_count.prompt_details.cache_read": 128,
        }
        for message in range(4):
            values[f"llm.input_messages.{message}.message.role"] = "user"
            values[f"llm.input_messages.{message}.message.content"] = _text(rng, TEXT_BYTES // 4)
    return Span(values, "span", root=number % 4 == 0)


def requests(count: int) -> list[bytes]:
    """A few requests, to be sent over and over."""
    rng = random.Random(1)  # noqa: S311 - the same text in every run
    return [export([_span(rng, number) for number in range(SPANS_PER_REQUEST)]) for _ in range(count)]


def pass_through(config: dict[str, Any]) -> None:
    """Leave only the way from the receiver to the queue and on to Phoenix."""
    pipelines = config["service"]["pipelines"]
    for name in [name for name in pipelines if name not in {"traces/in", "metrics/self"}]:
        del pipelines[name]
    pipelines["traces/in"] |= {"processors": ["memory_limiter"], "exporters": ["otlp_http/phoenix"]}


def cpu_seconds(collector: Collector) -> float:
    """CPU time of the Collector's process so far."""
    init = docker("inspect", "-f", "{{.State.Pid}}", collector.container)
    child = Path(f"/proc/{init}/task/{init}/children").read_text().split()[0]
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def load(collector: Collector, bodies: list[bytes], seconds: float) -> int:
    """Send for a while over several connections; spans that were acknowledged."""
    acknowledged = [0] * CONNECTIONS
    port, trust = collector.port(Port.OTLP_HTTP), collector.lab.authority.trust
    headers = {"Content-Type": PROTOBUF, APPLICATION_HEADER: "chat", "Authorization": "Bearer token"}
    until = time.monotonic() + seconds

    def client(index: int) -> None:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=trust)
        while time.monotonic() < until:
            connection.request("POST", "/v1/traces", bodies[index % len(bodies)], headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                acknowledged[index] += SPANS_PER_REQUEST
        connection.close()

    clients = [threading.Thread(target=client, args=(index,)) for index in range(CONNECTIONS)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    return sum(acknowledged)


def measure(collector: Collector, bodies: list[bytes], seconds: float) -> tuple[int, float]:
    """(spans, CPU seconds), until the queue is empty again."""
    load(collector, bodies, 1)  # what is needed once is not counted
    began = cpu_seconds(collector)
    spans = load(collector, bodies, seconds)
    queued = "otelcol_exporter_queue_size"
    eventually(lambda: collector.series(Port.COLLECTOR_TELEMETRY).total(queued) == 0, "the queue is empty", 120)
    return spans, cpu_seconds(collector) - began


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.collector", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=15.0, help="how long spans are sent to each (default 15)")
    seconds = parser.parse_args().seconds
    bodies = requests(CONNECTIONS)
    lab = CollectorLab()
    try:
        lab.phoenix_only_acknowledges()
        whole = lab.start("whole", {"chat": "token"}, {"applications": {"chat": {}}})
        bare = lab.start("bare", {"chat": "token"}, {"applications": {"chat": {}}}, pass_through)
        rows = ["| Collector | spans | CPU ms per 1000 spans | spans/s and core |", "| --- | --- | --- | --- |"]
        for name, collector in (("whole pipeline", whole), ("pass-through", bare)):
            spans, cpu = measure(collector, bodies, seconds)
            rows.append(f"| {name} | {spans} | {cpu / spans * 1e6:.0f} | {spans / cpu:.0f} |")
        sys.stdout.write("\n".join(rows) + "\n")
    finally:
        lab.close()


if __name__ == "__main__":
    main()
