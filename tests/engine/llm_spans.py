"""Made-up spans of LLM applications, good and hostile, and what the metrics must say about them.

The expectation is worked out here in plain Python and by genai_prices, from what was *meant* by each span: which model
a spelling stands for is written down beside it, not computed. Nothing of the Collector's own rendering is used.
"""

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from genai_prices import Usage, calc_price

from tests.engine.collector_lab import Span

PROJECTS = ("agentstack-production", "search", "support")
LLM_KINDS = ("LLM", "EMBEDDING", "RERANKER")
OTHER_KINDS = ("CHAIN", "RETRIEVER", "TOOL", "AGENT", "GUARDRAIL", "EVALUATOR", "PROMPT")
MODELS: Sequence[tuple[str, str, str | None, str]] = (
    # How a span spells it, the label, the provider in genai_prices (None: no price is known), the name there.
    ("gpt-4o", "gpt-4o", "openai", "gpt-4o"),
    ("gpt-4o-2024-08-06", "gpt-4o", "openai", "gpt-4o-2024-08-06"),
    ("gpt-4o-2024-05-13", "gpt-4o", "openai", "gpt-4o-2024-05-13"),
    ("openai/GPT-4o-mini", "gpt-4o-mini", "openai", "gpt-4o-mini"),
    ("gpt-4.1-2025-04-14", "gpt-4.1", "openai", "gpt-4.1"),
    ("o4-mini", "o4-mini", "openai", "o4-mini"),
    ("gpt-5.2", "gpt-5.2", "openai", "gpt-5.2"),
    ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5"),
    ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5"),
    ("anthropic/claude-haiku-4-5", "claude-haiku-4-5", "anthropic", "claude-haiku-4-5"),
    ("claude-opus-4-5@20251101", "claude-opus-4-5", "anthropic", "claude-opus-4-5"),
    ("gemini-2.5-pro", "gemini-2.5-pro", "google", "gemini-2.5-pro"),
    ("models/gemini-2.5-flash", "gemini-2.5-flash", "google", "gemini-2.5-flash"),
    ("mistral-large-latest", "mistral-large-latest", "mistral", "mistral-large-latest"),
    ("text-embedding-3-small", "text-embedding-3-small", "openai", "text-embedding-3-small"),
    ("acme-llm-7b", "other", None, ""),
    ("gpt-4o\x00", "other", None, ""),
    ("x" * 5000, "other", None, ""),
)
PROVIDERS: Sequence[tuple[str, str]] = (
    ("openai", "openai"),
    ("azure.ai.openai", "azure"),
    ("Anthropic", "anthropic"),
    ("aws.bedrock", "aws"),
    ("gcp.vertex_ai", "google"),
    ("mistral_ai", "mistralai"),
    ("my-own-llm", "other"),
)
HOSTILE: Sequence[Any] = (
    *(-1, -(2**62), 2**63 - 1, 10**9, -0.5, 1e308, math.inf, -math.inf, math.nan),
    *("12", "", "a\x00b", True, [1, 2], {"a": 1}, "9" * 1000),
)
OPENINFERENCE = {
    "in": "llm.token_count.prompt",
    "out": "llm.token_count.completion",
    "cached": "llm.token_count.prompt_details.cache_read",
    "write": "llm.token_count.prompt_details.cache_write",
    "reasoning": "llm.token_count.completion_details.reasoning",
}
GENAI = {
    "in": "gen_ai.usage.input_tokens",
    "out": "gen_ai.usage.output_tokens",
    "cached": "gen_ai.usage.cache_read.input_tokens",
    "write": "gen_ai.usage.cache_creation.input_tokens",
    "reasoning": "gen_ai.usage.reasoning.output_tokens",
}
GENAI_OPERATIONS = {"LLM": "chat", "EMBEDDING": "embeddings", "TOOL": "execute_tool", "AGENT": "invoke_agent"}


def counted(value: Any) -> int | None:
    """A token count that can be believed."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value < 1_000_000_000 else None


def believable_cost(value: Any) -> float | None:
    """A cost in dollars that can be believed."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 10_000 else None


@dataclass
class Expected:
    """Sums by label values, in the order of the names in each key."""

    spans: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """project, span_kind, model, provider, root, status, cost_source."""
    traces: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """project, status."""
    tokens: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """project, model, provider, token_type."""
    cost: dict[tuple[str, ...], float] = field(default_factory=dict)
    """project, model, provider, cost_source."""
    seconds: dict[tuple[str, ...], float] = field(default_factory=dict)
    """project, span_kind, model, provider, root, status."""


