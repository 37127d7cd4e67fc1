"""The faults of a stack file, all at once."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic.alias_generators import to_camel


@dataclass(frozen=True)
class Problem:
    """One fault: where in the stack file, what stands there, what is allowed."""

    path: str
    value: str
    message: str

    def __str__(self) -> str:
        shown = f" = {self.value}" if self.value else ""
        return (
            f"agentstack:stack.{self.path}{shown}: {self.message}" if self.path else f"agentstack:stack: {self.message}"
        )


class SettingsError(ValueError):
    """A stack file that can't be used; ``problems`` holds every fault."""

    def __init__(self, problems: Sequence[Problem], hint: str = "") -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"{count} setting{'s' if count != 1 else ''} of the stack file can't be used; nothing was changed:"
        super().__init__("\n".join([head, *(f"  - {problem}" for problem in self.problems), *([hint] if hint else [])]))


_ALLOWED = {
    "extra_forbidden": "no such setting; see docs/settings.md for the names",
    "missing": "is required",
}


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return ""
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def problems_of(error: ValidationError) -> list[Problem]:
    """Pydantic's errors in our words: the path as it stands in the stack file, the value, what is allowed."""
    found = []
    for item in error.errors(include_url=False):
        path = ".".join(to_camel(part) if isinstance(part, str) and "_" in part else str(part) for part in item["loc"])
        message = _ALLOWED.get(item["type"], item["msg"].removeprefix("Value error, "))
        value = "" if item["type"] == "missing" else _shown(item["input"])
        found.append(Problem(path=path, value=value, message=message))
    return found
