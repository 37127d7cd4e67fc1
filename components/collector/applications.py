"""Metrics that applications send themselves, let through to Prometheus within bounds.

Names are those of a list, attributes those of a list with the values of a list; what is left out is summed up, what
is not on a list becomes `other`. Units are those that exist. So no application can make more series than there are
names and values, whatever it sends. Processes are kept apart by a number below `instances`, made from their instance
id, and only where they must be: delta metrics of all processes are added up (applications choose them by
OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta).
"""

from collections.abc import Mapping

from components.collector import names
from components.collector.identity import APPLICATION, resource_statements
from components.collector.inputs import CollectorInputs
from components.collector.normalise import KIND_OF_OPERATION, PROVIDER_SPELLINGS, PROVIDERS
from components.collector.prices import price_table
from components.collector.text import Node, any_of, quoted
from components.settings.telemetry import DEFAULT_APPLICATION_METRICS

MAX_STALE = "1h"
MAX_BOUNDS = 40
"""Buckets of a histogram; each is a series."""
_UNITS = ("", "1", "s", "ms", "By", "KiBy", "MiBy", "%")
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "http.request.method": ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"),
    "gen_ai.operation.name": tuple(KIND_OF_OPERATION),
    "gen_ai.token.type": ("input", "output", "prompt", "completion"),
    "rpc.system": ("grpc", "jsonrpc", "connect_rpc"),
    "db.system.name": ("postgresql", "mysql", "redis", "mongodb", "elasticsearch", "sqlite", "pinecone", "qdrant"),
    "cpu.mode": ("user", "system", "idle", "iowait"),
}
"""Attribute -> the values that it may have, besides `other`."""
_MODELS = ("gen_ai.request.model", "gen_ai.response.model")
_PROVIDER_KEYS = ("gen_ai.provider.name", "gen_ai.system")
_STATUS = "http.response.status_code"
_ERROR = "error.type"
_INSTANCE = "instance_number"


def _dp(key: str) -> str:
    return f'datapoint.attributes["{key}"]'


def kept_attributes(inputs: CollectorInputs) -> list[str]:
    """Every attribute that a data point may keep."""
    own = inputs.telemetry.application_metrics.attributes
    keys = [*ATTRIBUTES, *own, *_MODELS, *_PROVIDER_KEYS, _STATUS, _ERROR, "application", "service", _INSTANCE]
    return list(dict.fromkeys(keys))


def _lookup(mapping: Mapping[str, str], key: str) -> str:
    pairs = ", ".join(f"{quoted(name)}: {quoted(value)}" for name, value in mapping.items())
    return f"Coalesce([{{{pairs}}}])[{key}]"


def _mapped(key: str, mapping: Mapping[str, str]) -> list[str]:
    """OTTL on a data point: the value by a map, `other` where it is not in the map."""
    value, saved = _dp(key), f'datapoint.cache["{key}"]'
    return [
        f"set({saved}, ToLowerCase(String({value}))) where {value} != nil",
        f"set({value}, {quoted(names.OTHER)}) where {value} != nil",
        f"set({value}, {_lookup(mapping, saved)}) where {saved} != nil",
    ]


