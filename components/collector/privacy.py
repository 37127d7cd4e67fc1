"""What leaves for Phoenix: mended so that it can be stored, masked, cut to size, or metadata only.

Order matters. First the span is made storable (Phoenix loses a span with a NUL byte, and a whole batch for one text
that is not UTF-8). Then its content is left out where nobody agreed to it, else masked. User ids become pseudonyms
last, by a keyed hash, so that equal users stay equal and can still be deleted by their pseudonym.

Errors are silent here for the reason given in normalise.py: they would be clients' values.
"""

import hashlib
import hmac
from dataclasses import dataclass

from components.collector.identity import APPLICATION, PROJECT
from components.collector.inputs import CollectorInputs
from components.collector.normalise import attr, cached
from components.collector.patterns import (
    BUILTIN,
    DIGIT_RUNS,
    SECRET_KEY_TEXTS,
    SECRET_KEYS,
    Part,
    Pattern,
    own_pattern,
)
from components.collector.text import Expand, Node, any_of, quoted
from components.names import CONFIG_DIR

CAPTURE = "agentstack.capture"
"""Span attribute: how much of the span was kept; stays on spans of which only the metadata was."""
MENDED = "agentstack.mended"
"""Span attribute: what had to be mended before it could be stored (see :data:`MENDS`)."""
SUSPECT = "agentstack.suspect"
"""Span attribute between two groups of statements: something in the span may have to be masked."""
KEPT_FIRST = (
    "openinference.span.kind", "llm.model_name", "llm.token_count.prompt", "llm.token_count.completion",
    "session.id", "user.id", "service.name", "deployment.environment",
)  # fmt: skip
"""What is kept when a span has too many attributes."""
MENDS = ("nul", "utf8", "id", "session", "size")
PSEUDONYM_KEY_FILE = "secrets/pseudonym-key"
LONGEST_ID = 1024
"""Characters of a session id; PostgreSQL's index refuses rows beyond about 2.7 kB."""
USER_KEYS = ("user.id", "enduser.id")
STRUCTURED = (
    "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions",
    "gen_ai.tool.call.arguments", "gen_ai.tool.call.result",
)  # fmt: skip
"""May be lists instead of JSON texts; made texts, which is what is masked and what Phoenix reads."""
RESOURCE_KEYS = ("service.name", "deployment.environment", PROJECT)
LARGE = "agentstack.large"
"""Span attribute between privacy and delivery: the span has much text and goes by the queue for such."""

METADATA_KEYS = (
    r"^(?:openinference\.span\.kind|(?:llm|embedding|reranker)\.(?:model_name|provider|system)"
    r"|llm\.(?:request|response)\.model_name"
    r"|llm\.token_count\..+|llm\.cost\..+|gen_ai\.(?:operation\.name|provider\.name|system|usage\..+|token\.type"
    r"|(?:request|response)\.(?:model|id|max_tokens|temperature|top_p|top_k|finish_reasons|choice\.count|seed)"
    r"|conversation\.id|agent\.(?:name|id)|tool\.(?:name|type))"
    r"|session\.id|user\.id|enduser\.id|agent\.name|tool\.name|graph\.node\.(?:id|name|parent_id)|reranker\.top_k"
    r"|http\.(?:request\.method|response\.status_code|route|method|status_code)|rpc\.(?:system|method|service)"
    r"|server\.(?:address|port)|network\.protocol\.(?:name|version)|error\.type|exception\.type|otel\..+"
    r"|service\.(?:name|version)|deployment\.environment(?:\.name)?|agentstack\..+)$"
)
"""Attributes that say what happened, not what was said."""


@dataclass(frozen=True)
class Limits:
    """Sizes of a span: bytes of one value, number of attributes, bytes of all its text before values are cut short,
    and from which it counts as large.
    """

    value_bytes: int
    attributes: int
    span_bytes: int
    large_bytes: int


_APP = f'resource.attributes["{APPLICATION}"]'
_TEXT, _NAMES = cached("text"), cached("names")
_NUL_ESCAPE, _BROKEN_ESCAPE = "\\u0000", "\\ufffd"


