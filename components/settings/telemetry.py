"""What the Collector makes of the telemetry: labels, prices, redaction, capture, sampling.

Everything has a safe default: a stack file needs none of it.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from components.settings.base import Model, Ratio

Label = Annotated[str, StringConstraints(min_length=1, max_length=64)]
"""A value that may become a metric label."""
ModelName = Annotated[str, StringConstraints(pattern=r"^([a-z][a-z0-9-]*:)?[a-z0-9][a-z0-9._:-]{0,63}$")]
"""`gpt-4o`, or `openai:gpt-4o` to say whose price is meant; lower case, without a path."""
MetricName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,127}$")]
AttributeName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,127}$")]
UsdPerMillion = Annotated[float, Field(ge=0, le=1_000_000)]

MAX_PATTERN_LENGTH = 500
MAX_REPEAT = 1000
_NOT_RE2 = re.compile(r"\(\?(?:[=!>#]|<[=!]|P=|\(|[imsU-]*[aLux])|\\[1-9ZuUN]|[*+?}]\+")

DEFAULT_MODELS: tuple[str, ...] = (
    # What applications use today. A model that is not listed is counted as `other`, and alerted on if it has no price.
    "openai:gpt-6.1-sol",
    "openai:gpt-6.1-terra",
    "openai:gpt-6-luna",
    "openai:gpt-5.6-sol",
    "openai:gpt-5.4",
    "openai:gpt-5.4-mini",
    "openai:gpt-5.2",
    "openai:gpt-5.1",
    "openai:gpt-5",
    "openai:gpt-5-mini",
    "openai:gpt-5-nano",
    "openai:gpt-4.1",
    "openai:gpt-4.1-mini",
    "openai:gpt-4.1-nano",
    "openai:gpt-4o",
    "openai:gpt-4o-mini",
    "openai:gpt-4-turbo",
    "openai:gpt-4",
    "openai:gpt-3.5-turbo",
    "openai:o3",
    "openai:o3-mini",
    "openai:o4-mini",
    "openai:gpt-oss-120b",
    "openai:text-embedding-3-small",
    "openai:text-embedding-3-large",
    "openai:text-embedding-ada-002",
    "anthropic:claude-opus-5-5",
    "anthropic:claude-opus-5",
    "anthropic:claude-opus-4-8",
    "anthropic:claude-opus-4-5",
    "anthropic:claude-sonnet-5-5",
    "anthropic:claude-sonnet-5",
    "anthropic:claude-sonnet-4-6",
    "anthropic:claude-sonnet-4-5",
    "anthropic:claude-haiku-5-5",
    "anthropic:claude-haiku-4-5",
    "anthropic:claude-3-5-sonnet",
    "google:gemini-3.8-flash",
    "google:gemini-3.1-pro-preview",
    "google:gemini-3.1-flash-lite",
    "google:gemini-2.5-pro",
    "google:gemini-2.5-flash",
    "google:gemini-2.5-flash-lite",
    "google:gemini-embedding-001",
    "mistral:mistral-large-latest",
    "mistral:mistral-medium-latest",
    "mistral:mistral-small-latest",
    "mistral:codestral-latest",
    "mistral:mistral-embed",
    "deepseek:deepseek-chat",
    "deepseek:deepseek-reasoner",
    "x-ai:grok-4.7",
    "x-ai:grok-4",
    "cohere:command-a",
    "cohere:embed-v4.0",
    "perplexity:sonar-pro",
    "groq:llama-3.3-70b-versatile",
)

DEFAULT_APPLICATION_METRICS: tuple[str, ...] = (
    # The semantic conventions' own instruments that say something about a service and its LLM calls.
    "gen_ai.client.token.usage",
    "gen_ai.client.operation.duration",
    "gen_ai.client.operation.time_to_first_chunk",
    "gen_ai.client.operation.time_per_output_chunk",
    "gen_ai.server.request.duration",
    "gen_ai.server.time_to_first_token",
    "gen_ai.server.time_per_output_token",
    "http.server.request.duration",
    "http.server.active_requests",
    "http.client.request.duration",
    "rpc.server.duration",
    "rpc.client.duration",
    "db.client.operation.duration",
    "process.cpu.time",
    "process.memory.usage",
)


class ModelPrice(Model):
    """US dollars per million tokens. What is left out is charged at the rate of ``input`` (reasoning: ``output``)."""

    input: UsdPerMillion
    """Per million tokens that went in."""
    output: UsdPerMillion = 0.0
    """Per million tokens that came out."""
    cache_read: UsdPerMillion | None = None
    """Per million tokens read from the provider's cache."""
    cache_write: UsdPerMillion | None = None
    """Per million tokens written to the provider's cache."""


