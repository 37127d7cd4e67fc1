"""The complete example of a stack file: every setting with its default, or with a made-up value where it has none.

Written by `python -m agentstack.settings_reference`, so that a setting can't be forgotten.
"""

from collections.abc import Iterator
from typing import Any, Final

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from agentstack.settings_models import nested, type_name
from components.settings import Settings

SAMPLES: Final[dict[str, Any]] = {
    "registryMirror": "registry.example.org:5000",
    "publicNames": ["traces.example.org"],
    "allowedSources": ["10.0.0.0/8"],
    "allowedOrigins": ["https://app.example.org"],
    "applications": {
        "default": {},
        "checkout": {
            "requestsPerSecond": 200,
            "bytesPerSecond": 20_000_000,
            "capture": "metadata-only",
            "project": "shop",
            "headSampling": 0.5,
        },
    },
    "telemetry.extraModels": ["acme-chat-7b"],
    "telemetry.prices": {"acme-chat-7b": {"input": 0.2, "output": 0.6, "cacheRead": 0.02, "cacheWrite": 0.25}},
    "telemetry.projects": ["research"],
    "telemetry.services": ["checkout-api"],
    "telemetry.redaction.patterns": {"ticket": "TCK-[0-9]{6}"},
    "telemetry.consent.required": True,
    "telemetry.routes": [{"application": "checkout", "route": "/health", "ratio": 0.01}],
    "telemetry.tailSampling.hotRoutes": ["/search"],
    "telemetry.tailSampling.maxSpansPerSecond": 500,
    "telemetry.applicationMetrics.names": ["shop.orders"],
    "telemetry.applicationMetrics.attributes": {"shop.tenant": ["north", "south"]},
}
"""Path -> value, where the default is empty. A setting that is missing here stands in the example as a comment."""

_HEAD: Final = """\
# yaml-language-server: $schema=../settings.schema.json
# Every setting there is. A stack file of your own needs only what differs from the defaults: docs/settings.md has
# them, and what each means.
config:
  agentstack:stack:
"""


def _model_of(field: FieldInfo) -> BaseModel | None:
    value = field.get_default(call_default_factory=True)
    return value if isinstance(value, BaseModel) else None


def _block(key: str, value: Any, indent: int) -> Iterator[str]:
    """``key: value`` as the library writes it, indented."""
    text = yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, width=100)
    yield from (f"{' ' * indent}{line}" for line in text.splitlines())


def lines(model: type[BaseModel], values: BaseModel | None, path: str = "", indent: int = 4) -> Iterator[str]:
    """The settings of a model; ``values`` are its defaults where its parent has some of its own."""
    for name, field in model.model_fields.items():
        key = field.alias or name
        where = f"{path}.{key}" if path else key
        default = getattr(values, name) if values is not None else field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            yield f"{' ' * indent}{key}:"
            yield from lines(type(default), default, where, indent + 2)
        elif where in SAMPLES:
            yield from _block(key, SAMPLES[where], indent)
        elif default is None or default is PydanticUndefined or default in ((), {}):
            yield from (f"{' ' * indent}# {line}" for line in _empty(key, field))
        else:
            yield from _block(key, to_jsonable_python(default), indent)


def _empty(key: str, field: FieldInfo) -> Iterator[str]:
    """A setting without a value, as it could stand there: its type, or the settings of the model behind it."""
    found = nested(field.annotation)
    if found is None:
        yield f"{key}: ({type_name(field.annotation)})"
        return
    suffix, model = found
    yield f"{key}:"
    first = {"": "", ".<name>": "<name>:", "[]": "-"}.get(suffix, "-")
    if first:
        yield f"  {first}"
    inner = "  " if not first else "    "
    for name, below in model.model_fields.items():
        default = below.get_default(call_default_factory=True)
        shown = below.alias or name
        if isinstance(default, BaseModel) or nested(below.annotation):
            yield from (f"{inner}{line}" for line in _empty(shown, below))
        elif default is None or default is PydanticUndefined or default in ((), {}):
            yield f"{inner}{shown}: ({type_name(below.annotation)})"
        else:
            yield from (f"{inner}{line}" for line in _block(shown, to_jsonable_python(default), 0))


def example() -> str:
    """The whole of docs/examples/Pulumi.complete.yaml."""
    return _HEAD + "\n".join(lines(Settings, None)) + "\n"
