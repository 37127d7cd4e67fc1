"""Repair: each finding is mended by the least that mends it, strangers only by name, volumes never."""

import pytest

from agentstack.drift.declared import Declared, read
from agentstack.drift.finding import Finding
from agentstack.drift.kinds import Kind
from agentstack.drift.repair import plan
from tests.unit.test_cli_drift import CARRIER, CONTAINER, VOLUME, exported, urn

pytestmark = pytest.mark.unit

EDGE = urn(CONTAINER, "edge-otlp")


@pytest.fixture
def declared() -> Declared:
    return read(exported())


def finding(
    kind: Kind, resource: str = "agentstack-dev-edge-otlp", of: str | None = EDGE, **details: object
) -> Finding:
    return Finding(kind, resource, "", "", None, "how", of, dict(details))


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        (Kind.PAUSED, ("docker", "unpause", "agentstack-dev-edge-otlp")),
        (Kind.STOPPED, ("docker", "start", "agentstack-dev-edge-otlp")),
    ],
)
def test_what_the_engine_mends_is_not_replaced(declared: Declared, kind: Kind, command: tuple[str, ...]) -> None:
    planned = plan([finding(kind)], declared)
    assert [step.command for step in planned.engine] == [command]
    assert planned.pulumi() == []


def test_networks_are_mended_without_a_restart(declared: Declared) -> None:
    planned = plan(
        [finding(Kind.NETWORK, connect={"net-a": ["edge-otlp", "x"]}, disconnect=["net-b", "net-a"])], declared
    )
    assert [" ".join(step.command) for step in planned.engine] == [
        "docker network disconnect net-b agentstack-dev-edge-otlp",
        "docker network disconnect net-a agentstack-dev-edge-otlp",
        "docker network connect --alias edge-otlp --alias x net-a agentstack-dev-edge-otlp",
    ]
    assert planned.targets == ()


@pytest.mark.parametrize(
    ("kind", "refreshed", "replaced"),
    [
        (Kind.MISSING, True, False),
        (Kind.CHANGED, True, False),
        (Kind.UNHEALTHY, False, True),
        (Kind.RESTART_LOOP, False, True),
        (Kind.JOB_FAILED, False, True),
        (Kind.IMAGE, False, True),
        (Kind.PENDING, False, False),
        (Kind.RENEWAL_DUE, False, False),
    ],
)
def test_what_pulumi_mends_is_confined_to_the_finding(
    declared: Declared, kind: Kind, refreshed: bool, replaced: bool
) -> None:
    words = plan([finding(kind)], declared).pulumi()
    assert words[:4] == ["up", "--yes", "--skip-preview", "--target-dependents"]
    assert words.count("--target") == 1
    assert words[words.index("--target") + 1] == EDGE
    assert ("--refresh" in words) is refreshed
    assert ("--replace" in words) is replaced


def test_a_tampered_volume_is_made_again_with_its_carrier_and_service(declared: Declared) -> None:
    planned = plan(
        [finding(Kind.CONFIG_CONTENT, CARRIER, None, volume=CARRIER, volume_urn=urn(VOLUME, "config"))], declared
    )
    # Without a URN of its own it is still the carrier's: the plan needs the URN.
    assert planned.removals == ()
    planned = plan(
        [
            finding(
                Kind.CONFIG_CONTENT,
                CARRIER,
                urn(CONTAINER, "edge-otlp-config"),
                volume=CARRIER,
                volume_urn=urn(VOLUME, "config"),
            )
        ],
        declared,
    )
    assert [step.command[1:] for step in planned.removals] == [
        ("stop", "agentstack-dev-edge-otlp"),
        ("rm", "--force", "--volumes", CARRIER),
        ("rm", "--force", "--volumes", "agentstack-dev-edge-otlp"),
        ("volume", "rm", CARRIER),
    ]
    assert set(planned.targets) == {EDGE, urn(CONTAINER, "edge-otlp-config"), urn(VOLUME, "config")}
    assert planned.refresh


def test_strangers_are_left_until_they_are_named(declared: Declared) -> None:
    found = [
        finding(Kind.FOREIGN, "agentstack-dev-miner", None, what="container"),
        finding(Kind.FOREIGN, "agentstack-dev-extra", None, what="network"),
        finding(Kind.FOREIGN, "agentstack-dev-loot", None, what="volume"),
        finding(Kind.INTRUDER, "sniffer", None, network="agentstack-dev-phoenix-network", container="id-sniffer"),
    ]
    untouched = plan(found, declared)
    assert untouched.empty
    assert len(untouched.left) == 4
    named = plan(found, declared, [entry.resource for entry in found])
    assert [" ".join(step.command) for step in named.engine] == [
        "docker rm --force agentstack-dev-miner",
        "docker network rm agentstack-dev-extra",
        "docker network disconnect --force agentstack-dev-phoenix-network id-sniffer",
    ]
    assert [text for text in named.left if "agentstack-dev-loot" in text]
    assert not [step for step in (*named.engine, *named.removals) if "volume" in step.command]


def test_a_name_is_given_back_to_its_image(declared: Declared) -> None:
    planned = plan(
        [
            finding(Kind.IMAGE, "agentstack/haproxy:1", None, tag="agentstack/haproxy:1", image="sha256:old"),
            finding(Kind.IMAGE, "haproxy:3@sha256:0", None, tag="haproxy:3@sha256:0", image="sha256:old"),
        ],
        declared,
    )
    assert [step.command for step in planned.engine] == [("docker", "tag", "sha256:old", "agentstack/haproxy:1")]
    assert "haproxy:3@sha256:0" in planned.left[0]


def test_the_plan_is_told_before_it_is_done(declared: Declared) -> None:
    planned = plan([finding(Kind.PAUSED), finding(Kind.PENDING)], declared)
    assert planned.lines() == [
        "unpause agentstack-dev-edge-otlp",
        "pulumi up, confined to edge-otlp and what depends on them",
    ]
