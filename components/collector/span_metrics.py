"""Metrics from spans: the guide's four and a count of traces, before any sampling.

    forward/metrics ─ [normalise, labels, batch] ─ signal_to_metrics ─ [start, delta_to_cumulative] ─▶ Prometheus

What to know before changing it: the batch processor is there because one goroutine keeps the timestamps of a series in
order (delta_to_cumulative drops what is not); and every point gets a start time, from which Prometheus makes the zero
sample that a new series would lack (its feature `created-timestamp-zero-ingestion`): without it the first value of a
series counts nothing in `increase()`, and the first dollar of a new model would be spent unseen.
"""

from components.collector import names
from components.collector.identity import APPLICATION, PROJECT
from components.collector.inputs import CollectorInputs
from components.collector.normalise import CACHED as READ
from components.collector.normalise import (
    COMPLETION,
    COST,
    COST_SOURCE,
    DERIVED,
    KIND,
    MAX_TOKENS,
    MODEL,
    PROMPT,
    PROVIDER,
    REASONING,
    WRITE,
    attr,
)
from components.collector.privacy import MENDED
from components.collector.text import Node, any_of, quoted

MAX_SPAN_SECONDS = 7 * 24 * 3600
"""A span that claims to have taken longer (or less than nothing) has no duration; it is counted all the same."""
HISTOGRAM_SHARE = 10
"""A histogram is about twenty series: it gets the tenth part of the counters' streams."""
EXPIRATION = "8760h"
"""Counters stay until the Collector restarts. A series that went away and came back would lose the value in between."""

TOKEN_ATTRIBUTES: dict[str, str] = {
    "prompt": PROMPT,
    "prompt_cached": READ,
    "prompt_cache_write": WRITE,
    "completion": COMPLETION,
    "reasoning": REASONING,
}


def label_statements(inputs: CollectorInputs) -> list[str]:
    """OTTL on a span: replace all attributes by the labels, each from a list of values that can't be made longer."""
    kept = ", ".join(quoted(key) for key in DERIVED)
    service, project = attr("service"), attr("project")
    resource_service, resource_project = 'resource.attributes["service.name"]', f'resource.attributes["{PROJECT}"]'
    return [
        f"keep_keys(span.attributes, [{kept}])",
        f'set({service}, resource.attributes["{APPLICATION}"])',
        f"set({service}, {resource_service}) where IsString({resource_service}) "
        f"and IsMatch({resource_service}, {quoted(any_of(inputs.services))})",
        f"set({project}, {quoted(names.OTHER)})",
        f"set({project}, {resource_project}) where IsString({resource_project}) "
        f"and IsMatch({resource_project}, {quoted(any_of(inputs.projects))})",
        f"set({attr('span_kind')}, {attr(KIND)})",
        f"set({attr('model')}, {attr(MODEL)})",
        f"set({attr('provider')}, {attr(PROVIDER)})",
        f"set({attr('cost_source')}, {attr(COST_SOURCE)})",
        f'set({attr("root")}, "false")',
        f'set({attr("root")}, "true") where IsRootSpan()',
        f'set({attr("status")}, "ok")',
        f'set({attr("status")}, "error") where span.status.code == STATUS_CODE_ERROR',
    ]


