"""The Collector's configuration as data: what is literal, what it expands itself, and how OTTL is written.

In the file a ``$`` starts an expansion (``${env:...}``), so every literal one (a regular expression's end) must be
doubled. Nobody here does that by hand: plain strings are literal, :class:`Expand` marks the few that are not.
"""

import json
from collections.abc import Iterable
from typing import Any

import yaml

Node = dict[str, Any]


class Expand(str):
    """Text with ``${...}`` that the Collector expands when it starts."""

    __slots__ = ()


def escaped(node: Any) -> Any:
    """The same data as plain types, every literal ``$`` doubled."""
    if isinstance(node, Expand):
        return str(node)
    if isinstance(node, str):
        return node.replace("$", "$$")
    if isinstance(node, dict):
        return {str(key): escaped(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [escaped(value) for value in node]
    return node


def dump(config: Node) -> str:
    """YAML in the order in which the data was written."""
    text: str = yaml.safe_dump(escaped(config), sort_keys=False, width=4096, allow_unicode=True)
    return text


def quoted(value: str) -> str:
    r"""An OTTL string literal. OTTL knows the escapes of JSON that matter here (``\\``, ``\"``, ``\n``)."""
    return json.dumps(value, ensure_ascii=False)


def any_of(values: Iterable[str]) -> str:
    """A regular expression that matches exactly one of these texts."""
    return "^(" + "|".join(_escape_regex(value) for value in sorted(set(values))) + ")$"


def _escape_regex(value: str) -> str:
    return "".join(f"\\{char}" if char in r"\.+*?()|[]{}^$" else char for char in value)
