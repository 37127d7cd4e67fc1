"""The Collector's own telemetry and the containers', on one page for Prometheus.

The Collector serves its own metrics without TLS or a password. So it does not serve them at all: it sends them to
itself over loopback, and they leave through the same guarded exporter as the containers'.
"""

from components.collector.inputs import CollectorInputs
from components.collector.names import TELEMETRY_SERVICE
from components.collector.receive import SELF_PORT, container_receiver
from components.collector.text import Expand, Node, quoted

INTERVAL_SECONDS = 10


def own() -> Node:
    """``service.telemetry``: who it is, logs as JSON lines, metrics to itself."""
    return {
        "resource": {
            "attributes": [{"name": "service.name", "value": Expand(f"{TELEMETRY_SERVICE}-${{env:AGENTSTACK_REPLICA}}")}]
        },
        "logs": {"level": "info", "encoding": "json"},
        "metrics": {
            "level": "normal",
            "readers": [
                {
                    "periodic": {
                        "interval": INTERVAL_SECONDS * 1000,
                        "exporter": {
                            "otlp": {
                                "protocol": "http/protobuf",
                                "endpoint": f"http://127.0.0.1:{SELF_PORT}/v1/metrics",
                                "insecure": True,
                            }
                        },
                    }
                }
            ],
        },
    }


def processors(inputs: CollectorInputs) -> Node:
    """Labels for both kinds; only this stack's containers."""
    no_resource = {"context": "resource", "statements": ["keep_keys(resource.attributes, [])"]}
    return {
        # A resource attribute would be another `job` and `instance`: what identifies a series stands on its points.
        "transform/self": {
            "error_mode": "ignore",
            "metric_statements": [
                {
                    "context": "datapoint",
                    "statements": ['set(datapoint.attributes["service_name"], resource.attributes["service.name"])'],
                },
                no_resource,
            ],
        },
        "filter/containers": {
            "error_mode": "ignore",
            "metric_conditions": [f'resource.attributes["stack"] != {quoted(inputs.stack)}'],
        },
        "transform/containers": {
            "error_mode": "ignore",
            "metric_statements": [
                {
                    "context": "datapoint",
                    "statements": [
                        'set(datapoint.attributes["container"], resource.attributes["container.name"])',
                        'set(datapoint.attributes["service"], resource.attributes["service"])',
                    ],
                },
                no_resource,
            ],
        },
    }


def pipelines() -> Node:
    """Both kinds to the same page."""
    return {
        "metrics/self": {
            "receivers": ["otlp/self"],
            "processors": ["transform/self"],
            "exporters": ["prometheus/telemetry"],
        },
        "metrics/containers": {
            "receivers": [container_receiver()],
            "processors": ["filter/containers", "transform/containers"],
            "exporters": ["prometheus/telemetry"],
        },
    }
