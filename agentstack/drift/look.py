"""The engine as it is now: containers, networks, volumes, images of one stack, and strangers among them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentstack import engine
from agentstack.errors import CommandError
from components.names import PROJECT, Label


@dataclass(frozen=True)
class Look:
    """What `docker inspect` says, by name or id."""

    containers: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """Id -> inspect; everything with the stack's label or name, and what is attached to its networks."""
    networks: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    volumes: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    image_ids: Mapping[str, str] = field(default_factory=dict)
    """Reference -> id, where the engine has it."""


def ours(stack: str, name: str, labels: Mapping[str, str] | None) -> bool:
    """Whether a thing carries the stack's label, or its name and no other stack's label."""
    label = (labels or {}).get(Label.STACK)
    return label == stack or (label is None and name.startswith(f"{PROJECT}-{stack}-"))


def _inspect(kind: str, ids: Iterable[str]) -> list[dict[str, Any]]:
    """Inspect what is there; what went away meanwhile is left out."""
    found: list[dict[str, Any]] = []
    wanted = list(ids)
    if not wanted:
        return found
    try:
        found = json.loads(engine.docker(kind, "inspect", *wanted))
    except CommandError:
        for one in wanted:
            try:
                found += json.loads(engine.docker(kind, "inspect", one))
            except CommandError as error:
                if "No such" not in error.what and "not found" not in error.what:
                    raise
    return found


def _ids(*arguments: str) -> list[str]:
    return engine.docker(*arguments).decode().split()


def take(stack: str, references: Iterable[str]) -> Look:
    """Look at the engine.

    Args:
        references: image names whose ids are wanted.

    Raises:
        CommandError: when the engine can't be asked.
    """
    networks = {
        raw["Name"]: raw
        for raw in _inspect("network", _ids("network", "ls", "--quiet", "--no-trunc"))
        if ours(stack, raw["Name"], raw.get("Labels"))
    }
    attached = {container for raw in networks.values() for container in raw.get("Containers") or {}}
    containers = {
        raw["Id"]: raw
        for raw in _inspect("container", _ids("ps", "--all", "--quiet", "--no-trunc"))
        if raw["Id"] in attached or ours(stack, raw["Name"].lstrip("/"), raw["Config"].get("Labels"))
    }
    volumes = {
        raw["Name"]: raw
        for raw in _inspect("volume", _ids("volume", "ls", "--quiet"))
        if ours(stack, raw["Name"], raw.get("Labels"))
    }
    return Look(containers, networks, volumes, _image_ids(references))


def _image_ids(references: Iterable[str]) -> dict[str, str]:
    found = {}
    for reference in sorted(set(references)):
        for raw in _inspect("image", [reference]):
            found[reference] = raw["Id"]
    return found
