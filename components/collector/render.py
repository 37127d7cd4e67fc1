"""The whole configuration of the Collector, as data: settings in, YAML out.

    otlp ─ traces/in ─┬─ forward/metrics ─ traces/metrics ─ signal_to_metrics ─ metrics/{counters,durations} ─┐
                      └─ forward/phoenix ─ traces/phoenix ─ otlp_http/phoenix (queue on disk) ─▶ Phoenix       ├▶ Prometheus
    otlp ─ metrics/applications ───────────────────────────────────────────────────────────────────────────────┤
    own telemetry, docker_stats ─ metrics/{self,containers} ────────────────────────────────────────────────────┘

Metrics are taken before anything is sampled, masked or left out; what leaves for Phoenix is.
"""

import json

from components.collector import deliver, identity, keys, normalise, prices, privacy, receive, span_metrics, telemetry
from components.collector.inputs import CollectorInputs
from components.collector.text import Expand, Node, dump
from components.names import CONFIG_DIR

CONFIG_FILE = "collector.yaml"
PRICES_FILE = "prices.json"


def render(inputs: CollectorInputs) -> Node:
    """The configuration. Plain strings are literal; see :mod:`components.collector.text`.

    Raises:
        keys.UnknownKeyError: if a key is misspelt where the Collector itself would ignore it.
    """
    limit_mib = int(inputs.settings.collector.memory_mib * 0.8)
    config: Node = {
        "extensions": receive.extensions(),
        "receivers": receive.receivers(inputs),
        "processors": {
            "memory_limiter": {
                "check_interval": "500ms",
                "limit_mib": limit_mib,
                "spike_limit_mib": int(limit_mib * 0.25),
            },
            "transform/identity": identity.processor(inputs),
            "transform/normalise": {
                "error_mode": "silent",
                "trace_statements": normalise.groups(f"{CONFIG_DIR}/{PRICES_FILE}"),
            },
            **span_metrics.processors(inputs),
            **telemetry.processors(inputs),
            **privacy.processors(inputs, deliver.BATCH_SPANS),
        },
        "connectors": {"forward/metrics": {}, "forward/phoenix": {}, **span_metrics.connectors()},
        "exporters": deliver.exporters(inputs),
        "service": {
            "extensions": list(receive.extensions()),
            "telemetry": telemetry.own(),
            "pipelines": pipelines(inputs),
        },
    }
    keys.check(config)
    return config


def pipelines(inputs: CollectorInputs) -> Node:
    """What flows where."""
    return {
        "traces/in": {
            "receivers": ["otlp"],
            "processors": ["memory_limiter", "transform/identity"],
            "exporters": ["forward/metrics", "forward/phoenix"],
        },
        "traces/metrics": {
            "receivers": ["forward/metrics"],
            "processors": ["transform/normalise", "transform/labels", "batch/metrics"],
            "exporters": ["signal_to_metrics/counters", "signal_to_metrics/durations"],
        },
        "metrics/counters": {
            "receivers": ["signal_to_metrics/counters"],
            "processors": ["transform/start", "delta_to_cumulative/counters"],
            "exporters": ["prometheus/spans"],
        },
        "metrics/durations": {
            "receivers": ["signal_to_metrics/durations"],
            "processors": ["transform/start", "delta_to_cumulative/durations"],
            "exporters": ["prometheus/spans"],
        },
        "traces/phoenix": {
            "receivers": ["forward/phoenix"],
            "processors": list(privacy.processors(inputs, deliver.BATCH_SPANS)),
            "exporters": ["otlp_http/phoenix"],
        },
        **telemetry.pipelines(),
    }


def render_prices(inputs: CollectorInputs) -> str:
    """The price table as JSON, which is an OTTL map literal too."""
    return json.dumps(prices.ottl_map(prices.price_table(inputs.telemetry)))


def render_text(inputs: CollectorInputs) -> str:
    """The configuration as YAML."""
    return dump(render(inputs))


__all__ = ["CONFIG_FILE", "PRICES_FILE", "CollectorInputs", "Expand", "pipelines", "render", "render_prices", "render_text"]
