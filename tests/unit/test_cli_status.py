"""`agentstack status`: what a container's state means, and what counts as sick."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from agentstack import engine, status

pytestmark = pytest.mark.unit

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


def inspected(
    name: str = "agentstack-dev-phoenix", state: str = "running", health: str | None = "healthy", **more: Any
) -> dict[str, Any]:
    """The shape of `docker container inspect`, as an engine writes it."""
    found: dict[str, Any] = {
        "Name": f"/{name}",
        "Image": "sha256:1111",
        "RestartCount": 2,
        "State": {"Status": state, "StartedAt": "2026-05-01T11:58:30.123456789Z", "ExitCode": 0},
        "Config": {
            "Image": "sha256:1111",
            "Labels": {"io.agentstack.stack": "dev", "io.agentstack.service": "phoenix", "io.agentstack.replica": "1"},
        },
        "HostConfig": {"Memory": 1024**3},
    }
    if health is not None:
        found["State"]["Health"] = {"Status": health}
    return found | more


def row_of(raw: dict[str, Any] | None) -> status.Row:
    found = {} if raw is None else {"agentstack-dev-phoenix": engine.to_container(raw)}
    [row] = status.rows(
        {"phoenix": ("agentstack-dev-phoenix",)},
        found,
        {"agentstack-dev-phoenix": 512},
        {"sha256:1111": "agentstack/phoenix:abc"},
        frozenset(),
        NOW,
    )
    return row


def test_a_healthy_service_has_all_figures() -> None:
    assert row_of(inspected()).as_json() == {
        "service": "phoenix",
        "container": "agentstack-dev-phoenix",
        "health": "healthy",
        "image": "agentstack/phoenix:abc",
        "uptime_seconds": 89,
        "memory_bytes": 512,
        "memory_limit_bytes": 1024**3,
        "restarts": 2,
        "stand_in": False,
    }


@pytest.mark.parametrize(
    ("state", "health", "expected"),
    [
        ("running", "healthy", "healthy"),
        ("running", "starting", "starting"),
        ("running", "unhealthy", "unhealthy"),
        ("running", None, "running"),
        ("paused", "healthy", "paused"),
        ("restarting", "unhealthy", "restarting"),
        ("exited", "unhealthy", "stopped"),
        ("created", None, "stopped"),
        ("dead", None, "stopped"),
    ],
)
def test_only_a_healthy_container_is_well(state: str, health: str | None, expected: str) -> None:
    row = row_of(inspected(state=state, health=health))
    assert row.health == expected
    assert bool(status.sick([row])) is (expected != "healthy")


def test_a_container_that_is_gone_is_missing_and_sick() -> None:
    row = row_of(None)
    assert (row.health, row.uptime_seconds, row.memory_limit_bytes) == ("missing", None, None)
    assert status.sick([row]) == [row]


def test_a_stopped_container_has_no_uptime() -> None:
    assert row_of(inspected(state="exited")).uptime_seconds is None


def test_a_stand_in_is_named() -> None:
    found = {"g": engine.to_container(inspected(name="g"))}
    [row] = status.rows({"grafana": ("g",)}, found, {}, {}, frozenset({"grafana"}), NOW)
    assert row.stand_in


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0B", 0),
        ("512B", 512),
        ("1.5kB", 1500),
        ("12.5MiB", 13_107_200),
        ("1GiB", 1024**3),
        ("2.001GiB", round(2.001 * 1024**3)),
    ],
)
def test_dockers_sizes_are_read(text: str, size: int) -> None:
    assert engine.parse_size(text) == size


def test_a_container_that_just_went_has_no_memory() -> None:
    lines = [
        {"Name": "a", "MemUsage": "10MiB / 1GiB"},
        {"Name": "b", "MemUsage": "-- / --"},
    ]
    assert engine.parse_stats("\n".join(map(json.dumps, lines))) == {"a": 10 * 1024**2}


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0, "0s"), (59, "59s"), (61, "1m 1s"), (3600, "1h 0m"), (93_784, "1d 2h")]
)
def test_durations_are_short(seconds: int | None, text: str) -> None:
    assert status.duration(seconds) == text


def test_never_started_is_no_time() -> None:
    assert engine.parse_time("0001-01-01T00:00:00Z") is None
