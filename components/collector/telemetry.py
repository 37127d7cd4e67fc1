"""The Collector's own telemetry and the containers', on one page for Prometheus.

The Collector serves its own metrics without TLS or a password. So it serves them on loopback alone and scrapes them
itself; they leave through the same guarded exporter as the containers'. (Sent to itself by OTLP, the last ones would
find nobody there when it stops, and it would end with an error.)
"""

from components.collector.inputs import CollectorInputs
from components.collector.names import TELEMETRY_SERVICE
from components.collector.receive import container_receiver
from components.collector.text import Expand, Node, quoted

INTERVAL_SECONDS = 10
SELF_PORT = 4320


def own() -> Node:
    """``service.telemetry``: who it is, logs as JSON lines, metrics on loopback by their plain names."""
    service = Expand(f"{TELEMETRY_SERVICE}-${{env:AGENTSTACK_REPLICA}}")
    page = {
        "host": "127.0.0.1",
        "port": SELF_PORT,
        "without_scope_info": True,
        "without_units": True,
        "without_type_suffix": True,
    }
    return {
        "resource": {"attributes": [{"name": "service.name", "value": service}]},
        "logs": {"level": "info", "encoding": "json"},
        "metrics": {"level": "normal", "readers": [{"pull": {"exporter": {"prometheus": page}}}]},
    }


def receivers() -> Node:
    """The scrape of itself."""
    job = {
        "job_name": "self",
        "scrape_interval": f"{INTERVAL_SECONDS}s",
        "static_configs": [{"targets": [f"127.0.0.1:{SELF_PORT}"]}],
    }
    return {"prometheus/self": {"config": {"scrape_configs": [job]}}}


def processors(inputs: CollectorInputs) -> Node:
    """Labels for both kinds; only this stack's containers."""
    no_resource = {"context": "resource", "statements": ["keep_keys(resource.attributes, [])"]}
    return {
        # About the scrape of itself, not about itself.
        "filter/self": {
            "error_mode": "ignore",
            "metric_conditions": [f"IsMatch(metric.name, {quoted('^(up|scrape_.*)$')})"],
        },
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
            "receivers": ["prometheus/self"],
            "processors": ["filter/self", "transform/self"],
            "exporters": ["prometheus/telemetry"],
        },
        "metrics/containers": {
            "receivers": [container_receiver()],
            "processors": ["filter/containers", "transform/containers"],
            "exporters": ["prometheus/telemetry"],
        },
    }
