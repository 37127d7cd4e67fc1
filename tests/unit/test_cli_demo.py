"""The demo's traffic: the same for the same seed, and its totals are what its spans say."""

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price

from agentstack import demo, demo_send
from components.collector import names

pytestmark = pytest.mark.unit

TRAFFIC = demo.generate(400, seed=7)
TOTALS = demo.totals(TRAFFIC)
SPANS = [span for trace in TRAFFIC for span in trace.spans]


def test_the_same_seed_makes_the_same_traffic_and_another_seed_another() -> None:
    assert demo.generate(50, 3) == demo.generate(50, 3)
    assert demo.generate(50, 3) != demo.generate(50, 4)


def test_counts_are_those_of_the_spans() -> None:
    assert TOTALS["traces"] == 400
    assert TOTALS["spans"] == len(SPANS) == sum(TOTALS["spans_by_kind"].values())
    assert TOTALS["spans"] == sum(TOTALS["spans_by_project"].values())
    assert TOTALS["errors"] == sum(1 for span in SPANS if span.error)


def reported(attributes: Mapping[str, object], *names: str) -> int:
    """A count that a span reports under either dialect's name."""
    for name in names:
        value = attributes.get(name, 0)
        if value:
            assert isinstance(value, int)
            return value
    return 0


def test_tokens_and_cost_are_those_that_the_attributes_report() -> None:
    """Recomputed from nothing but the attributes that are sent, as a collector would."""
    tokens: Counter[str] = Counter()
    cost = Decimal(0)
    for span in SPANS:
        attributes = dict(span.attributes)
        prompt = reported(attributes, "llm.token_count.prompt", "gen_ai.usage.input_tokens")
        completion = reported(attributes, "llm.token_count.completion", "gen_ai.usage.output_tokens")
        if not prompt:
            continue
        read = reported(attributes, "llm.token_count.prompt_details.cache_read")
        write = reported(attributes, "llm.token_count.prompt_details.cache_write")
        reasoning = reported(attributes, "llm.token_count.completion_details.reasoning")
        tokens.update(
            prompt=prompt - read - write,
            prompt_cached=read,
            prompt_cache_write=write,
            completion=completion - reasoning,
            reasoning=reasoning,
        )
        names = ("llm.model_name", "embedding.model_name", "gen_ai.response.model")
        model = next(str(attributes[name]) for name in names if name in attributes)
        provider = str(attributes.get("llm.provider", attributes.get("gen_ai.provider.name")))
        usage = Usage(input_tokens=prompt, output_tokens=completion, cache_read_tokens=read, cache_write_tokens=write)
        cost += calc_price(usage, model, provider_id=provider).total_price
    assert {kind: TOTALS["tokens"][kind] for kind in demo.TOKEN_TYPES} == dict(tokens)
    assert TOTALS["tokens"]["total"] == tokens.total()
    assert Decimal(TOTALS["cost_usd"]) == cost > 0


def test_token_types_are_the_collectors() -> None:
    assert demo.TOKEN_TYPES == names.TOKEN_TYPES


def test_every_token_type_every_model_and_every_kind_of_span_occurs() -> None:
    assert all(TOTALS["tokens"][kind] > 0 for kind in demo.TOKEN_TYPES)
    assert set(TOTALS["tokens_by_model"]) == {model.name for model in demo.MODELS}
    assert set(TOTALS["spans_by_kind"]) == {"AGENT", "CHAIN", "EMBEDDING", "LLM", "RETRIEVER", "TOOL"}
    assert set(TOTALS["spans_by_project"]) == set(demo.PROJECTS)
    assert TOTALS["errors"] > 0


def test_it_stays_below_what_would_alert() -> None:
    """Healthy traffic: few requests fail, none takes ten seconds, an hour of it costs far below 100 USD."""
    roots = [trace.spans[0] for trace in TRAFFIC]
    assert sum(1 for root in roots if root.error) / len(roots) < 0.05
    assert max(trace.duration_ms for trace in TRAFFIC) < 10_000
    assert float(TOTALS["cost_usd"]) / len(TRAFFIC) * 3600 < 100


def test_children_lie_within_their_parents() -> None:
    for trace in TRAFFIC:
        for span in trace.spans[1:]:
            assert span.parent is not None
            parent = trace.spans[span.parent]
            assert parent.start_ms <= span.start_ms <= span.end_ms <= parent.end_ms


def test_a_failed_call_has_no_usage() -> None:
    failed = [span for span in SPANS if span.kind == "LLM" and span.error]
    assert failed
    assert all(span.tokens is None and not any("token" in key for key in span.attributes) for span in failed)


def test_another_run_has_other_ids_because_known_spans_are_not_stored_again() -> None:
    first = [demo.trace_id(1, "aaaa", number) for number in range(100)]
    second = [demo.trace_id(1, "bbbb", number) for number in range(100)]
    assert len({*first, *second}) == 200


def test_the_sdks_spans_say_the_same() -> None:
    trace = next(trace for trace in TRAFFIC if any(span.error for span in trace.spans))
    spans = demo_send.to_sdk(trace, 99, end_ns=10**18)
    assert len({span.context.span_id for span in spans}) == len(spans)
    assert {span.context.trace_id for span in spans} == {99}
    assert max(span.end_time or 0 for span in spans) == 10**18
    failed = [span for span in spans if not span.status.is_ok]
    assert [span.name for span in failed] == [span.name for span in trace.spans if span.error]
    assert all(span.events[0].name == "exception" for span in failed)
    assert spans[0].parent is None
    assert spans[0].resource.attributes["openinference.project.name"] == trace.project


def test_batches_hold_all_traces_in_order_within_the_limit() -> None:
    groups = list(demo_send.batches(TRAFFIC, limit=30))
    assert [number for group in groups for number in group] == list(range(len(TRAFFIC)))
    assert all(len(group) == 1 or sum(len(TRAFFIC[n].spans) for n in group) <= 30 for group in groups)