def _point_statements(inputs: CollectorInputs) -> list[str]:
    settings = inputs.telemetry.application_metrics
    service = 'resource.attributes["service.name"]'
    instance = 'resource.attributes["service.instance.id"]'
    number = f"FNV({instance})"
    statements = [f"keep_keys(datapoint.attributes, [{', '.join(quoted(key) for key in kept_attributes(inputs))}])"]
    for key, values in {**ATTRIBUTES, **settings.attributes}.items():
        listed = f"IsString({_dp(key)}) and IsMatch({_dp(key)}, {quoted(any_of(values))})"
        statements.append(f"set({_dp(key)}, {quoted(names.OTHER)}) where {_dp(key)} != nil and not ({listed})")
    table = {name: row.label for name, row in price_table(inputs.telemetry).items()}
    for key in _MODELS:
        statements += _mapped(key, table)
    for key in _PROVIDER_KEYS:
        statements += _mapped(key, {provider: provider for provider in PROVIDERS} | PROVIDER_SPELLINGS)
    status, error = _dp(_STATUS), _dp(_ERROR)
    return [
        *statements,
        f"set({status}, String({status})) where {status} != nil",
        f"set({status}, {quoted(names.OTHER)}) "
        f"where {status} != nil and not IsMatch({status}, {quoted('^[1-5][0-9][0-9]$')})",
        f"set({error}, {quoted(names.OTHER)}) where {error} != nil and not (IsString({error}) and "
        f"IsMatch({error}, {quoted('^([1-5][0-9][0-9]|timeout)$')}))",
        f"set({_dp('application')}, resource.attributes[{quoted(APPLICATION)}])",
        f"set({_dp('service')}, resource.attributes[{quoted(APPLICATION)}])",
        f"set({_dp('service')}, {service}) where IsString({service}) "
        f"and IsMatch({service}, {quoted(any_of(inputs.services))})",
        f"delete_key(datapoint.attributes, {quoted(_INSTANCE)})",
        f"set({_dp(_INSTANCE)}, String({number} - ({number} / {settings.instances}) * {settings.instances})) "
        f"where IsString({instance}) and metric.aggregation_temporality != AGGREGATION_TEMPORALITY_DELTA",
    ]


def processors(inputs: CollectorInputs) -> Node:
    """The processors of the applications' metrics, in the order of their way."""
    allowed = any_of([*DEFAULT_APPLICATION_METRICS, *inputs.telemetry.application_metrics.names])
    units = f"^({'|'.join(_UNITS)}|\\{{[a-z_]{{1,32}}\\}})$"
    keys = ", ".join(quoted(key) for key in kept_attributes(inputs))
    return {
        "filter/applications": {
            "error_mode": "silent",
            "metric_conditions": [
                f"not IsMatch(metric.name, {quoted(allowed)})",
                "metric.type == METRIC_DATA_TYPE_SUMMARY or metric.type == METRIC_DATA_TYPE_EXPONENTIAL_HISTOGRAM",
                f"Len(datapoint.explicit_bounds) > {MAX_BOUNDS}",
            ],
        },
        "transform/applications": {
            "error_mode": "silent",
            "metric_statements": [
                {"context": "resource", "statements": resource_statements(inputs)},
                {"context": "datapoint", "statements": _point_statements(inputs)},
                {
                    "context": "metric",
                    "statements": [
                        f'set(metric.unit, "") where not IsMatch(metric.unit, {quoted(units)})',
                        # One description for all senders of a name.
                        'set(metric.description, "")',
                        f'aggregate_on_attributes("max", [{keys}]) where metric.type == METRIC_DATA_TYPE_GAUGE',
                        f'aggregate_on_attributes("sum", [{keys}]) where metric.type != METRIC_DATA_TYPE_GAUGE',
                    ],
                },
                # Neither resource nor scope is part of a series: what tells series apart stands on their points.
                {"context": "resource", "statements": ["keep_keys(resource.attributes, [])"]},
                {
                    "context": "scope",
                    "statements": [
                        'set(scope.name, "")',
                        'set(scope.version, "")',
                        'set(scope.schema_url, "")',
                        "keep_keys(scope.attributes, [])",
                    ],
                },
            ],
        },
        "batch/applications": {"send_batch_size": 2048, "timeout": "1s"},
        # Deltas of several processes, one series: in the order of their arrival.
        "transform/arrival": {
            "error_mode": "silent",
            "metric_statements": [
                {
                    "context": "datapoint",
                    "conditions": ["metric.aggregation_temporality == AGGREGATION_TEMPORALITY_DELTA"],
                    "statements": [
                        "set(datapoint.time, Now())",
                        'set(datapoint.start_time, datapoint.time - Duration("1s"))',
                    ],
                }
            ],
        },
        "delta_to_cumulative/applications": {"max_stale": MAX_STALE, "max_streams": inputs.telemetry.max_series},
    }


def pipelines(inputs: CollectorInputs) -> Node:
    """From the applications to their page."""
    return {
        "metrics/applications": {
            "receivers": ["otlp"],
            "processors": ["memory_limiter", *processors(inputs)],
            "exporters": ["prometheus/applications"],
        }
    }
