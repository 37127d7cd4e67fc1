"""Turns the guide's `.env.phoenix-observability` into a stack file, with a warning for what does not carry over.

Pure: text in, settings and warnings out. No value of the file that looks like a secret is repeated anywhere.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from agentstack.guide_variables import BY_NAME, RefusedError

_LINE = re.compile(r"^(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)$")


@dataclass
class Imported:
    """What became of an environment file."""

    settings: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def parse(text: str) -> tuple[dict[str, str], list[str]]:
    """Variables of an environment file as Docker Compose reads it, and a warning for each line that is none."""
    found: dict[str, str] = {}
    warnings = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            warnings.append(f"line {number} is not NAME=VALUE: left out")
            continue
        name, value = match.group(1), match.group(2).strip()
        quoted = re.match(r"^(['\"])(.*?)\1\s*(?:#.*)?$", value)
        found[name] = quoted.group(2) if quoted else re.split(r"\s+#", value, maxsplit=1)[0].strip()
    return found, warnings


def merge(into: dict[str, Any], part: Mapping[str, Any]) -> None:
    """Add nested settings to others."""
    for key, value in part.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, dict) else value


def convert(text: str) -> Imported:
    """Settings for a stack file, and a warning for each variable without a counterpart."""
    variables, warnings = parse(text)
    result = Imported(warnings=warnings)
    for name, value in variables.items():
        known = BY_NAME.get(name)
        if known is None:
            result.warnings.append(f"{name}: not a variable of the guide; nothing in the stack corresponds to it")
        elif known.kind == "none":
            result.warnings.append(f"{name}: {known.how}")
        elif known.kind == "fixed":
            if known.same is not None and not known.same(value):
                result.warnings.append(f"{name}={value} can't be had. {known.how}")
        elif not value:
            result.warnings.append(f"{name}: is empty; left out")
        elif known.convert is not None:
            try:
                merge(result.settings, known.convert(value))
            except RefusedError as error:
                result.warnings.append(f"{name}: {error}; left out")
    result.warnings += _faults(result.settings)
    return result


def _faults(settings: Mapping[str, Any]) -> list[str]:
    """What the settings still lack to be accepted."""
    from components.settings import SettingsError, load_settings

    try:
        load_settings(settings)
    except SettingsError as error:
        return [f"the stack file will need more: {problem}" for problem in error.problems]
    return []


def to_yaml(settings: Mapping[str, Any]) -> str:
    """A stack file with these settings."""
    return yaml.safe_dump({"config": {"agentstack:stack": dict(settings)}}, sort_keys=False, allow_unicode=True)