def processors(inputs: CollectorInputs) -> Node:
    """The processors that only the metrics use."""
    streams = inputs.telemetry.max_series
    return {
        "transform/labels": {
            "error_mode": "ignore",
            "trace_statements": [
                {"context": "span", "error_mode": "silent", "statements": label_statements(inputs)},
                # A resource attribute of a client's must not become part of a series' identity.
                {"context": "resource", "statements": ["keep_keys(resource.attributes, [])"]},
            ],
        },
        "batch/metrics": {"send_batch_size": 2048, "send_batch_max_size": 4096, "timeout": "1s"},
        "transform/start": {
            "error_mode": "ignore",
            "metric_statements": [
                # A second back: a scrape that runs while a series is born must not find it born in the future.
                {
                    "context": "datapoint",
                    "statements": ['set(datapoint.start_time, datapoint.time - Duration("1s"))'],
                }
            ],
        },
        "batch/mended": {"send_batch_size": 1024, "timeout": "1s"},
        "transform/now": {
            "error_mode": "ignore",
            "metric_statements": [
                {
                    "context": "datapoint",
                    "statements": [
                        "set(datapoint.time, Now())",
                        'set(datapoint.start_time, datapoint.time - Duration("1s"))',
                        f'set(datapoint.attributes["reason"], datapoint.attributes["{MENDED}"])',
                        f"delete_key(datapoint.attributes, {quoted(MENDED)})",
                    ],
                }
            ],
        },
        "delta_to_cumulative/counters": {"max_stale": EXPIRATION, "max_streams": streams},
        "delta_to_cumulative/durations": {"max_stale": EXPIRATION, "max_streams": max(100, streams // HISTOGRAM_SHARE)},
    }


def _labels(*keys: str, constant: tuple[str, str] | None = None) -> list[Node]:
    found = [{"key": key, "default_value": names.UNKNOWN} for key in keys]
    return [*found, *([{"key": constant[0], "default_value": constant[1]}] if constant else [])]


# Without an entry here *all* resource attributes would be taken along.
_NO_RESOURCE: list[Node] = [{"key": "agentstack.no-such-attribute", "optional": True}]


def _sum(name: str, description: str, unit: str, value: str, labels: list[Node], *conditions: str) -> Node:
    return {
        "name": name,
        "description": description,
        "unit": unit,
        "include_resource_attributes": _NO_RESOURCE,
        **({"conditions": list(conditions)} if conditions else {}),
        "attributes": labels,
        # The default, false, would make a gauge: no `_total`, no rate.
        "sum": {"value": value, "monotonic": True},
    }


def connectors() -> Node:
    """The connectors that make metrics: delta sums and histograms per batch.

    A span counts 1, whatever sampling its tracestate claims: an adjusted count is a client's word, without a bound.
    """
    tokens = [
        # One metric by five definitions: name, unit and description are the same, the type is a constant label.
        _sum(
            "phoenix.trace.llm.token_usage",
            "LLM tokens; the token types are disjoint.",
            "{token}",
            f"Int({attr(key)})",
            _labels("project", "service", "model", "provider", constant=("token_type", token_type)),
            f"{attr(key)} != nil and {attr(key)} > 0 and {attr(key)} < {MAX_TOKENS}",
        )
        for token_type, key in TOKEN_ATTRIBUTES.items()
    ]
    counters = [
        _sum("phoenix.trace.spans", "Spans received, before sampling.", "{span}", "1", _labels(*names.SPAN_LABELS)),
        _sum(
            "phoenix.traces",
            "Traces received, by their root spans, before sampling.",
            "{trace}",
            "1",
            _labels(*names.TRACE_LABELS),
            f'{attr("root")} == "true"',
        ),
        *tokens,
        _sum(
            "phoenix.trace.llm.estimated_cost_usd",
            "Estimated LLM cost in US dollars.",
            # Braces keep the unit out of the name.
            "{USD}",
            f"Double({attr(COST)})",
            _labels(*names.COST_LABELS),
            f"{attr(COST)} != nil",
        ),
    ]
    duration = {
        "name": "phoenix.trace.duration",
        "description": "Span duration.",
        "unit": "s",
        "include_resource_attributes": _NO_RESOURCE,
        "conditions": [
            f"span.end_time >= span.start_time and Seconds(span.end_time - span.start_time) < {MAX_SPAN_SECONDS}.0"
        ],
        "attributes": _labels(*names.DURATION_LABELS),
        "histogram": {
            "buckets": [float(bound) for bound in names.DURATION_BUCKETS],
            "count": "1",
            "value": "Seconds(span.end_time - span.start_time)",
        },
    }
    mended = _sum(
        "agentstack.mended.spans",
        "Spans that had to be mended before they could be stored.",
        "{span}",
        "1",
        [{"key": MENDED}],
    )
    return {
        "signal_to_metrics/counters": {"error_mode": "silent", "spans": counters},
        "signal_to_metrics/durations": {"error_mode": "silent", "spans": [duration]},
        "signal_to_metrics/mended": {"error_mode": "silent", "spans": [mended]},
    }


def pipelines(processors: list[str]) -> Node:
    """From spans to their page; ``processors`` are those between the spans and the connectors."""
    cumulate = ["transform/start", "delta_to_cumulative/counters"]
    return {
        "traces/metrics": {
            "receivers": ["forward/metrics"],
            "processors": processors,
            "exporters": ["signal_to_metrics/counters", "signal_to_metrics/durations"],
        },
        "metrics/counters": {
            "receivers": ["signal_to_metrics/counters"],
            "processors": cumulate,
            "exporters": ["prometheus/spans"],
        },
        "metrics/mended": {
            "receivers": ["signal_to_metrics/mended"],
            # After the batch the points get their times anew: they come from several requests at once.
            "processors": ["batch/mended", "transform/now", "delta_to_cumulative/counters"],
            "exporters": ["prometheus/spans"],
        },
        "metrics/durations": {
            "receivers": ["signal_to_metrics/durations"],
            "processors": ["transform/start", "delta_to_cumulative/durations"],
            "exporters": ["prometheus/spans"],
        },
    }