def pseudonym(key: str, user_id: str) -> str:
    """What is stored in place of a user id: HMAC-SHA256 in hex. The same as the Collector computes."""
    return hmac.new(key.encode(), user_id.encode(), hashlib.sha256).hexdigest()


def patterns(inputs: CollectorInputs) -> list[Pattern]:
    """The patterns that are on: the settings' own first."""
    redaction = inputs.telemetry.redaction
    own = [own_pattern(name, regex) for name, regex in redaction.patterns.items()]
    return [*own, *(pattern for name, pattern in BUILTIN.items() if name in redaction.builtin)]


def text_statements() -> list[str]:
    """OTTL on a span: all that it says in one text, for the searches that decide what else must run.

    Lists and maps are in it as JSON.
    """
    return [
        f'set({_NAMES}, Concat(Keys(span.attributes), "\\n"))',
        f"set({_TEXT}, Concat([span.name, span.status.message, {_NAMES}, "
        'Concat(Values(span.attributes), "\\n")], "\\n"))',
    ]


def mend_statements(limits: Limits) -> list[str]:
    """OTTL on a span: make it storable, and say what was wrong. Needs and leaves the text."""
    mended = attr(MENDED)
    nul, utf8, large = cached("nul"), cached("utf8"), cached("large")
    keep = ", ".join(quoted(key) for key in KEPT_FIRST)
    # A class of two, not a single character: that would be searched as bytes, and what is no character not be found.
    broken = "[\\uFFFC\\uFFFD]"
    return [
        *(f"delete_key(span.attributes, {quoted(key)})" for key in (MENDED, LARGE)),
        *(
            f"set({attr(key)}, String({attr(key)})) where IsList({attr(key)}) or IsMap({attr(key)})"
            for key in STRUCTURED
        ),
        f'truncate_all(span.attributes, {limits.value_bytes}, true, "...")',
        f"limit(span.attributes, {limits.attributes}, [{keep}]) where Len(span.attributes) > {limits.attributes}",
        *text_statements(),
        f"set({attr(LARGE)}, true) where Len({_TEXT}) > {limits.large_bytes}",
        f"set({large}, true) where Len({_TEXT}) > {limits.span_bytes}",
        f'truncate_all(span.attributes, 2048, true, "...") where {large} == true',
        f"limit(span.attributes, 64, [{keep}]) where {large} == true and Len(span.attributes) > 64",
        f'set({mended}, "size") where {large} == true',
        # Within JSON, which is how lists and maps stand in the text, both faults are escapes.
        f'set({nul}, true) where Index({_TEXT}, "\\x00") >= 0 or Index({_TEXT}, {quoted(_NUL_ESCAPE)}) >= 0',
        f'set({utf8}, true) where Index({_TEXT}, {quoted(_BROKEN_ESCAPE)}) >= 0 or Decode({_TEXT}, "utf-8") != {_TEXT}',
        f"flatten(span.attributes) where {nul} == true or {utf8} == true",
        f'replace_all_patterns(span.attributes, "key", "\\x00", "\\uFFFD") where {nul} == true',
        *_replace("\x00", "\ufffd", f"{nul} == true"),
        # Phoenix reads some texts as JSON: an escaped NUL in them becomes a real one.
        f'replace_all_patterns(span.attributes, "value", {quoted(chr(92) + _NUL_ESCAPE)}, {quoted(_BROKEN_ESCAPE)}) '
        f"where {nul} == true",
        f'set({mended}, "nul") where {nul} == true',
        f'replace_all_patterns(span.attributes, "key", "{broken}", "\\uFFFD") where {utf8} == true',
        *_replace("[\ufffc\ufffd]", "\ufffd", f"{utf8} == true"),
        f'set({mended}, "utf8") where {utf8} == true',
        *_id_statements(),
    ]


