"""Settings of the telemetry: every rule refuses what it should, with the path and what to do."""

from typing import Any

import pytest

from components.settings import SettingsError, load_settings

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("raw", "path", "says"),
    [
        ({"models": ["GPT-4o"]}, "telemetry.models.0", "match pattern"),
        ({"models": ["gpt-4o", "openai:gpt-4o"]}, "telemetry", "models named twice: gpt-4o"),
        ({"prices": {"gpt-4o": {"input": -1}}}, "telemetry.prices.gpt-4o.input", "greater than or equal to 0"),
        ({"prices": {"gpt-4o": {"output": 1}}}, "telemetry.prices.gpt-4o.input", "is required"),
        ({"projects": ["x" * 65]}, "telemetry.projects.0", "at most 64"),
        ({"maxSeries": 10}, "telemetry.maxSeries", "greater than or equal to 1000"),
        ({"attributeBytes": 10}, "telemetry.attributeBytes", "greater than or equal to 1024"),
        ({"redaction": {"builtin": ["ssn"]}}, "telemetry.redaction.builtin.0", "'email'"),
        ({"redaction": {"patterns": {"Bad Name": "x"}}}, "telemetry.redaction.patterns", "is not a name"),
        ({"redaction": {"patterns": {"a": "("}}}, "telemetry.redaction.patterns", "write an RE2 pattern"),
        ({"redaction": {"patterns": {"a": "(?=x)y"}}}, "telemetry.redaction.patterns", "not RE2"),
        ({"redaction": {"patterns": {"a": r"(x)\1"}}}, "telemetry.redaction.patterns", "not RE2"),
        ({"redaction": {"patterns": {"a": r"\u0041"}}}, "telemetry.redaction.patterns", "not RE2"),
        ({"redaction": {"patterns": {"a": "(?#note)x"}}}, "telemetry.redaction.patterns", "not RE2"),
        ({"redaction": {"patterns": {"a": "(?x) x"}}}, "telemetry.redaction.patterns", "not RE2"),
        ({"redaction": {"patterns": {"a": "x{2,1001}"}}}, "telemetry.redaction.patterns", "at most 1000 times"),
        ({"redaction": {"patterns": {"a": "x*"}}}, "telemetry.redaction.patterns", "matches an empty text"),
        ({"redaction": {"patterns": {"a": "x" * 501}}}, "telemetry.redaction.patterns", "split it"),
        ({"routes": [{"route": "/x", "ratio": 2}]}, "telemetry.routes.0.ratio", "less than or equal to 1"),
        ({"tailSampling": {"decisionWaitSeconds": 1}}, "telemetry.tailSampling.decisionWaitSeconds", "equal to 2"),
        ({"tailSampling": {"hotRatio": -0.1}}, "telemetry.tailSampling.hotRatio", "greater than or equal to 0"),
        ({"applicationMetrics": {"names": ["9x"]}}, "telemetry.applicationMetrics.names.0", "match pattern"),
        ({"applicationMetrics": {"instances": 0}}, "telemetry.applicationMetrics.instances", "equal to 1"),
        ({"nonsense": 1}, "telemetry.nonsense", "no such setting"),
    ],
)
def test_what_can_not_be_used_is_refused(raw: dict[str, Any], path: str, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({"telemetry": raw})
    messages = [str(problem) for problem in refused.value.problems if problem.path == path]
    assert any(says in message for message in messages), [str(p) for p in refused.value.problems]


def test_tail_sampling_is_refused_with_several_collectors() -> None:
    with pytest.raises(SettingsError, match=r"needs whole traces in one Collector, but collector\.replicas is 2"):
        load_settings({"telemetry": {"tailSampling": {"enabled": True}}, "collector": {"replicas": 2}})


def test_a_sampled_route_must_be_of_a_known_application() -> None:
    with pytest.raises(SettingsError, match="unknown applications: ghost; known: default"):
        load_settings({"telemetry": {"routes": [{"application": "ghost", "route": "/x", "ratio": 0.5}]}})


@pytest.mark.parametrize(
    "pattern", [r"ACME-\d{6}", r"(?i)case #[0-9]{1,1000}", r"(?P<id>id-\w+)", r"\bK\d+\b", r"a(?:b|c)+?d"]
)
def test_patterns_of_re2_are_taken(pattern: str) -> None:
    assert load_settings({"telemetry": {"redaction": {"patterns": {"own": pattern}}}})