class Traffic:
    """Spans in requests of one project each, and the expectation about all that were made so far."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - the same spans in every run
        self.expected = Expected()
        self.spans = 0

    def requests(self, count: int, spans_each: int) -> Iterator[tuple[str, list[Span]]]:
        """(project, spans) of one request after the other."""
        for _ in range(count):
            project = self._random.choice((*PROJECTS, f"invented-{self._random.randrange(10_000)}"))
            label = project if project in PROJECTS else "other"
            yield project, [self._span(label) for _ in range(spans_each)]

    def _span(self, project: str) -> Span:
        rng = self._random
        self.spans += 1
        calls_model = rng.random() < 0.75
        kind = rng.choice(LLM_KINDS if calls_model else OTHER_KINDS)
        genai = kind in GENAI_OPERATIONS and rng.random() < 0.4
        attributes: dict[str, Any] = {}
        if genai:
            attributes["gen_ai.operation.name"] = GENAI_OPERATIONS[kind]
        else:
            attributes["openinference.span.kind"] = rng.choice((kind, kind.lower()))
        root, error = rng.random() < 0.3, rng.random() < 0.1
        span = Span(attributes, f"{kind} call", rng.uniform(0, 40), "failed" if error else None, root)
        facts = self._call(attributes, project, genai) if calls_model else ("none", "none", "none")
        if not calls_model and rng.random() < 0.5:
            # Agents and chains report the sums of what is below them: to be counted once, and not here.
            attributes |= {OPENINFERENCE["in"]: 1000, OPENINFERENCE["out"]: 1000, "llm.model_name": "gpt-4o"}
        if rng.random() < 0.05:
            attributes |= {"model": "evil", "project": "evil", "agentstack.cost": 999.0, "agentstack.prompt": 5}
        if rng.random() < 0.002:
            attributes["input.value"] = "x" * 1_000_000
        if rng.random() < 0.05:
            attributes["user.id"] = "u\x00" + "9" * rng.choice((1, 4000))
        self._count(project, kind, facts, span)
        return span

    def _call(self, attributes: dict[str, Any], project: str, genai: bool) -> tuple[str, str, str]:
        """Model, provider and tokens of a call; (model label, provider label, cost source)."""
        rng = self._random
        spelling, label, price_provider, price_name = rng.choice(MODELS)
        provider_spelling, provider = rng.choice(PROVIDERS)
        if rng.random() < 0.03:
            label, price_provider = "unknown", None
        else:
            attributes["gen_ai.response.model" if genai else "llm.model_name"] = spelling
        if rng.random() < 0.05:
            provider = "unknown"
        else:
            attributes["gen_ai.provider.name" if genai else "llm.provider"] = provider_spelling
        counts = self._counts(attributes, GENAI if genai else OPENINFERENCE)
        parts = {
            "prompt": counts["in"] - counts["cached"] - counts["write"],
            "prompt_cached": counts["cached"],
            "prompt_cache_write": counts["write"],
            "completion": counts["out"] - counts["reasoning"],
            "reasoning": counts["reasoning"],
        }
        # Parts that don't fit into the whole stand beside it.
        parts["prompt"] = counts["in"] if parts["prompt"] < 0 else parts["prompt"]
        parts["completion"] = counts["out"] if parts["completion"] < 0 else parts["completion"]
        for token_type, tokens in parts.items():
            if tokens:
                self.expected.tokens[project, label, provider, token_type] += tokens
        source, cost = self._reported(attributes), None
        if source is not None:
            cost, source_name = source, "reported"
        elif sum(parts.values()) == 0:
            source_name = "no_usage"
        elif price_provider is None:
            source_name = "unpriced"
        else:
            source_name, cost = "table", list_price(price_provider, price_name, parts)
        if cost is not None:
            key = (project, label, provider, source_name)
            self.expected.cost[key] = self.expected.cost.get(key, 0.0) + cost
        return label, provider, source_name

    def _counts(self, attributes: dict[str, Any], names: dict[str, str]) -> dict[str, int]:
        rng = self._random
        if rng.random() < 0.05:
            return dict.fromkeys(names, 0)
        whole_in, whole_out = rng.choice((0, 17, rng.randrange(5000), rng.randrange(400_000))), rng.randrange(3000)
        wanted: dict[str, Any] = {
            "in": whole_in,
            "out": whole_out,
            "cached": rng.choice((0, 0, whole_in // 3, whole_in + 5)),
            "write": rng.choice((0, 0, whole_in // 4)),
            "reasoning": rng.choice((0, 0, whole_out // 2, whole_out + 1)),
        }
        for key, value in wanted.items():
            if rng.random() < 0.04:
                wanted[key] = rng.choice(HOSTILE)
            elif rng.random() < 0.1:
                wanted[key] = float(value)
            elif rng.random() < 0.1:
                wanted[key] = None
        attributes |= {names[key]: value for key, value in wanted.items() if value is not None}
        return {key: counted(value) or 0 for key, value in wanted.items()}

    def _reported(self, attributes: dict[str, Any]) -> float | None:
        rng = self._random
        if rng.random() > 0.12:
            return None
        if rng.random() < 0.5:
            value = rng.choice((0.0123, 0, 3, 9999.5, *HOSTILE, 10_000.0))
            attributes["llm.cost.total"] = value
            return believable_cost(value)
        first, second = rng.choice((0.25, 0.5, *HOSTILE)), rng.choice((0.75, 1))
        attributes |= {"llm.cost.prompt": first, "llm.cost.completion": second}
        cost = believable_cost(first)
        return None if cost is None else cost + second

    def _count(self, project: str, kind: str, facts: tuple[str, str, str], span: Span) -> None:
        model, provider, source = facts
        status, root = "ok" if span.error is None else "error", "true" if span.root else "false"
        self.expected.spans[project, kind, model, provider, root, status, source] += 1
        if span.root:
            self.expected.traces[project, status] += 1
        key = (project, kind, model, provider, root, status)
        # OTLP carries whole nanoseconds.
        self.expected.seconds[key] = self.expected.seconds.get(key, 0.0) + int(span.seconds * 1e9) / 1e9


def list_price(provider: str, name: str, parts: dict[str, int]) -> float:
    """What genai_prices asks for a call."""
    whole = parts["prompt"] + parts["prompt_cached"] + parts["prompt_cache_write"]
    usage = Usage(
        input_tokens=whole,
        cache_read_tokens=parts["prompt_cached"],
        cache_write_tokens=parts["prompt_cache_write"],
        output_tokens=parts["completion"] + parts["reasoning"],
    )
    return float(calc_price(usage, name, provider_id=provider).total_price)
