"""Realistic LLM traffic with known totals. Pure: a seed in, traces and what they add up to out.

Three applications in three projects: a support chat (retrieval-augmented), a coding agent (tools), a batch summarizer.
OpenInference's attribute names for two of them, OpenTelemetry's GenAI names for the third; cached, cache-write and
reasoning tokens as the providers report them (parts of input and output). A few calls fail. Every model has a price in
`genai_prices`; the totals' cost is computed with it, call by call.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from genai_prices import Usage, calc_price

Attribute = str | int | float | bool | Sequence[str]
TOKEN_TYPES: Final = ("prompt", "prompt_cached", "prompt_cache_write", "completion", "reasoning")
"""The Collector's token types (label `token_type`); disjoint: their sum is all tokens."""


@dataclass(frozen=True)
class Model:
    """A model as the traffic names it; ``price_provider`` is the provider's id in genai_prices."""

    name: str
    provider: str
    price_provider: str
    tokens_per_second: int
    caches: bool = False
    reasons: bool = False


GPT_4O: Final = Model("gpt-4o", "openai", "openai", 90, caches=True)
GPT_4O_MINI: Final = Model("gpt-4o-mini", "openai", "openai", 140)
O4_MINI: Final = Model("o4-mini", "openai", "openai", 150, reasons=True)
SONNET: Final = Model("claude-sonnet-4-5", "anthropic", "anthropic", 150, caches=True)
HAIKU: Final = Model("claude-haiku-4-5", "anthropic", "anthropic", 150, caches=True)
FLASH: Final = Model("gemini-2.5-flash", "google", "google", 180)
EMBEDDING: Final = Model("text-embedding-3-small", "openai", "openai", 20_000)
MODELS: Final = (GPT_4O, GPT_4O_MINI, O4_MINI, SONNET, HAIKU, FLASH, EMBEDDING)


@dataclass(frozen=True)
class Tokens:
    """Usage of one call, disjoint parts."""

    prompt: int = 0
    prompt_cached: int = 0
    prompt_cache_write: int = 0
    completion: int = 0
    reasoning: int = 0

    @property
    def all_prompt(self) -> int:
        """All that went in, as providers count it."""
        return self.prompt + self.prompt_cached + self.prompt_cache_write

    @property
    def all_completion(self) -> int:
        """All that came out, as providers count it."""
        return self.completion + self.reasoning


@dataclass(frozen=True)
class DemoSpan:
    """One span; times are milliseconds after its trace's start, ``parent`` is an index into the trace's spans."""

    name: str
    kind: str
    parent: int | None
    start_ms: int
    end_ms: int
    attributes: Mapping[str, Attribute]
    error: tuple[str, str] | None = None
    model: Model | None = None
    tokens: Tokens | None = None


@dataclass(frozen=True)
class DemoTrace:
    """One request of one application."""

    service: str
    project: str
    spans: tuple[DemoSpan, ...]

    @property
    def duration_ms(self) -> int:
        """From the first start to the last end."""
        return max(span.end_ms for span in self.spans)


def cost(model: Model, tokens: Tokens) -> Decimal:
    """US dollars for one call."""
    usage = Usage(
        input_tokens=tokens.all_prompt,
        cache_read_tokens=tokens.prompt_cached,
        cache_write_tokens=tokens.prompt_cache_write,
        output_tokens=tokens.all_completion,
    )
    return calc_price(usage, model.name, provider_id=model.price_provider).total_price


SUPPORT: Final = ("support-chat", "agentstack-demo-support")
CODING: Final = ("coding-agent", "agentstack-demo-coding")
BATCH: Final = ("batch-summarizer", "agentstack-demo-batch")
PROJECTS: Final = (SUPPORT[1], CODING[1], BATCH[1])

