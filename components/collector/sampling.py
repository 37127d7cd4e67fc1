"""Which spans are stored. Metrics do not come here: they are taken from every span.

Head sampling decides span by span from the trace id alone, so that all spans of a trace, wherever they come from, meet
the same fate, and so do SDKs that sample by W3C's rule. A rule for a route needs the route on *every* span of the
trace (attribute `agentstack.route`, carried by baggage): on its root alone it would store traces without a beginning.

Tail sampling sees whole traces, and holds them in memory until it decides: a Collector that dies then loses up to
`decisionWaitSeconds` of what it acknowledged.
"""

from components.collector.identity import APPLICATION
from components.collector.inputs import CollectorInputs
from components.collector.normalise import MICRO_USD, PREFIX, attr
from components.collector.text import Node, any_of, quoted

ROUTE = f"{PREFIX}route"
CLASS = f"{PREFIX}class"
_APP = f'resource.attributes["{APPLICATION}"]'
_RANDOM_BITS = 56
"""The rightmost 7 bytes of a trace id are its random part (W3C Trace Context, level 2)."""


def drop_condition(ratio: float) -> str:
    """OTTL condition: the trace is not among the share that is kept. ``ratio`` below 1."""
    if ratio <= 0:
        return "true"
    threshold = round((1.0 - ratio) * 2**_RANDOM_BITS)
    return f'Substring(span.trace_id.string, 18, 14) < "{threshold:014x}"'


def head_conditions(inputs: CollectorInputs) -> list[str]:
    """OTTL conditions under which a span is left out: by its application's rate, by its route's."""
    conditions = [
        f"{_APP} == {quoted(name)} and {drop_condition(application.head_sampling)}"
        for name, application in sorted(inputs.applications.items())
        if application.head_sampling < 1
    ]
    for rule in inputs.telemetry.routes:
        if rule.ratio < 1:
            whose = f"{_APP} == {quoted(rule.application)} and " if rule.application else ""
            conditions.append(f"{whose}{attr(ROUTE)} == {quoted(rule.route)} and {drop_condition(rule.ratio)}")
    return conditions


def class_statements(inputs: CollectorInputs) -> list[str]:
    """OTTL on a span: the class of a trace, on its root alone (on any other span it would make every trace match)."""
    hot = inputs.telemetry.tail_sampling.hot_routes
    route = attr("http.route")
    is_hot = f"IsRootSpan() and IsString({route}) and IsMatch({route}, {quoted(any_of(hot))})"
    return [
        f"delete_key(span.attributes, {quoted(CLASS)})",
        f'set({attr(CLASS)}, "normal") where IsRootSpan()',
        *([f'set({attr(CLASS)}, "hot") where {is_hot}'] if hot else []),
    ]


def _share(name: str, trace_class: str, limits: list[Node]) -> Node:
    of_class = {
        "name": f"{name}-class",
        "type": "string_attribute",
        "string_attribute": {"key": CLASS, "values": [trace_class]},
    }
    return {"name": name, "type": "and", "and": {"and_sub_policy": [of_class, *limits]}}


def _probability(name: str, ratio: float) -> Node:
    return {"name": name, "type": "probabilistic", "probabilistic": {"sampling_percentage": ratio * 100}}


def policies(inputs: CollectorInputs) -> list[Node]:
    """A trace is kept if any policy says so; the order means nothing."""
    tail = inputs.telemetry.tail_sampling
    found: list[Node] = []
    if tail.keep_errors:
        found.append({"name": "errors", "type": "status_code", "status_code": {"status_codes": ["ERROR"]}})
    if tail.slower_than_seconds is not None:
        milliseconds = int(tail.slower_than_seconds * 1000)
        found.append({"name": "slow", "type": "latency", "latency": {"threshold_ms": milliseconds}})
    if tail.costlier_than_usd is not None:
        least = int(tail.costlier_than_usd * 1_000_000)
        limits = {"key": MICRO_USD, "min_value": least, "max_value": 2**62}
        found.append({"name": "expensive", "type": "numeric_attribute", "numeric_attribute": limits})
    budget: list[Node] = []
    if tail.max_spans_per_second is not None:
        limit = {"spans_per_second": tail.max_spans_per_second}
        budget = [{"name": "budget", "type": "rate_limiting", "rate_limiting": limit}]
    if tail.hot_routes:
        found.append(_share("hot", "hot", [_probability("hot-share", tail.hot_ratio), *budget]))
    found.append(_share("rest", "normal", [_probability("rest-share", tail.ratio), *budget]))
    # Traces whose root never came have no class.
    found.append(_probability("rootless", min(tail.ratio, 0.01)))
    return found


def head_processors(inputs: CollectorInputs) -> Node:
    """The filter of head sampling; none where everything is kept."""
    conditions = head_conditions(inputs)
    return {"filter/head": {"error_mode": "silent", "trace_conditions": conditions}} if conditions else {}


def tail_processors(inputs: CollectorInputs) -> Node:
    """Tail sampling; none where it is off."""
    tail = inputs.telemetry.tail_sampling
    if not tail.enabled:
        return {}
    return {
        "tail_sampling": {
            "decision_wait": f"{tail.decision_wait_seconds}s",
            "num_traces": tail.max_traces,
            "maximum_trace_size_bytes": 16 * 1024 * 1024,
            # Late spans follow their trace's decision; far more decisions are remembered than traces held.
            "decision_cache": {
                "sampled_cache_size": tail.max_traces * 10,
                "non_sampled_cache_size": tail.max_traces * 10,
            },
            "policies": policies(inputs),
        }
    }
