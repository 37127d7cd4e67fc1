"""What the Collector tells Prometheus: metric names, labels and their values. Rules and dashboards import these."""

from typing import Final

SPANS: Final = "phoenix_trace_spans_total"
TRACES: Final = "phoenix_traces_total"
DURATION: Final = "phoenix_trace_duration_seconds"
TOKENS: Final = "phoenix_trace_llm_token_usage_total"
COST: Final = "phoenix_trace_llm_estimated_cost_usd_total"
"""Counters made from spans, before any sampling, and one classic histogram (``DURATION``)."""

MENDED: Final = "agentstack_mended_spans_total"
"""Spans that had to be mended before they could be stored; label ``reason`` (nul, utf8, id, session, size)."""

ZERO_FEATURE: Final = "created-timestamp-zero-ingestion"
"""The feature with which Prometheus has to run: without the zero that it puts before a new series' first value, that
value counts nothing in `increase()`."""

SPAN_LABELS: Final = ("project", "service", "model", "provider", "span_kind", "root", "status", "cost_source")
TRACE_LABELS: Final = ("project", "service", "status")
DURATION_LABELS: Final = ("project", "service", "model", "provider", "span_kind", "root", "status")
TOKEN_LABELS: Final = ("project", "service", "model", "provider", "token_type")
COST_LABELS: Final = ("project", "service", "model", "provider", "cost_source")

DURATION_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 9, 10, 11, 12.5, 15, 20, 30, 60, 120, 300)
"""Seconds. Dense around 10 s, which is an edge of its own: whether a 95th percentile is above it is exact."""

SPAN_KINDS: Final = (
    "LLM", "EMBEDDING", "RERANKER", "CHAIN", "RETRIEVER", "TOOL", "AGENT", "GUARDRAIL", "EVALUATOR", "PROMPT",
    "UNKNOWN",
)  # fmt: skip
PRICED_KINDS: Final = ("LLM", "EMBEDDING", "RERANKER")
TOKEN_TYPES: Final = ("prompt", "prompt_cached", "prompt_cache_write", "completion", "reasoning")
"""Disjoint: their sum is what was used."""
COST_SOURCES: Final = ("reported", "table", "unpriced", "no_usage", "none")
"""reported: by the span · table: from the price list · unpriced: used tokens, but has no price · no_usage: an LLM span
without token counts · none: not an LLM span. Only the first two have a cost; the next two are alerted on."""
STATUSES: Final = ("ok", "error")
OTHER: Final = "other"
"""What is not in an allow-list (model, project, provider)."""
NONE: Final = "none"
"""Model and provider of a span that calls no model."""
UNKNOWN: Final = "unknown"
"""Model or provider of an LLM span that does not say."""

TELEMETRY_SERVICE: Final = "agentstack-otel-collector"
"""``service.name`` of the Collector's own telemetry, followed by ``-N`` for replica N."""