class ApplicationMetrics(Model):
    """Which of the applications' own OTLP metrics reach Prometheus, and with which labels."""

    names: Annotated[tuple[MetricName, ...], Field(max_length=200, description="added to the built-in list")] = ()
    attributes: Annotated[
        dict[AttributeName, tuple[Label, ...]],
        Field(max_length=16, description="attribute -> the values that it may have; any other becomes `other`"),
    ] = Field(default_factory=dict)
    instances: Annotated[
        int, Field(ge=1, le=1000, description="series of one metric and application that are kept apart by process")
    ] = 32


class Redaction(Model):
    """What is masked before anything is stored."""

    builtin: Annotated[
        tuple[Literal["email", "card", "iban", "phone", "api-key", "authorization"], ...],
        Field(description="the built-in patterns that are on"),
    ] = ("email", "card", "iban", "phone", "api-key", "authorization")
    patterns: Annotated[
        dict[str, str], Field(max_length=50, description="name -> RE2 pattern; what matches becomes [name]")
    ] = Field(default_factory=dict)

    @field_validator("patterns")
    @classmethod
    def _compile(cls, value: dict[str, str]) -> dict[str, str]:
        for name, pattern in value.items():
            if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name):
                raise ValueError(f"{name!r} is not a name; lower case letters, digits and dashes, at most 32")
            _check_pattern(name, pattern)
        return value


def _check_pattern(name: str, pattern: str) -> None:
    """The Collector's engine is RE2: no look-around, no back-references, and nothing that matches an empty text."""
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise ValueError(f"{name}: the pattern is longer than {MAX_PATTERN_LENGTH} characters; split it")
    if _NOT_RE2.search(pattern):
        raise ValueError(
            f"{name}: look-around, back-references, atomic groups, possessive repeats, comments and \\u escapes "
            "are not RE2; do without"
        )
    bounds = [int(bound) for pair in re.findall(r"\{(\d*),?(\d*)\}", pattern) for bound in pair if bound]
    if max(bounds, default=0) > MAX_REPEAT:
        raise ValueError(f"{name}: RE2 repeats at most {MAX_REPEAT} times; lower the number in braces")
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{name}: {error} (position {error.pos}); write an RE2 pattern") from error
    if compiled.search(""):
        raise ValueError(
            f"{name}: the pattern matches an empty text and would mask everything; make it match something"
        )


class Consent(Model):
    """Opt-in to content: a span without the consent attribute keeps its metadata only."""

    required: bool | None = None
    """Default: on where ``production`` is true."""
    attribute: AttributeName = "agentstack.consent"
    """Span or resource attribute; the values true and "true" give consent."""


class SampledRoute(Model):
    """A route (``http.route`` of the trace's spans) that is thinned before it is stored."""

    application: str | None = None
    """Only this application's traces; none for all."""
    route: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """Value of ``http.route``."""
    ratio: Ratio
    """Share of the traces that is kept."""


