"""What counts as personal data or a credential, and how to find it without reading every text with every pattern.

The Collector's regular expressions cost tens of nanoseconds per byte, unless they begin with a fixed text: that is
searched at memory speed. So each pattern comes with what must occur in a text for it to match at all, in a form that
is searched fast. The pattern itself runs only over spans in which that was found (docs/decisions/0004-collector.md
has the measurements).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Part:
    """One RE2 pattern, and what occurs in a text that it matches.

    ``texts``: fixed texts, at least one of which is in every match. ``probes``: patterns that begin with a fixed text,
    at least one of which matches in every match. ``digits``: a run of ten digits as well (:data:`DIGIT_RUNS`).
    With none of them the pattern runs over every span.
    """

    regex: str
    texts: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    digits: bool = False


@dataclass(frozen=True)
class Pattern:
    """One kind of data; what matches becomes ``[name]``."""

    name: str
    parts: tuple[Part, ...]

    @property
    def masked(self) -> str:
        return f"[{self.name}]"


DIGIT_RUNS: Final = tuple(f"{digit}[0-9]{{3}}[ -]?[0-9]{{4}}[ -]?[0-9]{{2}}" for digit in range(10))
"""Ten digits, in groups of four if in groups, once for each first digit: cards and (almost) every country's IBANs hold
such a run, dates and times don't."""
_COUNTRIES: Final = (
    "AD", "AE", "AL", "AT", "AZ", "BA", "BE", "BG", "BH", "BI", "BR", "BY", "CH", "CR", "CY", "CZ", "DE", "DJ", "DK",
    "DO", "EE", "EG", "ES", "FI", "FK", "FO", "FR", "GB", "GE", "GI", "GL", "GR", "GT", "HR", "HU", "IE", "IL", "IQ",
    "IS", "IT", "JO", "KW", "LB", "LC", "LI", "LT", "LU", "LV", "LY", "MC", "MD", "ME", "MK", "MN", "MR", "MT",
    "MU", "NI", "NL", "NO", "OM", "PK", "PL", "PS", "PT", "QA", "RO", "RS", "RU", "SA", "SC", "SD", "SE", "SI", "SK",
    "SM", "SO", "ST", "SV", "TL", "TN", "TR", "UA", "VA", "VG", "XK", "YE",
)  # fmt: skip
"""Countries with an IBAN."""

