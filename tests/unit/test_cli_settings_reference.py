"""The settings reference, the schema and the complete example are what the models say."""

import json
from typing import Any

import pytest
import yaml

from agentstack import settings_reference as reference
from agentstack.settings_example import SAMPLES, example
from components.settings import Settings, load_settings

pytestmark = pytest.mark.unit

ROWS = [row for section in reference.sections(Settings) for row in section.rows]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (reference.MARKDOWN, reference.markdown()),
        (reference.SCHEMA, reference.schema()),
        (reference.EXAMPLE, example()),
        (reference.GUIDE, reference.guide()),
        (reference.DRIFT, reference.drift()),
    ],
    ids=["reference", "schema", "example", "guide", "drift"],
)
def test_the_written_files_are_current(path: Any, text: str) -> None:
    assert path.read_text() == text, "run: .venv/bin/python -m agentstack.settings_reference"


def test_every_setting_says_what_it_means() -> None:
    assert [row.path for row in ROWS if not row.meaning] == []


def test_bounds_defaults_and_types_are_told() -> None:
    by_path = {row.path: row for row in ROWS}
    assert by_path["ports.otlpGrpc"].allowed == "≥ 1, ≤ 65535"
    assert by_path["ports.otlpGrpc"].default == "`4317`"
    assert by_path["imageSource"].type == "one of `registry`, `local`"
    # A section's defaults are those of the stack, not those of the model: grafana has limits of its own.
    assert by_path["grafana.cpus"].default == "`1.0`"
    assert by_path["grafana.cpus"].meaning == by_path["phoenix.cpus"].meaning != ""


def paths(value: dict[str, Any], prefix: str = "") -> set[str]:
    found = set()
    for key, item in value.items():
        path = f"{prefix}.{key}" if prefix else key
        found.add(path)
        if isinstance(item, dict) and path not in SAMPLES:
            found |= paths(item, path)
    return found


def test_the_example_is_accepted_and_complete() -> None:
    stack = yaml.safe_load(example())["config"]["agentstack:stack"]
    load_settings(stack)
    told = paths(stack)
    commented = {
        line.strip().lstrip("# ").split(":")[0]
        for line in example().splitlines()
        if line.startswith("    ") and "#" in line
    }
    missing = {row.path for row in ROWS if "<name>" not in row.path and "[]" not in row.path} - told
    assert {path for path in missing if path.rsplit(".", 1)[-1] not in commented} == set()


def test_samples_name_settings_that_exist() -> None:
    assert set(SAMPLES) <= {row.path for row in ROWS}


def test_the_schema_refuses_what_the_models_refuse() -> None:
    stack = json.loads(reference.schema())["properties"]["config"]["properties"]["agentstack:stack"]
    assert stack["additionalProperties"] is False
    assert {row.path for row in ROWS if "." not in row.path} <= set(stack["properties"])
