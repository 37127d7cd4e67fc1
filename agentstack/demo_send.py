"""Sends the demo's traffic by OTLP/HTTP with the OpenTelemetry SDK's exporter, paced, and says where it stopped."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from agentstack import demo
from agentstack.errors import CommandError
from agentstack.smoke import advice, exporter, sdk_messages

BATCH_SPANS: Final = 200
"""Spans per request: some hundred kilobytes, far below the edge's body limit."""
_SCOPE: Final = InstrumentationScope("agentstack.demo")


def to_sdk(trace: demo.DemoTrace, trace_id: int, end_ns: int) -> list[ReadableSpan]:
    """The SDK's spans of a trace that ends at ``end_ns`` (nanoseconds since 1970)."""
    start_ns = end_ns - trace.duration_ms * 1_000_000
    resource = Resource(
        {
            "service.name": trace.service,
            "openinference.project.name": trace.project,
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
        }
    )

    def context(number: int) -> SpanContext:
        return SpanContext(
            trace_id, demo.span_id(trace_id, number), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)
        )

    spans = []
    for number, span in enumerate(trace.spans):
        end = start_ns + span.end_ms * 1_000_000
        events = []
        status = Status(StatusCode.OK)
        if span.error is not None:
            kind, message = span.error
            status = Status(StatusCode.ERROR, f"{kind}: {message}")
            events = [Event("exception", {"exception.type": kind, "exception.message": message}, timestamp=end)]
        # GenAI instrumentations know no OpenInference kind: Phoenix and the collector derive it from the attributes.
        named = {} if "gen_ai.operation.name" in span.attributes else {"openinference.span.kind": span.kind}
        spans.append(
            ReadableSpan(
                name=span.name,
                context=context(number),
                parent=None if span.parent is None else context(span.parent),
                resource=resource,
                attributes={**named, **span.attributes},
                events=events,
                kind=SpanKind.CLIENT if span.model is not None else SpanKind.INTERNAL,
                status=status,
                start_time=start_ns + span.start_ms * 1_000_000,
                end_time=end,
                instrumentation_scope=_SCOPE,
            )
        )
    return spans


def batches(traces: Sequence[demo.DemoTrace], limit: int = BATCH_SPANS) -> Iterator[list[int]]:
    """Numbers of traces, in order, at most ``limit`` spans per group (a larger trace stands alone)."""
    group: list[int] = []
    size = 0
    for number, trace in enumerate(traces):
        if group and size + len(trace.spans) > limit:
            yield group
            group, size = [], 0
        group.append(number)
        size += len(trace.spans)
    if group:
        yield group


def send(
    traces: Sequence[demo.DemoTrace],
    *,
    seed: int,
    run: str,
    endpoint: str,
    token: str,
    ca_file: Path,
    rate: float,
    progress: Callable[[int], None] = lambda _: None,
) -> list[str]:
    """Send all of it; the ids of the traces, 32 hex digits each.

    Args:
        rate: traces per second; 0 for as fast as the stack accepts.
        progress: called with the number of traces accepted so far.

    Raises:
        CommandError: at the first request that is refused for good; says how much was accepted before.
    """
    sender = exporter("http", endpoint, token, ca_file)
    started = time.monotonic()
    ids: list[str] = []
    # With a pace every trace travels by itself, as an application's would.
    groups = [[number] for number in range(len(traces))] if rate else list(batches(traces))
    try:
        for group in groups:
            if rate:
                time.sleep(max(0.0, started + group[0] / rate - time.monotonic()))
            spans = []
            for number in group:
                trace_id = demo.trace_id(seed, run, number)
                spans += to_sdk(traces[number], trace_id, time.time_ns())
            with sdk_messages() as messages:
                outcome = sender.export(spans)
            if outcome is not SpanExportResult.SUCCESS:
                reason = messages[-1] if messages else "the exporter gave no reason"
                raise CommandError(
                    f"{len(ids)} of {len(traces)} traces were accepted, then: {reason}", advice("accepted", reason)
                )
            ids += [f"{demo.trace_id(seed, run, number):032x}" for number in group]
            progress(len(ids))
    finally:
        sender.shutdown()
    return ids
