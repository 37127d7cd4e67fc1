"""From a span's attributes to the few that metrics and sampling need: kind, model, provider, tokens, cost.

OpenInference and OpenTelemetry GenAI are both read; OpenInference wins where a span speaks both. Clients' values are
hostile until proven otherwise: a number counts only if it is a number within bounds, a name only if it is on a list.

The statements run with errors silent: each error would be a client's value, and one log line per span would let a
client fill the disk. What they must compute is proven span by span against genai-prices (tests/engine).
"""

from collections.abc import Sequence

from components.collector.names import NONE, OTHER, PRICED_KINDS, SPAN_KINDS, UNKNOWN
from components.collector.text import Expand, Node, any_of, quoted

PREFIX = "agentstack."
KIND, MODEL, PROVIDER = f"{PREFIX}kind", f"{PREFIX}model", f"{PREFIX}provider"
PROMPT, CACHED, WRITE = f"{PREFIX}prompt", f"{PREFIX}cached", f"{PREFIX}write"
COMPLETION, REASONING = f"{PREFIX}completion", f"{PREFIX}reasoning"
COST, COST_SOURCE, MICRO_USD = f"{PREFIX}cost", f"{PREFIX}cost_source", f"{PREFIX}micro_usd"
DERIVED = (KIND, MODEL, PROVIDER, PROMPT, CACHED, WRITE, COMPLETION, REASONING, COST, COST_SOURCE, MICRO_USD)
"""Every attribute that is set here. Each is set or deleted on every span, so that none can be injected."""

MAX_TOKENS = 1_000_000_000
MAX_COST_USD = 10_000.0
"""Bounds of what one span may claim. A counter never forgets: one absurd value would spoil it for good."""

PROVIDERS: dict[str, str] = {
    "openai": "openai", "azure": "azure", "anthropic": "anthropic", "google": "google", "aws": "aws",
    "mistralai": "mistralai", "cohere": "cohere", "deepseek": "deepseek", "xai": "xai", "groq": "groq",
    "perplexity": "perplexity", "together": "together", "fireworks": "fireworks", "cerebras": "cerebras",
    "openrouter": "openrouter", "ollama": "ollama", "vllm": "vllm", "huggingface": "huggingface",
    "nvidia": "nvidia", "ibm": "ibm", "moonshotai": "moonshotai", "voyage": "voyage", "jina": "jina",
    "litellm": "litellm",
}  # fmt: skip
PROVIDER_SPELLINGS: dict[str, str] = {
    "azure.ai.openai": "azure", "azure.ai.inference": "azure", "azure_openai": "azure", "az.ai.openai": "azure",
    "az.ai.inference": "azure", "gcp.gemini": "google", "gcp.vertex_ai": "google", "gcp.gen_ai": "google",
    "vertexai": "google", "vertex_ai": "google", "gemini": "google", "google_genai": "google",
    "aws.bedrock": "aws", "bedrock": "aws", "amazon": "aws", "mistral_ai": "mistralai", "mistral": "mistralai",
    "x_ai": "xai", "x-ai": "xai", "ibm.watsonx.ai": "ibm", "watsonx": "ibm", "together_ai": "together",
    "fireworks_ai": "fireworks", "moonshot_ai": "moonshotai", "hugging_face": "huggingface",
}  # fmt: skip
"""Spellings of the semantic conventions and of instrumentations -> label."""

KIND_OF_OPERATION: dict[str, str] = {
    "chat": "LLM", "text_completion": "LLM", "generate_content": "LLM", "embeddings": "EMBEDDING",
    "execute_tool": "TOOL", "retrieval": "RETRIEVER", "create_agent": "AGENT", "invoke_agent": "AGENT",
    "plan": "AGENT", "invoke_workflow": "CHAIN",
}  # fmt: skip
"""``gen_ai.operation.name`` -> span kind."""