def _id_statements() -> list[str]:
    mended, fresh, session = attr(MENDED), cached("fresh"), attr("session.id")
    no_trace, no_span = f'span.trace_id.string == "{"0" * 32}"', f'span.span_id.string == "{"0" * 16}"'
    long = f"IsString({session}) and Len({session}) > {LONGEST_ID}"
    return [
        f"set({fresh}, UUID()) where {no_trace} or {no_span}",
        f'replace_pattern({fresh}, "-", "") where {fresh} != nil',
        f'set({mended}, "id") where {fresh} != nil',
        f"set(span.trace_id.string, {fresh}) where {no_trace}",
        f"set(span.span_id.string, Substring({fresh}, 0, 16)) where {no_span}",
        f'set({mended}, "session") where {long}',
        # Hashed, not cut: two long ids with the same beginning stay two sessions.
        f"set({session}, SHA256({session})) where {long}",
    ]


def capture_statements(inputs: CollectorInputs) -> list[str]:
    """OTTL on a span: how much of it is kept, by its application and by consent."""
    capture, consent = attr(CAPTURE), inputs.telemetry.consent.attribute
    by_mode: dict[str, list[str]] = {}
    for name, application in sorted(inputs.applications.items()):
        by_mode.setdefault(application.capture, []).append(name)
    statements = [f'set({capture}, "redacted")']
    statements += [
        f"set({capture}, {quoted(mode)}) where IsMatch({_APP}, {quoted(any_of(names))})"
        for mode, names in by_mode.items()
        if mode != "redacted"
    ]
    if inputs.consent_required:
        given = " or ".join(
            f'{where}.attributes["{consent}"] == true or {where}.attributes["{consent}"] == "true"'
            for where in ("span", "resource")
        )
        statements.append(f'set({capture}, "metadata-only") where not ({given})')
    return statements


def _conditions(part: Part) -> list[str]:
    found = [f"Index({_TEXT}, {quoted(text)}) >= 0" for text in part.texts]
    return found + [f"IsMatch({_TEXT}, {quoted(probe)})" for probe in part.probes]


def _digits() -> list[str]:
    return [f"IsMatch({_TEXT}, {quoted(run)})" for run in DIGIT_RUNS]


def _secret_names() -> list[str]:
    return [f"Index({_NAMES}, {quoted(text)}) >= 0" for text in SECRET_KEY_TEXTS]


def suspect_statements(inputs: CollectorInputs) -> list[str]:
    """OTTL on a span: mark it if anything of what the patterns need occurs in its text. Most spans end here."""
    parts = [part for pattern in patterns(inputs) for part in pattern.parts]
    conditions = [condition for part in parts if not part.digits for condition in _conditions(part) or ["true"]]
    if any(part.digits for part in parts):
        conditions += _digits()
    if "authorization" in inputs.telemetry.redaction.builtin:
        conditions += _secret_names()
    suspect = attr(SUSPECT)
    return [
        f"set({suspect}, false)",
        *([f"set({suspect}, true) where {' or '.join(conditions)}"] if conditions else []),
    ]


def _replace(regex: str, replacement: str, condition: str) -> list[str]:
    """OTTL on a span: replace in its name, its status and every attribute value."""
    arguments = f"{quoted(regex)}, {quoted(replacement)}"
    return [
        f'replace_all_patterns(span.attributes, "value", {arguments}) where {condition}',
        f"replace_pattern(span.name, {arguments}) where {condition}",
        f"replace_pattern(span.status.message, {arguments}) where {condition}",
    ]


def redaction_statements(inputs: CollectorInputs) -> list[str]:
    """OTTL on a suspect span: mask what the patterns match."""
    # What is nested is out of the patterns' reach until it is flat; Phoenix nests it again.
    statements = ["flatten(span.attributes)", *text_statements()]
    if "authorization" in inputs.telemetry.redaction.builtin:
        named = " or ".join(_secret_names())
        statements.append(f"delete_matching_keys(span.attributes, {quoted(SECRET_KEYS)}) where {named}")
    statements.append(f"set({cached('digits')}, true) where {' or '.join(_digits())}")
    for pattern in patterns(inputs):
        for index, part in enumerate(pattern.parts):
            flag = cached(f"{pattern.name}.{index}")
            needs = " or ".join(_conditions(part)) or "true"
            needs = f"{cached('digits')} == true and ({needs})" if part.digits else needs
            statements.append(f"set({flag}, true) where {needs}")
            statements += _replace(part.regex, pattern.masked, f"{flag} == true")
    return statements


