"""Names of what the rules record, and the selectors that rules and dashboards share."""

from typing import Final

from components.collector import names as collector

REQUEST_RATE: Final = "service:phoenix_requests:rate5m"
ERROR_RATIO: Final = "service:phoenix_request_errors:ratio_rate5m"
LATENCY: Final = "service:phoenix_request_duration_seconds:p{quantile}_5m"
"""Percentiles of requests: ``LATENCY.format(quantile=95)``."""
PROVIDER_ERROR_RATIO: Final = "provider:phoenix_llm_errors:ratio_rate5m"
COST_HOUR: Final = "project:phoenix_llm_cost_usd:increase1h"
COST_DAY: Final = "project:phoenix_llm_cost_usd:increase1d"
COST_TODAY: Final = "project:phoenix_llm_cost_usd:today"
COST_FORECAST: Final = "project:phoenix_llm_cost_usd:forecast_today"
USAGE_RATE: Final = "model:phoenix_llm_tokens:rate5m"
SPAN_RATE: Final = "service:phoenix_spans:rate15m"
BUDGET: Final = "agentstack_budget_usd"
"""What may be spent, as a series: labels scope (stack, project), project, period (hour, day)."""
EXPECTED_TARGETS: Final = "agentstack_expected_targets"
STATEMENT_MEAN: Final = "pg_stat_statements_mean_time_ms"
MEMORY_RATIO: Final = "container:memory_usage:ratio"
THROTTLED_RATIO: Final = "container:cpu_throttled_periods:ratio_rate5m"
QUEUE_RATIO: Final = "instance:otelcol_exporter_queue:ratio"
CERTIFICATE_END: Final = "agentstack_certificate_not_after_seconds"
BURN_RATE: Final = "slo:error_budget_burn:rate{window}"
OBJECTIVE: Final = "slo:objective:ratio"

_LLM: Final = 'span_kind="LLM"'
_ROOT: Final = 'root="true"'


def requests(metric: str, window: str, *matchers: str, function: str = "rate") -> str:
    """A rate over the requests: LLM spans and root spans, each once (``or`` drops what is both).

    Args:
        metric: one of the Collector's metrics that carry the labels ``span_kind`` and ``root``.
        matchers: further matchers, such as ``status="error"``.
    """
    more = "".join(f", {matcher}" for matcher in matchers)
    return f"({function}({metric}{{{_LLM}{more}}}[{window}]) or {function}({metric}{{{_ROOT}{more}}}[{window}]))"


SPANS: Final = collector.SPANS
TRACES: Final = collector.TRACES
DURATION: Final = collector.DURATION
TOKENS: Final = collector.TOKENS
COST: Final = collector.COST