EMAIL: Final = Pattern(
    "email", (Part(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}", texts=("@",)),)
)
CARD: Final = Pattern(
    "card",
    (
        # Visa, Mastercard, Discover, UnionPay, JCB; then American Express and Diners.
        Part(
            r"\b(?:[4-6][0-9]{3}|2[2-7][0-9]{2}|35[0-9]{2})[ -]?[0-9]{4}[ -]?[0-9]{4}"
            r"[ -]?[0-9]{1,4}(?:[ -]?[0-9]{1,3})?\b",
            probes=tuple(f"{digit}[0-9]{{3}}[ -]?[0-9]{{4}}[ -]?[0-9]{{4}}[ -]?[0-9]" for digit in range(2, 7)),
            digits=True,
        ),
        Part(
            r"\b3[04678][0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{4,5}\b",
            probes=(r"3[04678][0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{4}",),
            digits=True,
        ),
    ),
)
_IBAN_REST: Final = r"[0-9]{2}(?:[ -]?[A-Z0-9]{4}){2,6}[ -]?[A-Z0-9]{3,4}(?:[ -]?[A-Z0-9]{1,3})?\b"
IBAN: Final = Pattern(
    "iban",
    (
        Part(
            rf"\b(?:{'|'.join(_COUNTRIES)}){_IBAN_REST}",
            probes=tuple(f"{country}[0-9]{{2}}[ -]?[A-Z0-9]{{4}}" for country in _COUNTRIES),
            digits=True,
        ),
        # Kazakhstan's may have fewer digits.
        Part(rf"\bKZ{_IBAN_REST}", probes=("KZ[0-9]{2}[ -]?[A-Z0-9]{4}",)),
    ),
)
PHONE: Final = Pattern(
    "phone",
    (
        Part(r"\+[1-9](?:[ ().-]{0,2}[0-9]){7,14}", probes=(r"\+[1-9](?:[ ().-]{0,2}[0-9]){7}",)),
        Part(r"\b00[1-9](?:[ ().-]{0,2}[0-9]){7,14}\b", probes=(r"00[1-9](?:[ ().-]{0,2}[0-9]){7}",)),
        Part(r"\([0-9]{3}\) ?[0-9]{3}[.-][0-9]{4}\b", probes=(r"\([0-9]{3}\) ?[0-9]{3}[.-][0-9]{4}",)),
        Part(
            r"\b[2-9][0-9]{2}[.-][0-9]{3}[.-][0-9]{4}\b",
            probes=(r"-[0-9]{3}[.-][0-9]{4}", r"\.[0-9]{3}[.-][0-9]{4}"),
        ),
        Part(r"\b0[1-9][0-9]{1,4}[ /-][0-9]{6,9}\b", probes=(r"0[1-9][0-9]{1,4}[ /-][0-9]{6}",)),
    ),
)
API_KEY: Final = Pattern(
    "api-key",
    (
        Part(
            r"\b(?:sk[-_]|rk_|gsk_)[A-Za-z0-9_-]{16,}",
            probes=tuple(f"{start}[A-Za-z0-9_-]{{16}}" for start in ("sk-", "sk_", "rk_")),
        ),
        Part(r"\bgh[opsur]_[A-Za-z0-9]{30,}", probes=("gh[opsur]_[A-Za-z0-9]{30}",)),
        Part(r"\b(?:github_pat_|glpat-)[A-Za-z0-9_-]{20,}", probes=("pat[_-][A-Za-z0-9_-]{20}",)),
        Part(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", probes=("AKIA[A-Z0-9]{16}", "ASIA[A-Z0-9]{16}")),
        Part(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}", texts=("xox",)),
        Part(r"\bAIza[A-Za-z0-9_-]{35}", texts=("AIza",)),
        Part(r"\b(?:hf_|pplx-|r8_|xai-|tvly-)[A-Za-z0-9]{20,}", texts=("hf_", "pplx-", "r8_", "xai-", "tvly-")),
        Part(r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*", texts=(".eyJ",)),
        Part(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?", texts=("PRIVATE KEY-----",)
        ),
    ),
)
AUTHORIZATION: Final = Pattern(
    "authorization",
    (
        Part(
            r"\b(?:[Bb]earer|BEARER|[Bb]asic|BASIC)[ \t]+[A-Za-z0-9._~+/=-]{8,}",
            probes=tuple(rf"{text}[ \t]+[A-Za-z0-9._~+/=-]{{8}}" for text in ("earer", "EARER", "asic", "ASIC")),
        ),
        Part(
            r"\b(?:[Aa]uthorization|AUTHORIZATION|(?:[Xx]-)?[Aa]pi[_-][Kk]ey|(?:X-)?API[_-]KEY)"
            r"[\"']?[ \t]*[:=][ \t]*[\"']?[^\s\"',;]{4,}",
            probes=tuple(
                f"{text}[\"']?[ \\t]*[:=]" for text in ("uthorization", "UTHORIZATION", "pi[_-][Kk]ey", "PI[_-]KEY")
            ),
        ),
    ),
)
BUILTIN: Final[Mapping[str, Pattern]] = {
    # What is more specific comes first: a key may hold an @, the digits of a card look like a telephone number's.
    pattern.name: pattern
    for pattern in (AUTHORIZATION, API_KEY, EMAIL, IBAN, CARD, PHONE)
}

SECRET_KEYS: Final = (
    r"(?i)(?:authorization|api[._-]?key|passw(?:or)?d|secret|cookie|credential|private[._-]?key)s?(?:\.[0-9]+)*$"
)
"""Attribute keys whose whole value is a credential (``http.request.header.authorization``); token *counts* are not."""
SECRET_KEY_TEXTS: Final = (
    "uthoriz", "pi_key", "pi-key", "pi.key", "pikey", "piKey", "assw", "ecret", "ookie", "redential", "rivate",
)  # fmt: skip
"""What occurs in such a key, but for its capitals."""


def literal_prefix(regex: str) -> str:
    """The fixed text with which every match of ``regex`` begins; empty where that can't be told at a glance."""
    body = regex.removeprefix(r"\b").removeprefix("^")
    found = re.match(r"(?:[A-Za-z0-9 _@#:/=,;<>!%&~\"'-]|\\[.+*?()\[\]{}|^$/-])+", body)
    if found is None or "|" in re.sub(r"\\.|\[[^\]]*\]|\([^()]*\)", "", body):
        return ""
    text = found.group()
    if body[len(text) : len(text) + 1] in {"?", "*", "+", "{"}:
        # The last character is repeated or optional: it is no part of the fixed text.
        text = text[:-2] if text[-2:-1] == "\\" else text[:-1]
    return re.sub(r"\\(.)", r"\1", text)


def own_pattern(name: str, regex: str) -> Pattern:
    """A pattern of the settings, with the trigger that its beginning allows."""
    prefix = literal_prefix(regex)
    return Pattern(name, (Part(regex, texts=(prefix,) if prefix else ()),))