def event_statements(inputs: CollectorInputs) -> list[str]:
    """OTTL on a span event (an exception and its stack trace, mostly): the same, without the haste."""
    values = "spanevent.attributes"
    longest = min(inputs.telemetry.attribute_bytes, 16_384)
    return [
        f'truncate_all({values}, {longest}, true, "...")',
        f"flatten({values})",
        *(f'replace_all_patterns({values}, "{mode}", "\\x00", "\\uFFFD")' for mode in ("key", "value")),
        *(f'replace_all_patterns({values}, "{mode}", "[\\uFFFC\\uFFFD]", "\\uFFFD")' for mode in ("key", "value")),
        'replace_pattern(spanevent.name, "\\x00", "\\uFFFD")',
    ]


def processors(inputs: CollectorInputs, limits: Limits) -> Node:
    """Mending, capture and redaction, then pseudonyms."""
    capture, suspect = attr(CAPTURE), attr(SUSPECT)
    telemetry = inputs.telemetry
    metadata_only = f'{capture} == "metadata-only"'
    event_replacements = [
        f'replace_all_patterns(spanevent.attributes, "value", {quoted(part.regex)}, {quoted(pattern.masked)})'
        for pattern in patterns(inputs)
        for part in pattern.parts
    ]
    groups: list[Node] = [
        {
            "context": "span",
            "statements": [
                *mend_statements(limits),
                *capture_statements(inputs),
                *suspect_statements(inputs),
            ],
        },
        {"context": "spanevent", "statements": event_statements(inputs)},
        {
            "context": "span",
            "conditions": [metadata_only],
            "statements": [
                f"keep_matching_keys(span.attributes, {quoted(METADATA_KEYS)})",
                'set(span.status.message, "")',
            ],
        },
        {
            "context": "spanevent",
            "conditions": [metadata_only],
            "statements": ['keep_keys(spanevent.attributes, ["exception.type"])'],
        },
        {
            "context": "spanevent",
            "conditions": [f'{capture} == "redacted"'],
            "statements": [
                *event_replacements,
                f"delete_matching_keys(spanevent.attributes, {quoted(SECRET_KEYS)})",
            ],
        },
        # A span of which only the metadata is kept is searched too: its name may say what its content said.
        {
            "context": "span",
            "conditions": [f'{suspect} == true and {capture} != "full"'],
            "statements": redaction_statements(inputs),
        },
        {
            "context": "span",
            "statements": [
                f"delete_key(span.attributes, {quoted(SUSPECT)})",
                f"delete_key(span.attributes, {quoted(CAPTURE)}) where not ({metadata_only})",
            ],
        },
        # Phoenix keeps none of these but the project's name; so they needn't be on the disk either.
        {"context": "scope", "statements": ["keep_keys(scope.attributes, [])"]},
        {
            "context": "resource",
            "statements": [f"keep_keys(resource.attributes, [{', '.join(quoted(key) for key in RESOURCE_KEYS)}])"],
        },
    ]
    found: Node = {"transform/privacy": {"error_mode": "silent", "trace_statements": groups}}
    if telemetry.pseudonyms:
        found["transform/user-id"] = {
            "error_mode": "silent",
            "trace_statements": [
                {
                    "context": "span",
                    "statements": [
                        f"set({attr(key)}, String({attr(key)})) where {attr(key)} != nil and not IsString({attr(key)})"
                        for key in USER_KEYS
                    ],
                }
            ],
        }
        found["redaction/pseudonyms"] = {
            "allow_all_keys": True,
            "blocked_key_patterns": [any_of(USER_KEYS)],
            "hash_function": "hmac-sha256",
            "hmac_key": Expand(f"${{file:{CONFIG_DIR}/{PSEUDONYM_KEY_FILE}}}"),
            "summary": "silent",
        }
    return found
