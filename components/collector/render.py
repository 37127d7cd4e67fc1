"""The whole configuration of the Collector, as data: settings in, YAML out.

    otlp ─ traces/in ─┬─ forward/metrics ─ traces/metrics ─ signal_to_metrics ─ metrics/{counters,durations} ─▶ pages
                      └─ forward/phoenix ─ traces/phoenix ─┬─ traces/small ─ otlp_http/phoenix ─▶ Phoenix
                                                           └─ traces/large ─ otlp_http/phoenix-large ─▶ Phoenix
    otlp ─ metrics/applications ─▶ pages
    own telemetry, docker_stats ─ metrics/{self,containers} ─▶ pages for Prometheus

Metrics are taken before anything is sampled, masked or left out. On the way to Phoenix: head sampling, then mending,
masking and pseudonyms (a journal would stand here: nothing after it may lose a span), then tail sampling.
"""

import json

from components.collector import (
    applications,
    deliver,
    identity,
    keys,
    normalise,
    prices,
    privacy,
    receive,
    sampling,
    span_metrics,
    telemetry,
)
from components.collector.inputs import CollectorInputs
from components.collector.text import Node, dump, quoted
from components.names import CONFIG_DIR

CONFIG_FILE = "collector.yaml"
PRICES_FILE = "prices.json"


def _limits(inputs: CollectorInputs) -> privacy.Limits:
    return privacy.Limits(
        value_bytes=inputs.telemetry.attribute_bytes,
        attributes=inputs.telemetry.attributes_per_span,
        span_bytes=deliver.SPAN_BYTES,
        large_bytes=deliver.LARGE_SPAN_BYTES,
    )


def _limiter(memory_mib: int) -> Node:
    """Refuses what comes in (so that clients try again) long before the container's limit would end the process."""
    limit = int(memory_mib * 0.8)
    return {"memory_limiter": {"check_interval": "500ms", "limit_mib": limit, "spike_limit_mib": limit // 4}}


def _normalise(inputs: CollectorInputs) -> Node:
    groups = normalise.groups(f"{CONFIG_DIR}/{PRICES_FILE}")
    if inputs.telemetry.tail_sampling.enabled:
        groups.append({"context": "span", "statements": sampling.class_statements(inputs)})
    return {"transform/normalise": {"error_mode": "silent", "trace_statements": groups}}


def _strip() -> Node:
    """What tail sampling needed and Phoenix does not."""
    derived = (*normalise.DERIVED, sampling.CLASS)
    statements = [f"delete_key(span.attributes, {quoted(key)})" for key in derived]
    return {
        "transform/strip": {
            "error_mode": "silent",
            "trace_statements": [{"context": "span", "statements": statements}],
        }
    }


def render(inputs: CollectorInputs) -> Node:
    """The configuration. Plain strings are literal; see :mod:`components.collector.text`.

    Raises:
        keys.UnknownKeyError: if a key is misspelt where the Collector itself would ignore it.
    """
    tail = sampling.tail_processors(inputs)
    on_the_way = {
        **sampling.head_processors(inputs),
        **privacy.processors(inputs, _limits(inputs)),
        **tail,
        **(_strip() if tail else {}),
    }
    before_metrics, for_metrics = ["memory_limiter", "transform/identity"], ["transform/labels", "batch/metrics"]
    # What a span costs is worked out where it is needed: for the metrics, or before both ways if sampling asks too.
    (before_metrics if tail else for_metrics).insert(2 if tail else 0, "transform/normalise")
    config: Node = {
        "extensions": receive.extensions(),
        "receivers": {**receive.receivers(), **telemetry.receivers()},
        "processors": {
            **_limiter(inputs.settings.collector.memory_mib),
            "transform/identity": identity.processor(inputs),
            **_normalise(inputs),
            **span_metrics.processors(inputs),
            **on_the_way,
            **deliver.processors(),
            **applications.processors(inputs),
            **telemetry.processors(inputs),
        },
        "connectors": {
            **{f"forward/{name}": {} for name in ("metrics", "phoenix", "small", "large")},
            **span_metrics.connectors(),
        },
        "exporters": deliver.exporters(inputs),
        "service": {
            "extensions": list(receive.extensions()),
            "telemetry": telemetry.own(),
            "pipelines": {
                "traces/in": {
                    "receivers": ["otlp"],
                    "processors": before_metrics,
                    "exporters": ["forward/metrics", "forward/phoenix"],
                },
                **span_metrics.pipelines(for_metrics),
                "traces/phoenix": {
                    "receivers": ["forward/phoenix"],
                    "processors": list(on_the_way),
                    "exporters": ["forward/small", "forward/large", "signal_to_metrics/mended"],
                },
                **deliver.pipelines(),
                **applications.pipelines(inputs),
                **telemetry.pipelines(),
            },
        },
    }
    keys.check(config)
    return config


def render_prices(inputs: CollectorInputs) -> str:
    """The price table as JSON, which is an OTTL map literal too."""
    return json.dumps(prices.ottl_map(prices.price_table(inputs.telemetry)), indent=0)


def render_text(inputs: CollectorInputs) -> str:
    """The configuration as YAML."""
    return dump(render(inputs))
