"""`agentstack import-env`: the guide's environment file as settings, nothing lost in silence."""

import re
from pathlib import Path

import pytest
import yaml

from agentstack import import_env
from agentstack.guide_variables import VARIABLES, markdown
from components.settings import load_settings

pytestmark = pytest.mark.unit

GUIDE = """
# Phoenix Configuration
PHOENIX_HOST=0.0.0.0
PHOENIX_PORT=6006
PHOENIX_PROJECT_NAME=agentstack-production
PHOENIX_SQL_DATABASE_URL="postgresql://phoenix:password@phoenix-postgres:5432/phoenix"

# Performance Tuning
PHOENIX_MAX_WORKERS=4
PHOENIX_MEMORY_LIMIT=6G
PHOENIX_TRACING_SAMPLE_RATE=1.0

# Security
PHOENIX_AUTH_ENABLED=true
PHOENIX_SSL_ENABLED=true
PHOENIX_CORS_ORIGINS=http://localhost:3001,http://localhost:6006
"""


def test_the_guides_own_file_becomes_settings() -> None:
    assert import_env.convert(GUIDE).settings == {
        "bindAddress": "0.0.0.0",  # noqa: S104 - the guide's own value
        "ports": {"phoenix": 6006},
        "defaultProject": "agentstack-production",
        "phoenix": {"replicas": 4, "memoryMib": 6144},
        "applications": {"default": {"headSampling": 1.0}},
        "allowedOrigins": ["http://localhost:3001", "http://localhost:6006"],
    }


def test_the_database_url_is_warned_about_and_its_password_not_repeated() -> None:
    imported = import_env.convert(GUIDE)
    assert [warning for warning in imported.warnings if warning.startswith("PHOENIX_SQL_DATABASE_URL")]
    assert "phoenix:password" not in "".join(imported.warnings) + import_env.to_yaml(imported.settings)


def test_what_the_settings_still_lack_is_said() -> None:
    assert any("publicNames" in warning for warning in import_env.convert(GUIDE).warnings)


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        ("PHOENIX_MEMORY_LIMIT=512M", {"phoenix": {"memoryMib": 512}}),
        ("PHOENIX_MEMORY_LIMIT=1.5GiB", {"phoenix": {"memoryMib": 1536}}),
        ("PHOENIX_MEMORY_LIMIT=2147483648", {"phoenix": {"memoryMib": 2048}}),
        ("export PHOENIX_MAX_WORKERS='2' # two", {"phoenix": {"replicas": 2}}),
        ("PHOENIX_TRACING_SAMPLE_RATE=0.25", {"applications": {"default": {"headSampling": 0.25}}}),
        (
            "PHOENIX_CORS_ORIGINS=https://a.example/, https://b.example",
            {"allowedOrigins": ["https://a.example", "https://b.example"]},
        ),
        ("PHOENIX_SSL_ENABLED=true", {}),
        ("PHOENIX_AUTH_ENABLED=True", {}),
        ('OTEL_RESOURCE_ATTRIBUTES="service.name=agentstack-otel-collector-2"', {}),
    ],
)
def test_a_value_is_carried_over(line: str, settings: dict[str, object]) -> None:
    imported = import_env.convert(line)
    assert imported.settings == settings
    assert [warning for warning in imported.warnings if "stack file will need more" not in warning] == []


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("PHOENIX_SSL_ENABLED=false", "can't be had"),
        ("PHOENIX_AUTH_ENABLED=false", "can't be had"),
        ("PHOENIX_CORS_ORIGINS=*", "would let every web page"),
        ("PHOENIX_MAX_WORKERS=40", "at most 8"),
        ("PHOENIX_MAX_WORKERS=many", "whole number"),
        ("PHOENIX_MEMORY_LIMIT=lots", "amount of memory"),
        ("PHOENIX_TRACING_SAMPLE_RATE=1.5", "between 0 and 1"),
        ("PHOENIX_PORT=70000", "not a port"),
        ("PHOENIX_PORT=", "is empty"),
        ("PHOENIX_API_KEY=abc", "agentstack connect"),
        ("REDIS_URL=redis://x", "not a variable of the guide"),
        ("this is no variable", "line 1"),
    ],
)
def test_what_does_not_carry_over_is_warned_about(line: str, warning: str) -> None:
    imported = import_env.convert(line)
    assert imported.settings == {}
    assert any(warning in text for text in imported.warnings)


def test_the_yaml_is_a_stack_file_that_loads() -> None:
    text = import_env.to_yaml(import_env.convert(GUIDE.replace("PHOENIX_HOST=0.0.0.0", "")).settings)
    settings = load_settings(yaml.safe_load(text)["config"]["agentstack:stack"])
    assert settings.phoenix.replicas == 4
    assert settings.applications["default"].head_sampling == 1.0


def test_every_converted_variable_names_a_setting_that_exists() -> None:
    for variable in VARIABLES:
        if variable.convert is not None:
            load_settings({**variable.convert(variable.guide), "publicNames": ["phoenix.example.org"]})


def test_the_guides_table_has_every_variable_once() -> None:
    names = re.findall(r"^\| `([A-Z_]+)`", markdown(), flags=re.MULTILINE)
    assert names == [variable.name for variable in VARIABLES]
    assert set(re.findall(r"^([A-Z_]+)=", GUIDE, flags=re.MULTILINE)) <= set(names)


def test_the_output_file_is_never_overwritten(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from agentstack.cli import app
    from agentstack.errors import CommandError

    source, target = tmp_path / "env", tmp_path / "Pulumi.x.yaml"
    source.write_text("PHOENIX_MEMORY_LIMIT=2G\n")
    target.write_text("mine")
    result = CliRunner().invoke(app, ["import-env", str(source), "--output", str(target)])
    assert isinstance(result.exception, CommandError)
    assert target.read_text() == "mine"