class TailSampling(Model):
    """Which whole traces are stored, decided when they are complete. Off by default: it holds traces in memory.

    A trace is kept if any policy wants it: all errors, slow ones, expensive ones, and a share of the rest.
    """

    enabled: bool = False
    """Decide about whole traces; needs ``collector.replicas: 1``."""
    decision_wait_seconds: Annotated[int, Field(ge=2, le=600)] = 30
    """How long a trace is held before it is decided; what a killed Collector loses."""
    keep_errors: bool = True
    """Keep every trace with an error."""
    slower_than_seconds: Annotated[float, Field(gt=0, le=3600)] | None = 30.0
    """Keep traces that took longer; none for no such rule."""
    costlier_than_usd: Annotated[float, Field(gt=0, le=10_000)] | None = 0.05
    """Keep traces that cost more; none for no such rule."""
    hot_routes: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    """Values of ``http.route`` that are thinned to ``hotRatio``."""
    hot_ratio: Ratio = 0.05
    """Share of the hot routes' traces that is kept."""
    ratio: Ratio = 0.5
    """Share of the traces that no other policy wants."""
    max_spans_per_second: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """A budget for that share; per Collector."""
    max_traces: Annotated[int, Field(ge=100, le=10_000_000)] = 5000
    """Traces that are held in memory at most; the oldest is decided early beyond that."""


class TelemetrySettings(Model):
    """Labels, prices, redaction, capture, sampling: what the Collector does to telemetry."""

    models: Annotated[tuple[ModelName, ...], Field(max_length=300)] = DEFAULT_MODELS
    """Models with a label and, where the price list knows them, a price."""
    extra_models: Annotated[tuple[ModelName, ...], Field(max_length=300)] = ()
    """Added to ``models``."""
    prices: Annotated[dict[ModelName, ModelPrice], Field(max_length=300)] = Field(default_factory=dict)
    """Own prices per model; they win over the price list, and make the model known."""
    projects: Annotated[tuple[Label, ...], Field(max_length=200)] = ()
    """Projects with a label of their own, besides the default one and the applications'; any other is `other`."""
    services: Annotated[tuple[Label, ...], Field(max_length=200)] = ()
    """Values of ``service.name`` with a label of their own; any other is counted under its application's name."""
    max_series: Annotated[int, Field(ge=1000, le=1_000_000)] = 20_000
    """Counter series that a Collector derives from spans at most; latency histograms get a tenth of it."""

    redaction: Redaction = Redaction()
    consent: Consent = Consent()
    pseudonyms: bool = True
    """Replace user ids by a keyed hash (HMAC-SHA256); `agentstack pseudonym` computes it for a given id."""
    attribute_bytes: Annotated[int, Field(ge=1024, le=1_048_576)] = 65_536
    """Longest value of an attribute; the rest is cut off."""
    attributes_per_span: Annotated[int, Field(ge=16, le=2048)] = 512
    """Attributes of a span at most; further ones are left out."""

    routes: Annotated[tuple[SampledRoute, ...], Field(max_length=100)] = ()
    tail_sampling: TailSampling = TailSampling()
    application_metrics: ApplicationMetrics = ApplicationMetrics()

    @model_validator(mode="after")
    def _unique_models(self) -> Self:
        plain = [name.partition(":")[2] or name for name in (*self.models, *self.extra_models)]
        twice = sorted({name for name in plain if plain.count(name) > 1})
        if twice:
            raise ValueError(f"models named twice: {', '.join(twice)}; a label has one price, name each model once")
        return self


def check_telemetry(telemetry: TelemetrySettings, applications: Mapping[str, Any], collector_replicas: int) -> None:
    """The rules between telemetry and the rest of the stack file.

    Raises:
        ValueError: with what does not fit and what to do.
    """
    if telemetry.tail_sampling.enabled and collector_replicas > 1:
        raise ValueError(
            f"telemetry.tailSampling.enabled needs whole traces in one Collector, but collector.replicas is "
            f"{collector_replicas}; set it to 1, or use applications.<name>.headSampling and telemetry.routes instead"
        )
    unknown = sorted({r.application for r in telemetry.routes if r.application} - set(applications))
    if unknown:
        raise ValueError(
            f"telemetry.routes names unknown applications: {', '.join(unknown)}; "
            f"known: {', '.join(sorted(applications))}"
        )