_MODEL_SOURCES = (
    "llm.model_name", "embedding.model_name", "reranker.model_name", "gen_ai.response.model", "gen_ai.request.model",
)  # fmt: skip
_PROVIDER_SOURCES = ("llm.provider", "gen_ai.provider.name", "gen_ai.system", "llm.system")
TOKEN_SOURCES: dict[str, tuple[str, ...]] = {
    "in": ("llm.token_count.prompt", "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    "out": ("llm.token_count.completion", "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    CACHED: ("llm.token_count.prompt_details.cache_read", "gen_ai.usage.cache_read.input_tokens"),
    WRITE: ("llm.token_count.prompt_details.cache_write", "gen_ai.usage.cache_creation.input_tokens"),
    REASONING: ("llm.token_count.completion_details.reasoning", "gen_ai.usage.reasoning.output_tokens"),
}
"""What is counted -> where it stands, the first valid one wins. Cached and written tokens are part of ``in``,
reasoning tokens of ``out``, in both conventions."""


def attr(key: str) -> str:
    """The OTTL path of a span attribute."""
    return f'span.attributes["{key}"]'


def cached(key: str) -> str:
    """The OTTL path of a value that lives only while one span passes one group of statements."""
    return f'span.cache["{key}"]'


def is_priced_kind() -> str:
    """OTTL condition: the span calls a model."""
    return " or ".join(f"{attr(KIND)} == {quoted(kind)}" for kind in PRICED_KINDS)


def _lookup(mapping: dict[str, str], key: str) -> str:
    """OTTL value: ``mapping[key]``. A literal map is built once, and an index into it copies nothing."""
    pairs = ", ".join(f"{quoted(name)}: {quoted(value)}" for name, value in mapping.items())
    return f"Coalesce([{{{pairs}}}])[{key}]"


def kind_statements() -> list[str]:
    """OTTL on a span: its kind, from either convention; UNKNOWN for any other span."""
    declared, operation = attr("openinference.span.kind"), attr("gen_ai.operation.name")
    return [
        f'set({attr(KIND)}, "UNKNOWN")',
        f"set({attr(KIND)}, {_lookup(KIND_OF_OPERATION, operation)}) where IsString({operation})",
        f"set({attr(KIND)}, ToUpperCase({declared})) where IsString({declared}) "
        f"and IsMatch({declared}, {quoted('(?i)' + any_of(SPAN_KINDS))})",
    ]


def _first_string(target: str, sources: Sequence[str]) -> list[str]:
    # Written from the last source to the first: the first one that is there wins.
    return [
        f'set({target}, {attr(source)}) where IsString({attr(source)}) and {attr(source)} != ""'
        for source in reversed(sources)
    ]


def _first_count(target: str, sources: Sequence[str]) -> list[str]:
    return [
        f"set({target}, Int({attr(source)})) where (IsInt({attr(source)}) or IsDouble({attr(source)})) "
        f"and {attr(source)} >= 0 and {attr(source)} < {MAX_TOKENS}"
        for source in reversed(sources)
    ]


def model_statements(prices_file: str) -> list[str]:
    """OTTL on an LLM span: the row of the price table for its model, and the labels of model and provider.

    Args:
        prices_file: path of the table (JSON) inside the container.
    """
    name, plain, row = cached("name"), cached("plain"), cached("row")
    table = f"Coalesce([${{file:{prices_file}}}])"
    vendors = "^((us|eu|apac|global|regional)\\.)?(anthropic|amazon|meta|cohere|mistral|openai)\\."
    provider = cached("provider")
    return [
        f'set({name}, "")',
        *_first_string(name, _MODEL_SOURCES),
        f"set({name}, Substring({name}, 0, 200)) where Len({name}) > 200",
        f"set({name}, ToLowerCase({name}))",
        f'replace_pattern({name}, "^.*/", "") where Index({name}, "/") >= 0',
        Expand(f"set({row}, {table}[{name}])"),
        f"set({plain}, {name}) where {row} == nil",
        f'replace_pattern({plain}, {quoted(vendors)}, "") where {row} == nil',
        Expand(f'replace_pattern({plain}, {quoted("-v[0-9]+(:[0-9]+)?$$")}, "") where {row} == nil'),
        Expand(
            f"replace_pattern({plain}, {quoted('[-@](20[0-9]{2}-?[01][0-9]-?[0-3][0-9]|[0-9]{4})$$')}, "
            f'"") where {row} == nil'
        ),
        Expand(f"set({row}, {table}[{plain}]) where {row} == nil"),
        f"set({attr(MODEL)}, {quoted(OTHER)})",
        f'set({attr(MODEL)}, {quoted(UNKNOWN)}) where {name} == ""',
        f'set({attr(MODEL)}, {row}["m"]) where {row} != nil',
        f'set({provider}, "")',
        *_first_string(provider, _PROVIDER_SOURCES),
        f"set({attr(PROVIDER)}, {quoted(OTHER)})",
        f'set({attr(PROVIDER)}, {quoted(UNKNOWN)}) where {provider} == ""',
        f"set({attr(PROVIDER)}, {_lookup({p: p for p in PROVIDERS} | PROVIDER_SPELLINGS, f'ToLowerCase({provider})')}) "
        f'where {provider} != ""',
    ]


def token_statements() -> list[str]:
    """OTTL on an LLM span: disjoint token counts, and the input's length that long-prompt rates go by."""
    total_in, total_out = cached("in"), cached("out")
    prompt, reads, writes = attr(PROMPT), attr(CACHED), attr(WRITE)
    completion, reasoning = attr(COMPLETION), attr(REASONING)
    statements = []
    for target, sources in TOKEN_SOURCES.items():
        path = attr(target) if target.startswith(PREFIX) else cached(target)
        statements += [f"set({path}, 0)", *_first_count(path, sources)]
    # An instrumentation that reports the parts beside the whole, not within it, would give a negative rest.
    return [
        *statements,
        f"set({prompt}, {total_in} - {reads} - {writes})",
        f"set({prompt}, {total_in}) where {prompt} < 0",
        f"set({completion}, {total_out} - {reasoning})",
        f"set({completion}, {total_out}) where {completion} < 0",
        f"set({cached('length')}, {prompt} + {reads} + {writes})",
    ]


def _number_within(path: str) -> str:
    return f"(IsDouble({path}) or IsInt({path})) and {path} >= 0.0 and {path} < {MAX_COST_USD}"


def cost_statements() -> list[str]:
    """OTTL on an LLM span: its cost in US dollars and where that comes from. A missing cost is never a silent 0."""
    total, part_in, part_out = attr("llm.cost.total"), attr("llm.cost.prompt"), attr("llm.cost.completion")
    row, cost, source = cached("row"), attr(COST), attr(COST_SOURCE)
    used = f"{cached('length')} + {attr(COMPLETION)} + {attr(REASONING)}"

    def table(suffix: str) -> str:
        rates = [
            (f"Double({attr(PROMPT)})", "i"),
            (f"Double({attr(CACHED)})", "c"),
            (f"Double({attr(WRITE)})", "w"),
            (f"Double({attr(COMPLETION)} + {attr(REASONING)})", "o"),
        ]
        return " + ".join(f'{count} * {row}["{rate}{suffix}"]' for count, rate in rates)

    long = f'{row}["t"] != nil and {cached("length")} > {row}["t"]'
    return [
        f"delete_key(span.attributes, {quoted(COST)})",
        f"set({cost}, Double({part_in}) + Double({part_out})) "
        f"where {_number_within(part_in)} and {_number_within(part_out)}",
        f"set({cost}, Double({total})) where {_number_within(total)}",
        f'set({source}, "reported")',
        f'set({source}, "table") where {cost} == nil',
        f'set({source}, "no_usage") where {cost} == nil and {used} <= 0',
        f'set({source}, "unpriced") where {source} == "table" and ({row} == nil or {row}["i"] == nil)',
        f'set({cost}, ({table("")}) / 1000000.0) where {source} == "table"',
        f'set({cost}, ({table("2")}) / 1000000.0) where {source} == "table" and {long}',
        f"set({attr(MICRO_USD)}, 0)",
        f"set({attr(MICRO_USD)}, Int({cost} * 1000000.0)) where {cost} != nil",
    ]


def groups(prices_file: str) -> list[Node]:
    """The statement groups of a transform processor: afterwards every span has its derived attributes and no others."""
    none = [f"delete_key(span.attributes, {quoted(key)})" for key in DERIVED if key not in (KIND, MODEL, PROVIDER)]
    none += [f"set({attr(key)}, {quoted(NONE)})" for key in (MODEL, PROVIDER, COST_SOURCE)]
    calls_model = is_priced_kind()
    return [
        {"context": "span", "error_mode": "silent", "statements": kind_statements()},
        {
            "context": "span",
            "error_mode": "silent",
            "conditions": [calls_model],
            "statements": [*model_statements(prices_file), *token_statements(), *cost_statements()],
        },
        {"context": "span", "error_mode": "silent", "conditions": [f"not ({calls_model})"], "statements": none},
    ]
