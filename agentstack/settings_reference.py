"""Writes the reference of the stack file's settings from the models that check it.

    python -m agentstack.settings_reference [--check]

docs/settings.md for people, docs/settings.schema.json for editors, docs/examples/Pulumi.complete.yaml to copy from, and
the tables in docs/guide.md (variables) and docs/drift.md (kinds).
`--check` writes nothing and exits with 1 when one is out of date.
"""

import argparse
import itertools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from agentstack import guide_variables
from agentstack.drift import kinds
from agentstack.settings_example import example
from agentstack.settings_models import allowed, choice, description, models_behind, one_line, type_name
from components.settings import Settings

ROOT: Final = Path(__file__).resolve().parent.parent
MARKDOWN: Final = ROOT / "docs" / "settings.md"
SCHEMA: Final = ROOT / "docs" / "settings.schema.json"
GUIDE: Final = ROOT / "docs" / "guide.md"
DRIFT: Final = ROOT / "docs" / "drift.md"
EXAMPLE: Final = ROOT / "docs" / "examples" / "Pulumi.complete.yaml"
_MANY: Final = 6
"""A default list longer than this is not spelt out."""


class Row(NamedTuple):
    """One setting: its path in the stack file, type, bounds, default, meaning."""

    path: str
    type: str
    allowed: str
    default: str
    meaning: str


class Section(NamedTuple):
    """One model: its path, what it is, its rows."""

    path: str
    model: type[BaseModel]
    rows: list[Row]

    @property
    def about(self) -> str:
        """What the model's docstring says."""
        return one_line(self.model.__doc__ or "")


def default_text(field: FieldInfo) -> str:
    """A field's default as it would stand in a stack file."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "**required**"
    if value is None or value in ({}, (), []):
        return "none"
    if isinstance(value, tuple) and len(value) > _MANY:
        return f"{len(value)} entries: `{value[0]}`, `{value[1]}`, ..."
    if isinstance(value, dict):
        return ", ".join(f"`{key}`" for key in value)
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{json.dumps(value)}`".replace('"', "")


def _value_of(field: FieldInfo) -> BaseModel | None:
    value = field.get_default(call_default_factory=True)
    return value if isinstance(value, BaseModel) else None


def sections(model: type[BaseModel], path: str = "", value: BaseModel | None = None) -> Iterator[Section]:
    """A section per model, in the order in which a stack file would have them.

    Args:
        value: where the parent sets values of its own for this model: its fields are the defaults then.
    """
    rows: list[Row] = []
    below: list[Section] = []
    for name, field in model.model_fields.items():
        key = f"{path}.{field.alias or name}" if path else field.alias or name
        meaning = description(model, name)
        found = models_behind(field.annotation)
        own = getattr(value, name, None) if value is not None else None
        shown = field if value is None else FieldInfo.merge_field_infos(field, default=own, default_factory=None)
        for suffix, inner in found:
            default = own if isinstance(own, BaseModel) else _value_of(field)
            inside = list(sections(inner, key + suffix, default if suffix == "" else None))
            if suffix == "" and len(inside) == 1 and len(inside[0].rows) == 1:
                rows += inside[0].rows  # a model of one field needs no section of its own
                break
            chosen = f" (type: {choice(inner)})" if len(found) > 1 and choice(inner) else ""
            below += [section._replace(path=f"{section.path}{chosen}") for section in inside]
            meaning = meaning or one_line((inner.__doc__ or "").split("\n")[0])
        else:
            rows.append(
                Row(
                    key,
                    type_name(field.annotation),
                    allowed(field.annotation, list(field.metadata)),
                    "see below" if found and found[0][0] == "" else default_text(shown),
                    one_line(meaning or ""),
                )
            )
    yield Section(path, model, rows)
    yield from below


_HEAD: Final = """\
# Settings

<!-- Written by `python -m agentstack.settings_reference` from components/settings: change it there. -->

Everything that a stack file (`Pulumi.<stack>.yaml`) may say, below `config: agentstack:stack:`. Only what differs from
the default need stand there. An unknown key or a bad value is refused before anything changes, with all faults at
once. [examples/Pulumi.complete.yaml](examples/Pulumi.complete.yaml) has every key; editors that know JSON schema take
[settings.schema.json](settings.schema.json).
"""


def table(headings: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows)]


def one(section: Section) -> list[str]:
    """A model that stands at one place."""
    rows = [[f"`{row.path}`", row.type, row.allowed, row.default, row.meaning] for row in section.rows]
    return [
        f"## `{section.path}`" if section.path else "## The stack",
        "",
        section.about,
        "",
        *table(["setting", "type", "allowed", "default", "meaning"], rows),
        "",
    ]


def shared(group: list[Section]) -> list[str]:
    """A model that stands at several places and differs in its defaults alone."""
    names = [row.path.removeprefix(f"{group[0].path}.") for row in group[0].rows]
    described = zip(names, group[0].rows, strict=True)
    return [
        "## " + ", ".join(f"`{section.path}`" for section in group),
        "",
        group[0].about,
        "",
        *table(
            ["setting", "type", "allowed", "meaning"],
            [[f"`<service>.{name}`", row.type, row.allowed, row.meaning] for name, row in described],
        ),
        "",
        *table(
            ["defaults", *(f"`{name}`" for name in names)],
            [[f"`{section.path}`", *(row.default for row in section.rows)] for section in group],
        ),
        "",
    ]


def markdown() -> str:
    """The whole of docs/settings.md."""
    lines = [_HEAD]
    for _, group in itertools.groupby(sections(Settings), key=lambda section: section.model):
        found = list(group)
        lines += one(found[0]) if len(found) == 1 else shared(found)
    return "\n".join(lines)


def schema() -> str:
    """The whole of docs/settings.schema.json: a stack file, with the settings where they belong."""
    settings = Settings.model_json_schema(by_alias=True)
    definitions = settings.pop("$defs", {})
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "AgentStack Observability: Pulumi.<stack>.yaml",
        "type": "object",
        "properties": {"config": {"type": "object", "properties": {"agentstack:stack": settings}}},
        "$defs": definitions,
    }
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def filled(path: Path, name: str, content: str) -> str:
    """A page with what stands between ``<!-- name -->`` and ``<!-- /name -->`` written anew."""
    block = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
    return block.sub(lambda _: f"\n{content}\n\n", path.read_text(encoding="utf-8"), count=1)


def guide() -> str:
    """docs/guide.md with the table of the guide's variables as it should be."""
    return filled(GUIDE, "variables", guide_variables.markdown())


def drift() -> str:
    """docs/drift.md with the table of kinds as it should be."""
    return filled(DRIFT, "kinds", kinds.markdown())


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when out of date")
    check = parser.parse_args().check
    stale = False
    for path, text in (
        (MARKDOWN, markdown()),
        (SCHEMA, schema()),
        (EXAMPLE, example()),
        (GUIDE, guide()),
        (DRIFT, drift()),
    ):
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale = True
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(ROOT)} {'is out of date' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
