"""What goes out: spans to Phoenix through queues on disk, metrics to whoever scrapes.

Phoenix is spoken to by HTTP: a full Phoenix answers 503 there, which is tried again for ever, while its gRPC answer to
the same is a final refusal. A batch is sent at 1024 spans or after 5 seconds. Spans with much text go by a queue of
their own, in batches by bytes: a thousand long prompts in one request would be more than Phoenix takes.
"""

from components.collector import span_metrics
from components.collector.inputs import CollectorInputs
from components.collector.privacy import LARGE
from components.collector.receive import client_tls, server_tls
from components.collector.text import Node, quoted
from components.names import Port

BATCH_SPANS = 1024
BATCH_SECONDS = 5
EXPORT_TIMEOUT_SECONDS = 30
CONSUMERS = 2
LARGE_SPAN_BYTES = 16 * 1024
"""Text from which a span goes by the second queue: 1024 spans below it are a request of 16 MiB at most."""
LARGE_BATCH_BYTES = 8 * 1024 * 1024
SPAN_BYTES = 1024 * 1024
"""Text beyond which a span's values are cut short."""
EXPIRATION_SECONDS = 300


def _prometheus(port: int, naming: str, expiration: str) -> Node:
    return {
        "endpoint": f"0.0.0.0:{port}",
        "tls": server_tls(),
        "auth": {"authenticator": "basicauth/scrape"},
        "translation_strategy": naming,
        "without_scope_info": True,
        "metric_expiration": expiration,
    }


def _phoenix(inputs: CollectorInputs, batch: Node) -> Node:
    return {
        "endpoint": inputs.phoenix_url,
        # Level 1 costs a ninth of the default's CPU and hardly more bytes on a local network.
        "compression": "gzip",
        "compression_params": {"level": 1},
        "timeout": f"{EXPORT_TIMEOUT_SECONDS}s",
        "tls": client_tls(),
        "auth": {"authenticator": "bearertokenauth/phoenix"},
        "retry_on_failure": {
            "enabled": True,
            "initial_interval": "500ms",
            # Short: a Phoenix that said "full" has room again within seconds, and must not run dry meanwhile.
            "max_interval": "3s",
            # Never give up; the default drops what is older than 5 minutes.
            "max_elapsed_time": "0s",
        },
        "sending_queue": {
            "enabled": True,
            "storage": "file_storage/queue",
            "sizer": "bytes",
            # Two queues share the disk that the settings allow.
            "queue_size": inputs.settings.collector.queue_mib * 1024 * 1024 // 2,
            "num_consumers": CONSUMERS,
            "batch": {"flush_timeout": f"{BATCH_SECONDS}s", **batch},
        },
    }


def exporters(inputs: CollectorInputs) -> Node:
    """Phoenix twice, and three pages of metrics: one that grows too large takes no other along.

    telemetry: the Collector's own and the containers', by their plain names (no `_total`, no unit);
    spans: counters and histograms from spans, kept as long as the Collector runs;
    applications: what applications send as metrics.
    """
    expiration = f"{EXPIRATION_SECONDS}s"
    return {
        "otlp_http/phoenix": _phoenix(inputs, {"sizer": "items", "min_size": BATCH_SPANS, "max_size": BATCH_SPANS}),
        "otlp_http/phoenix-large": _phoenix(
            inputs, {"sizer": "bytes", "min_size": LARGE_BATCH_BYTES // 2, "max_size": LARGE_BATCH_BYTES}
        ),
        "prometheus/telemetry": _prometheus(Port.COLLECTOR_TELEMETRY, "UnderscoreEscapingWithoutSuffixes", expiration),
        "prometheus/spans": _prometheus(
            Port.COLLECTOR_METRICS, "UnderscoreEscapingWithSuffixes", span_metrics.EXPIRATION
        ),
        "prometheus/applications": _prometheus(
            Port.COLLECTOR_APPLICATIONS, "UnderscoreEscapingWithSuffixes", expiration
        ),
    }


def processors() -> Node:
    """Spans with much text to one queue, the others to the other."""
    large = f'span.attributes["{LARGE}"]'
    return {
        "filter/small": {"error_mode": "silent", "trace_conditions": [f"{large} == true"]},
        "filter/large": {"error_mode": "silent", "trace_conditions": [f"{large} == nil"]},
        "transform/large": {
            "error_mode": "silent",
            "trace_statements": [{"context": "span", "statements": [f"delete_key(span.attributes, {quoted(LARGE)})"]}],
        },
    }


def pipelines() -> Node:
    """From the last processor to the queues."""
    return {
        "traces/small": {
            "receivers": ["forward/small"],
            "processors": ["filter/small"],
            "exporters": ["otlp_http/phoenix"],
        },
        "traces/large": {
            "receivers": ["forward/large"],
            "processors": ["filter/large", "transform/large"],
            "exporters": ["otlp_http/phoenix-large"],
        },
    }
