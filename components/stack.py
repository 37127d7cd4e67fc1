"""Before and after the composition: what a stack is made from, and what it tells.

Kept out of ``__main__.py`` so that the composition reads like a table of contents.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pulumi

from components import engine, hostfit
from components.engine import Engine
from components.names import PROJECT
from components.settings import Settings, SettingsError, load_settings

ROOT: Final = Path(__file__).resolve().parent.parent


def with_local_choices(raw: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The stack file's object, with what this machine chose where the file says nothing.

    ``make up`` writes ``.agentstack/<stack>/local.json`` (``{"imageSource": "local"}``) when no image registry answers,
    so that a plain ``pulumi up`` in the same checkout sees the same stack. The stack file's own value wins.
    """
    chosen: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return {**chosen, **raw}


def read_settings(stack: str) -> tuple[Settings, Engine]:
    """Settings that fit this engine, and the engine.

    Raises:
        pulumi.RunError: with all faults of the stack file, or everything that does not fit the host, or why the engine
            can't be asked. Pulumi prints a RunError's sentence without a traceback.
    """
    raw = pulumi.Config(PROJECT).get_object("stack") or {}
    try:
        settings = load_settings(with_local_choices(raw, ROOT / ".agentstack" / stack / "local.json"))
        host = engine.inspect_engine(stack)
        fitting, notes = hostfit.fit(settings, host)
    except (SettingsError, engine.EngineError) as error:
        raise pulumi.RunError(str(error)) from error
    for note in notes:
        pulumi.log.warn(note)
    return fitting, host