_QUESTIONS: Final = (
    "How do I move my subscription to another account?",
    "The invoice of last month shows a fee that I don't know. What is it?",
    "Can I pay by bank transfer, and how long does it take?",
    "My parcel is late by a week; where is it?",
    "Please send the receipt to jane.doe@example.org as well.",
)
_ANSWERS: Final = (
    "Open the account page, choose 'Transfer', and confirm with the code that we send you.",
    "It is the fee for the second seat that was added on the 3rd; you can remove the seat at any time.",
    "Yes. A transfer takes two working days; the order is shipped as soon as it has arrived.",
    "It left the depot this morning and should arrive tomorrow before noon.",
)
_TASKS: Final = (
    "Find out why the nightly import fails and propose a fix.",
    "Add a retry with backoff to the upload client.",
    "The date parser refuses leap seconds; write a failing test first.",
)
_DONE: Final = "The patch is ready; all tests pass."
_TOOLS: Final = ("search_code", "read_file", "run_tests", "git_blame")
_DOCUMENTS: Final = (
    "Refunds are made to the means of payment within 14 days.",
    "A subscription can be transferred once per billing period.",
    "Shipping takes two to four working days within the country.",
    "A second seat costs the same as the first and can be removed monthly.",
)


class _Builder:
    """Lays spans one after the other; a parent ends when its last child has."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.clock = 0
        self.spans: list[DemoSpan] = []

    def nested(
        self,
        name: str,
        kind: str,
        parent: int | None,
        attributes: Mapping[str, Attribute],
        inside: Callable[[int], tuple[str, str] | None],
    ) -> None:
        """A span around what ``inside`` adds; ``inside`` returns the error that the span ends with."""
        index = len(self.spans)
        start = self.clock
        self.spans.append(DemoSpan(name, kind, parent, start, start, attributes))
        self.clock += self.rng.randint(1, 8)
        error = inside(index)
        self.clock += self.rng.randint(1, 8)
        self.spans[index] = DemoSpan(name, kind, parent, start, self.clock, attributes, error)

    def leaf(
        self,
        name: str,
        kind: str,
        parent: int,
        milliseconds: int,
        attributes: Mapping[str, Attribute],
        *,
        error: tuple[str, str] | None = None,
        model: Model | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        """A span without children."""
        start, self.clock = self.clock, self.clock + milliseconds
        self.spans.append(DemoSpan(name, kind, parent, start, self.clock, attributes, error, model, tokens))


def _usage(rng: random.Random, model: Model, prompt: tuple[int, int], completion: tuple[int, int]) -> Tokens:
    total, out = rng.randint(*prompt), rng.randint(*completion)
    read = int(total * rng.uniform(0.3, 0.8)) if model.caches and rng.random() < 0.6 else 0
    # Only Anthropic bills what is written to the cache, and only a call that finds little there writes.
    write = rng.randint(200, 1200) if model.provider == "anthropic" and read == 0 else 0
    reasoning = int(out * rng.uniform(0.4, 0.8)) if model.reasons else 0
    return Tokens(
        prompt=max(1, total - read),
        prompt_cached=read,
        prompt_cache_write=write,
        completion=out - reasoning,
        reasoning=reasoning,
    )


@dataclass(frozen=True)
class _Call:
    """One LLM call to make: what is said, ranges of tokens, the share of calls that fail."""

    question: str
    answer: str
    prompt: tuple[int, int]
    completion: tuple[int, int]
    failing: float = 0.02
    genai: bool = False


def _openinference(model: Model, tokens: Tokens | None, wanted: _Call) -> dict[str, Attribute]:
    found: dict[str, Attribute] = {
        "llm.model_name": model.name,
        "llm.provider": model.provider,
        "llm.system": model.provider,
        "input.value": wanted.question,
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": wanted.question,
        "llm.invocation_parameters": '{"temperature": 0.2}',
    }
    if tokens is None:
        return found
    found |= {
        "output.value": wanted.answer,
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": wanted.answer,
        "llm.token_count.prompt": tokens.all_prompt,
        "llm.token_count.completion": tokens.all_completion,
        "llm.token_count.total": tokens.all_prompt + tokens.all_completion,
    }
    details = {
        "llm.token_count.prompt_details.cache_read": tokens.prompt_cached,
        "llm.token_count.prompt_details.cache_write": tokens.prompt_cache_write,
        "llm.token_count.completion_details.reasoning": tokens.reasoning,
    }
    return found | {key: value for key, value in details.items() if value}


def _genai(model: Model, tokens: Tokens | None) -> dict[str, Attribute]:
    found: dict[str, Attribute] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": model.provider,
        "gen_ai.request.model": model.name,
    }
    if tokens is None:
        return found
    return found | {
        "gen_ai.response.model": model.name,
        "gen_ai.usage.input_tokens": tokens.all_prompt,
        "gen_ai.usage.output_tokens": tokens.all_completion,
    }


_FAILURES: Final = (
    ("RateLimitError", "429 Too Many Requests: the provider's limit is reached"),
    ("APITimeoutError", "the provider did not answer within 30 s"),
)


def _call(builder: _Builder, parent: int, model: Model, wanted: _Call) -> tuple[str, str] | None:
    """One LLM call; one that fails has no usage. Returns the error."""
    rng = builder.rng
    failed = rng.random() < wanted.failing
    tokens = None if failed else _usage(rng, model, wanted.prompt, wanted.completion)
    error = rng.choice(_FAILURES) if failed else None
    milliseconds = 350 if tokens is None else 180 + tokens.all_completion * 1000 // model.tokens_per_second
    attributes = _genai(model, tokens) if wanted.genai else _openinference(model, tokens, wanted)
    name = f"chat {model.name}" if wanted.genai else "ChatCompletion"
    builder.leaf(name, "LLM", parent, milliseconds, attributes, error=error, model=model, tokens=tokens)
    return error


def _support(builder: _Builder) -> None:
    rng = builder.rng
    question, answer = rng.choice(_QUESTIONS), rng.choice(_ANSWERS)
    session = f"{SUPPORT[1]}-session-{rng.randint(1, 40)}"

    def inside(root: int) -> tuple[str, str] | None:
        tokens = Tokens(prompt=rng.randint(8, 40))
        builder.leaf(
            "embed question",
            "EMBEDDING",
            root,
            rng.randint(30, 90),
            {
                "embedding.model_name": EMBEDDING.name,
                "llm.provider": EMBEDDING.provider,
                "llm.token_count.prompt": tokens.all_prompt,
                "llm.token_count.total": tokens.all_prompt,
                "embedding.embeddings.0.embedding.text": question,
            },
            model=EMBEDDING,
            tokens=tokens,
        )
        documents: dict[str, Attribute] = {"input.value": question}
        for place, text in enumerate(rng.sample(_DOCUMENTS, 3)):
            documents[f"retrieval.documents.{place}.document.id"] = f"kb-{_DOCUMENTS.index(text)}"
            documents[f"retrieval.documents.{place}.document.content"] = text
            documents[f"retrieval.documents.{place}.document.score"] = round(rng.uniform(0.55, 0.95), 3)
        builder.leaf("search knowledge base", "RETRIEVER", root, rng.randint(15, 120), documents)
        model = rng.choices((GPT_4O_MINI, GPT_4O, HAIKU), weights=(6, 3, 3))[0]
        return _call(builder, root, model, _Call(question, answer, (600, 2400), (60, 300)))

    attributes = {
        "input.value": question, "output.value": answer, "session.id": session, "user.id": f"user-{rng.randint(1, 25)}",
    }  # fmt: skip
    builder.nested("answer question", "CHAIN", None, attributes, inside)


def _coding(builder: _Builder) -> None:
    rng = builder.rng
    task = rng.choice(_TASKS)
    model = rng.choices((SONNET, O4_MINI), weights=(3, 2))[0]

    def inside(root: int) -> tuple[str, str] | None:
        for tool in rng.sample(_TOOLS, rng.randint(1, 3)):
            _call(builder, root, model, _Call(task, f"call {tool}", (1500, 6000), (40, 160), failing=0))
            # An agent survives a tool that fails: the span is an error, the request is not.
            broken = ("ToolError", f"{tool} exited with code 1") if rng.random() < 0.05 else None
            builder.leaf(
                tool,
                "TOOL",
                root,
                rng.randint(40, 900),
                {"tool.name": tool, "tool.parameters": f'{{"query": "{task[:24]}"}}', "input.value": task},
                error=broken,
            )
        return _call(builder, root, model, _Call(task, _DONE, (3000, 9000), (150, 400), failing=0))

    builder.nested("solve task", "AGENT", None, {"input.value": task, "user.id": f"dev-{rng.randint(1, 8)}"}, inside)


def _batch(builder: _Builder) -> None:
    rng = builder.rng

    def inside(root: int) -> tuple[str, str] | None:
        for _ in range(rng.randint(1, 2)):
            error = _call(builder, root, FLASH, _Call("", "", (2000, 7000), (120, 400), genai=True))
            if error:
                return error
        return None

    builder.nested("summarize document", "CHAIN", None, {"document.pages": rng.randint(2, 30)}, inside)


_APPLICATIONS: Final[tuple[tuple[tuple[str, str], Callable[[_Builder], None], int], ...]] = (
    (SUPPORT, _support, 6),
    (CODING, _coding, 2),
    (BATCH, _batch, 2),
)


def generate(traces: int, seed: int) -> list[DemoTrace]:
    """The same ``traces`` for the same ``seed``, whatever the machine."""
    rng = random.Random(seed)  # noqa: S311 - traffic, not secrets
    result = []
    for _ in range(traces):
        (service, project), build, _ = rng.choices(_APPLICATIONS, weights=[entry[2] for entry in _APPLICATIONS])[0]
        builder = _Builder(rng)
        build(builder)
        result.append(DemoTrace(service, project, tuple(builder.spans)))
    return result


@dataclass
class _Sums:
    tokens: Counter[str] = field(default_factory=Counter)
    cost: Decimal = Decimal(0)
    requests: int = 0


def totals(traces: Sequence[DemoTrace]) -> dict[str, Any]:
    """What the traffic adds up to; money as exact decimal strings in US dollars."""
    kinds: Counter[str] = Counter()
    projects: Counter[str] = Counter()
    errors = 0
    models: dict[str, _Sums] = {}
    for trace in traces:
        for span in trace.spans:
            kinds[span.kind] += 1
            projects[trace.project] += 1
            errors += span.error is not None
            if span.model is None:
                continue
            sums = models.setdefault(span.model.name, _Sums())
            sums.requests += 1
            if span.tokens is not None:
                sums.tokens.update({kind: getattr(span.tokens, kind) for kind in TOKEN_TYPES})
                sums.cost += cost(span.model, span.tokens)
    all_tokens: Counter[str] = Counter()
    for sums in models.values():
        all_tokens.update(sums.tokens)
    return {
        "traces": len(traces),
        "spans": sum(kinds.values()),
        "errors": errors,
        "spans_by_kind": dict(sorted(kinds.items())),
        "spans_by_project": dict(sorted(projects.items())),
        "requests_by_model": {name: sums.requests for name, sums in sorted(models.items())},
        "tokens": {kind: all_tokens[kind] for kind in TOKEN_TYPES} | {"total": all_tokens.total()},
        "tokens_by_model": {
            name: {kind: sums.tokens[kind] for kind in TOKEN_TYPES} for name, sums in sorted(models.items())
        },
        "cost_usd": str(sum((sums.cost for sums in models.values()), Decimal(0))),
        "cost_usd_by_model": {name: str(sums.cost) for name, sums in sorted(models.items())},
    }


def trace_id(seed: int, run: str, number: int) -> int:
    """The id of a trace: another run of the same seed has other ids, because Phoenix keeps known spans as they are."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{run}:{number}".encode()).digest()[:16], "big") or 1


def span_id(trace: int, number: int) -> int:
    """The id of a span of a trace."""
    return int.from_bytes(hashlib.sha256(f"{trace}:{number}".encode()).digest()[:8], "big") or 1
