"""Every environment variable of the guide, and the setting that honours it. Pure: the one table for
`agentstack import-env` and docs/guide.md.

A variable is carried over (``convert``), is so already (``fixed``: other values get a warning that says why), or has no
counterpart (``none``).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["convert", "fixed", "none"]
Setting = dict[str, Any]


class RefusedError(ValueError):
    """A value that can't be carried over; the message says why and what to do."""


@dataclass(frozen=True)
class Variable:
    """One variable of the guide.

    ``setting`` names where it is honoured in the stack file, ``how`` says how in one sentence.
    """

    name: str
    guide: str
    """The value in the guide."""
    kind: Kind
    setting: str
    how: str
    convert: Callable[[str], Setting] | None = None
    """Text -> part of the stack file; raises RefusedError."""
    same: Callable[[str], bool] | None = None
    """For ``fixed``: whether a value asks for what is so anyway."""


def integer(text: str) -> int:
    """A whole number, at least 1."""
    if not re.fullmatch(r"[0-9]+", text) or int(text) < 1:
        raise RefusedError(f"{text!r} is not a whole number above 0")
    return int(text)


def mebibytes(text: str) -> int:
    """``6G``, ``6GB``, ``6GiB``, ``512M``, plain bytes -> MiB, as Docker Compose reads them (powers of 1024)."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([bkmgt]?)(?:i?b)?", text.strip().lower())
    if match is None:
        raise RefusedError(f"{text!r} is not an amount of memory; write for example 6G")
    factor = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}[match.group(2)]
    size = int(float(match.group(1)) * factor) // 1024**2
    if size < 1:
        raise RefusedError(f"{text!r} is less than one MiB")
    return size


def ratio(text: str) -> float:
    """A share between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        raise RefusedError(f"{text!r} is not a number between 0 and 1") from None
    if not 0 <= value <= 1:
        raise RefusedError(f"{text!r} is not between 0 and 1")
    return value


def origins(text: str) -> list[str]:
    """A comma list of web origins. ``*`` can't be allowed: the answers carry credentials."""
    found = [origin.strip().rstrip("/") for origin in text.split(",") if origin.strip()]
    if "*" in found:
        raise RefusedError("'*' would let every web page use a signed-in person's session; name the origins")
    return found


def truth(text: str) -> bool:
    """true, 1, yes, on (any case)."""
    return text.strip().lower() in {"true", "1", "yes", "on"}


def _project(text: str) -> Setting:
    return {"defaultProject": text}


def _port(text: str) -> Setting:
    port = integer(text)
    if port > 65535:
        raise RefusedError(f"{text!r} is not a port")
    return {"ports": {"phoenix": port}}


def _workers(text: str) -> Setting:
    workers = integer(text)
    if workers > 8:
        raise RefusedError(f"{workers} workers: at most 8 replicas can stand behind one edge")
    return {"phoenix": {"replicas": workers}}


def _host(text: str) -> Setting:
    return {"bindAddress": text}


VARIABLES: Final = (
    Variable(
        "PHOENIX_HOST",
        "0.0.0.0",  # noqa: S104 - the guide's value, quoted
        "convert",
        "bindAddress",
        "The edges publish the ports on this address of the host, 127.0.0.1 unless set; others need `publicNames`.",
        _host,
    ),
    Variable(
        "PHOENIX_PORT", "6006", "convert", "ports.phoenix", "The port of the host; 6006 inside, as in the guide.", _port
    ),
    Variable(
        "PHOENIX_PROJECT_NAME",
        "agentstack-production",
        "convert",
        "defaultProject",
        "The project of spans that name none, whatever application sends them; `applications.<name>.project` per "
        "application. (In an application's own environment the variable works as ever.)",
        _project,
    ),
    Variable(
        "PHOENIX_SQL_DATABASE_URL",
        "postgresql://phoenix:password@phoenix-postgres:5432/phoenix",
        "none",
        "—",
        "The stack makes its database itself, with a generated password and verified TLS; the password of the old file "
        "is not taken over. Existing data moves by pg_dump and pg_restore.",
    ),
    Variable(
        "PHOENIX_MAX_WORKERS",
        "4",
        "convert",
        "phoenix.replicas",
        "Phoenix has no workers: one process stores about 100 spans per second and core. Replicas are what gives more.",
        _workers,
    ),
    Variable(
        "PHOENIX_MEMORY_LIMIT",
        "6G",
        "convert",
        "phoenix.memoryMib",
        "The limit of Phoenix's container, swap included.",
        lambda text: {"phoenix": {"memoryMib": mebibytes(text)}},
    ),
    Variable(
        "PHOENIX_TRACING_SAMPLE_RATE",
        "1.0",
        "convert",
        "applications.<name>.headSampling",
        "The collector keeps this share of the traces, whole traces at a time; metrics and cost count all of them.",
        lambda text: {"applications": {"default": {"headSampling": ratio(text)}}},
    ),
    Variable(
        "PHOENIX_AUTH_ENABLED",
        "true",
        "fixed",
        "—",
        "Always on: logins for people, the admin secret for the collector, a token per application at the edge.",
        same=truth,
    ),
    Variable(
        "PHOENIX_SSL_ENABLED",
        "true",
        "fixed",
        "—",
        "Always on, on every hop, by the stack's own CA.",
        same=truth,
    ),
    Variable(
        "PHOENIX_CORS_ORIGINS",
        "http://localhost:3001,http://localhost:6006",
        "convert",
        "allowedOrigins",
        "Web origins that may call Phoenix with a session: CORS and Phoenix's CSRF check. The stack's own addresses "
        "always may.",
        lambda text: {"allowedOrigins": origins(text)},
    ),
    Variable(
        "PHOENIX_API_KEY",
        "${PHOENIX_API_KEY}",
        "none",
        "—",
        "The collector's key to Phoenix is generated and reaches it as a file; an application's token is "
        "`agentstack connect APP`.",
    ),
    Variable(
        "OTEL_RESOURCE_ATTRIBUTES",
        "service.name=agentstack-otel-collector-1",
        "fixed",
        "collector.replicas",
        "The collectors name themselves agentstack-otel-collector-1, -2, ...",
        same=lambda text: bool(re.fullmatch(r'"?service\.name=agentstack-otel-collector-\d+"?', text.strip())),
    ),
)
BY_NAME: Final[Mapping[str, Variable]] = {variable.name: variable for variable in VARIABLES}


def markdown() -> str:
    """The table of docs/guide.md."""
    lines = ["| variable of the guide | its value there | setting | what honours it |", "| --- | --- | --- | --- |"]
    for variable in VARIABLES:
        setting = variable.setting if variable.setting == "—" else f"`{variable.setting}`"
        lines.append(f"| `{variable.name}` | `{variable.guide}` | {setting} | {variable.how} |")
    return "\n".join(lines)
