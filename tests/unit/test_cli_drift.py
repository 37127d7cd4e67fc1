"""Drift: what each kind looks like in Pulumi's and Docker's own words, and that a clean stack is not accused."""

import io
import json
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from agentstack.drift import contents, plan, probe
from agentstack.drift.declared import Declared, File, read
from agentstack.drift.finding import Finding, Report, merge
from agentstack.drift.kinds import ABOUT, Kind
from agentstack.drift.look import Look, ours
from components.runtime import content_hash

pytestmark = pytest.mark.unit

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
CONTAINER = "docker:index/container:Container"
VOLUME = "docker:index/volume:Volume"
NETWORK = "docker:index/network:Network"
CERTIFICATE = "tls:index/locallySignedCert:LocallySignedCert"
FILES = {"haproxy.cfg": "frontend x\n", "tls/tls.key": "a key"}
MODES = {"haproxy.cfg": "0440", "tls/tls.key": "0400"}
HASH = content_hash(FILES, MODES, "99:99 sha256:probe")
CARRIER = f"agentstack-dev-edge-otlp-config-{HASH}"


def urn(kind: str, name: str) -> str:
    return f"urn:pulumi:dev::agentstack::agentstack:observability:Thing${kind}::{name}"


def labels(role: str, service: str) -> list[dict[str, str]]:
    return [
        {"label": "io.agentstack.role", "value": role},
        {"label": "io.agentstack.service", "value": service},
        {"label": "io.agentstack.stack", "value": "dev"},
    ]


def exported() -> dict[str, Any]:
    """A state with a service, its carrier and volume, a network, a data volume, a job and a certificate."""
    uploads = [
        {"content": text, "file": f"/etc/agentstack/{path}", "owner": "99", "group": "99", "permissions": MODES[path]}
        for path, text in FILES.items()
    ]
    service = {
        "name": "agentstack-dev-edge-otlp",
        "image": "sha256:haproxy",
        "labels": labels("service", "edge-otlp"),
        "networksAdvanced": [
            {"name": "agentstack-dev-phoenix-network", "aliases": ["edge-otlp"]},
            {"name": "agentstack-dev-application-network", "aliases": ["otel-collector", "phoenix"]},
        ],
        "mounts": [{"source": CARRIER, "target": "/etc/agentstack"}],
    }
    carrier = {
        "name": CARRIER,
        "image": "sha256:probe",
        "labels": labels("config", "edge-otlp"),
        "uploads": {"4dabf18193072939515e22adb298388d": "x", "plaintext": json.dumps(uploads)},
        "mounts": [{"source": CARRIER, "target": "/etc/agentstack"}],
    }
    job = {"name": "agentstack-dev-job", "image": "sha256:postgres", "labels": labels("job", "postgres")}
    made_from = {"propertyDependencies": {"uploads": [urn(CERTIFICATE, "edge-otlp-certificate")]}}
    mounts = {"propertyDependencies": {"mounts": [urn(VOLUME, "config")]}}
    networks = ("phoenix-network", "application-network")
    resources = [
        {"type": VOLUME, "urn": urn(VOLUME, "config"), "id": CARRIER, "inputs": {"name": CARRIER}},
        {
            "type": CONTAINER,
            "urn": urn(CONTAINER, "edge-otlp-config"),
            "id": "id-carrier",
            "inputs": carrier,
            **made_from,
        },
        {"type": CONTAINER, "urn": urn(CONTAINER, "edge-otlp"), "id": "id-edge", "inputs": service, **mounts},
        {"type": CONTAINER, "urn": urn(CONTAINER, "job"), "id": "id-job", "inputs": job},
        {"type": CERTIFICATE, "urn": urn(CERTIFICATE, "edge-otlp-certificate"), "id": "cert", "inputs": {}},
        *(
            {
                "type": NETWORK,
                "urn": urn(NETWORK, name),
                "id": f"id-{name}",
                "inputs": {"name": f"agentstack-dev-{name}"},
            }
            for name in networks
        ),
    ]
    return {"deployment": {"resources": resources}}


@pytest.fixture
def declared() -> Declared:
    return read(exported())


def edge(**state: Any) -> dict[str, Any]:
    """`docker inspect` of the service, sound unless said otherwise."""
    return {
        "Id": "id-edge",
        "Name": "/agentstack-dev-edge-otlp",
        "Image": "sha256:haproxy",
        "RestartCount": state.pop("restarts", 0),
        "Created": "2026-05-01T10:00:00Z",
        "State": {
            "Status": "running",
            "StartedAt": "2026-05-01T11:00:00Z",
            "FinishedAt": "0001-01-01T00:00:00Z",
            "ExitCode": 0,
            "Health": {"Status": "healthy", "Log": []},
            **state,
        },
        "Config": {"Labels": {"io.agentstack.stack": "dev"}},
        "NetworkSettings": {
            "Networks": {
                "agentstack-dev-phoenix-network": {"Aliases": ["edge-otlp", "id-edge"]},
                "agentstack-dev-application-network": {"Aliases": ["otel-collector", "phoenix", "id-edge"]},
            }
        },
    }


def engine(*more: dict[str, Any], service: dict[str, Any] | None = None, job_exit: int = 0) -> Look:
    """A look at an engine with the whole stack on it, and ``more`` containers."""
    carrier = {
        "Id": "id-carrier", "Name": f"/{CARRIER}", "Image": "sha256:probe", "State": {"Status": "created"},
        "Config": {"Labels": {"io.agentstack.stack": "dev"}}, "NetworkSettings": {"Networks": {"none": {}}},
    }  # fmt: skip
    job = {
        "Id": "id-job", "Name": "/agentstack-dev-job", "Image": "sha256:postgres",
        "State": {"Status": "exited", "ExitCode": job_exit, "FinishedAt": "2026-05-01T11:00:00.5Z"},
        "Config": {"Labels": {"io.agentstack.stack": "dev"}}, "NetworkSettings": {"Networks": {}},
    }  # fmt: skip
    containers = {raw["Id"]: raw for raw in (service or edge(), carrier, job, *more)}
    networks = {
        f"agentstack-dev-{name}": {"Id": f"id-{name}", "Name": f"agentstack-dev-{name}"}
        for name in ("phoenix-network", "application-network")
    }
    return Look(containers, networks, {CARRIER: {"Name": CARRIER}}, {})


def found(declared: Declared, look: Look) -> list[Finding]:
    return list(probe.findings("dev", declared, look, NOW))


def one(findings: Iterator[Finding] | list[Finding]) -> Finding:
    [finding] = list(findings)
    return finding


def test_a_sound_stack_is_not_accused(declared: Declared) -> None:
    assert found(declared, engine()) == []


@pytest.mark.parametrize(
    ("state", "kind", "since"),
    [
        ({"Status": "paused"}, Kind.PAUSED, None),
        (
            {"Status": "exited", "ExitCode": 137, "FinishedAt": "2026-05-01T11:30:00Z"},
            Kind.STOPPED,
            "2026-05-01T11:30:00Z",
        ),
        ({"Status": "restarting", "restarts": 5}, Kind.RESTART_LOOP, None),
        (
            {"restarts": 4, "StartedAt": "2026-05-01T11:59:30Z", "Health": {"Status": "starting", "Log": []}},
            Kind.RESTART_LOOP,
            None,
        ),
        (
            {
                "Health": {
                    "Status": "unhealthy",
                    "Log": [
                        {"Start": "2026-05-01T11:40:00Z", "ExitCode": 0, "Output": ""},
                        {"Start": "2026-05-01T11:41:00Z", "ExitCode": 1, "Output": "no answer"},
                        {"Start": "2026-05-01T11:42:00Z", "ExitCode": 1, "Output": "no\nanswer"},
                    ],
                }
            },
            Kind.UNHEALTHY,
            "2026-05-01T11:41:00Z",
        ),
    ],
    ids=["paused", "stopped", "restarting", "looping", "unhealthy"],
)
def test_a_service_that_is_not_well(declared: Declared, state: dict[str, Any], kind: Kind, since: str | None) -> None:
    finding = one(found(declared, engine(service=edge(**state))))
    assert (finding.kind, finding.resource, finding.since) == (kind, "agentstack-dev-edge-otlp", since)
    assert finding.expected == "running and healthy"


@pytest.mark.parametrize(
    "state",
    [
        {"Health": {"Status": "starting", "Log": []}},
        {"restarts": 7},
        {"restarts": 7, "StartedAt": "2026-05-01T11:59:30Z"},
    ],
    ids=["just started", "restarted long ago", "restarted just now and well"],
)
def test_a_service_that_is_on_its_way_is_not_accused(declared: Declared, state: dict[str, Any]) -> None:
    assert found(declared, engine(service=edge(**state))) == []


def test_a_one_shot_that_failed(declared: Declared) -> None:
    finding = one(found(declared, engine(job_exit=3)))
    assert (finding.kind, finding.actual) == (Kind.JOB_FAILED, "exit code 3")


def test_a_network_that_was_left_and_one_that_was_joined(declared: Declared) -> None:
    service = edge()
    networks = service["NetworkSettings"]["Networks"]
    del networks["agentstack-dev-phoenix-network"]
    networks["bridge"] = {"Aliases": None}
    finding = one(found(declared, engine(service=service)))
    assert finding.kind is Kind.NETWORK
    assert finding.details == {"connect": {"agentstack-dev-phoenix-network": ["edge-otlp"]}, "disconnect": ["bridge"]}


def test_a_name_that_was_lost_on_a_network(declared: Declared) -> None:
    service = edge()
    service["NetworkSettings"]["Networks"]["agentstack-dev-application-network"]["Aliases"] = ["phoenix"]
    finding = one(found(declared, engine(service=service)))
    assert "not called otel-collector on agentstack-dev-application-network" in finding.actual


def test_another_image_behind_a_container(declared: Declared) -> None:
    finding = one(found(declared, engine(service={**edge(), "Image": "sha256:other"})))
    assert (finding.kind, finding.expected, finding.actual) == (
        Kind.IMAGE,
        "image sha256:haproxy",
        "image sha256:other",
    )


def test_a_reference_that_means_another_image_or_none() -> None:
    look = Look(image_ids={"agentstack/haproxy:1": "sha256:new", "agentstack/phoenix:1": "sha256:phoenix"})
    references = {
        "agentstack/haproxy:1": "sha256:old",
        "agentstack/gone:1": "sha256:g",
        "agentstack/phoenix:1": "sha256:phoenix",
    }
    kinds = {finding.resource: finding.actual for finding in probe.of_references(references, look)}
    assert kinds == {"agentstack/haproxy:1": "image sha256:new", "agentstack/gone:1": "not on the engine"}


def stranger(name: str, networks: dict[str, Any] | None = None, label: str | None = None) -> dict[str, Any]:
    return {
        "Id": f"id-{name}",
        "Name": f"/{name}",
        "Image": "sha256:x",
        "Created": "2026-05-01T09:00:00Z",
        "State": {"Status": "running", "StartedAt": "2026-05-01T09:00:01Z"},
        "Config": {"Labels": {"io.agentstack.stack": label} if label else {}},
        "NetworkSettings": {"Networks": networks or {}},
    }


def test_strangers_with_our_name_or_label(declared: Declared) -> None:
    look = engine(stranger("agentstack-dev-miner"), stranger("innocent-name", label="dev"))
    look = Look(
        look.containers,
        {
            **look.networks,
            "agentstack-dev-extra": {
                "Id": "id-extra",
                "Name": "agentstack-dev-extra",
                "Created": "2026-05-01T09:00:00Z",
            },
        },
        {**look.volumes, "agentstack-dev-loot": {"Name": "agentstack-dev-loot", "CreatedAt": "2026-05-01T09:00:00Z"}},
        {},
    )
    strangers = {finding.resource: finding for finding in found(declared, look)}
    assert set(strangers) == {"agentstack-dev-miner", "innocent-name", "agentstack-dev-extra", "agentstack-dev-loot"}
    assert {finding.kind for finding in strangers.values()} == {Kind.FOREIGN}
    assert "never removed" in strangers["agentstack-dev-loot"].repair


def test_an_intruder_on_an_inner_network_but_not_an_application(declared: Declared) -> None:
    application = stranger("my-shop", {"agentstack-dev-application-network": {}})
    intruder = stranger("sniffer", {"agentstack-dev-phoenix-network": {}})
    finding = one(found(declared, engine(application, intruder)))
    assert (finding.kind, finding.resource) == (Kind.INTRUDER, "sniffer")


@pytest.mark.parametrize(
    ("name", "label", "expected"),
    [
        ("agentstack-dev-x", None, True),
        ("anything", "dev", True),
        ("agentstack-dev-2-x", "dev-2", False),
        ("agentstack-prod-x", None, False),
        ("anything", None, False),
    ],
)
def test_whose_a_thing_is(name: str, label: str | None, expected: bool) -> None:
    assert ours("dev", name, {"io.agentstack.stack": label} if label else {}) is expected


def archive(files: dict[str, str], modes: dict[str, str] = MODES, owner: int = 99) -> bytes:
    """As `docker cp <carrier>:/etc/agentstack -` writes it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("agentstack/", "agentstack/tls/"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(directory)
        for path, text in files.items():
            member = tarfile.TarInfo(f"agentstack/{path}")
            member.size, member.uid, member.gid = len(text.encode()), owner, owner
            member.mode = int(modes.get(path, "0440"), 8)
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def of_volume(declared: Declared, tar: bytes) -> list[Finding]:
    return list(contents.findings(declared, lambda container, directory: tar))


def test_a_volume_with_exactly_the_declared_files_is_sound(declared: Declared) -> None:
    assert of_volume(declared, archive(FILES)) == []


@pytest.mark.parametrize(
    ("tar", "told"),
    [
        (archive({**FILES, "haproxy.cfg": "frontend evil\n"}), "/etc/agentstack/haproxy.cfg has other contents"),
        (archive({**FILES, "extra": "x"}), "/etc/agentstack/extra was added"),
        (archive({"haproxy.cfg": FILES["haproxy.cfg"]}), "/etc/agentstack/tls/tls.key is missing"),
        (archive(FILES, {**MODES, "tls/tls.key": "0444"}), "tls.key is 0444 99:99 instead of 0400 99:99"),
        (archive(FILES, owner=0), "0:0 instead of"),
        (archive({}), "is missing"),
    ],
    ids=["changed", "added", "removed", "mode", "owner", "emptied"],
)
def test_a_tampered_volume_is_found_and_no_content_is_told(declared: Declared, tar: bytes, told: str) -> None:
    finding = one(of_volume(declared, tar))
    assert (finding.kind, finding.resource) == (Kind.CONFIG_CONTENT, CARRIER)
    assert told in finding.actual
    assert "evil" not in finding.actual
    assert "a key" not in finding.actual


def test_a_carrier_that_is_gone_is_not_read(declared: Declared) -> None:
    assert list(contents.findings(declared, lambda container, directory: None)) == []


def refresh(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"steps": list(steps)}


def test_what_refresh_says_is_gone_or_changed(declared: Declared) -> None:
    digest = refresh(
        {"op": "refresh", "urn": urn(CONTAINER, "job"), "detailedDiff": None},
        {"op": "delete", "urn": urn(VOLUME, "config")},
        {
            "op": "update",
            "urn": urn(CONTAINER, "edge-otlp"),
            "detailedDiff": {"memory": {"kind": "update"}},
            "oldState": {"outputs": {"memory": 112}},
            "newState": {"outputs": {"memory": 512}},
        },
    )
    gone, changed = plan.of_refresh(digest, declared)
    assert (gone.kind, gone.resource) == (Kind.MISSING, CARRIER)
    assert (changed.kind, changed.expected, changed.actual) == (Kind.CHANGED, "memory = 112", "memory = 512")


def test_secret_values_of_a_change_are_not_told(declared: Declared) -> None:
    step = {
        "op": "update",
        "urn": urn(CONTAINER, "edge-otlp"),
        "detailedDiff": {"envs": {}},
        "oldState": {"outputs": {"envs": {"4dabf18193072939515e22adb298388d": "x", "ciphertext": "abc"}}},
        "newState": {"outputs": {"envs": "[secret]"}},
    }
    finding = one(plan.of_refresh(refresh(step), declared))
    assert (finding.expected, finding.actual) == ("envs = [secret]", "envs = [secret]")


def test_a_container_that_only_stopped_is_told_once(declared: Declared) -> None:
    step = {"op": "update", "urn": urn(CONTAINER, "edge-otlp"), "detailedDiff": {"mustRun": {}}}
    stopped = found(declared, engine(service=edge(Status="exited", ExitCode=1)))
    merged = merge([*plan.of_refresh(refresh(step), declared), *stopped])
    assert [finding.kind for finding in merged] == [Kind.STOPPED]


def renewal(operation: str = "replace") -> dict[str, Any]:
    outputs = {"readyForRenewal": True, "validityEndTime": "2026-05-20T12:00:00.5Z", "earlyRenewalHours": 720}
    return {"op": operation, "urn": urn(CERTIFICATE, "edge-otlp-certificate"), "oldState": {"outputs": outputs}}


def test_a_certificate_in_its_window_is_due_and_what_it_replaces_is_no_finding(declared: Declared) -> None:
    digest = refresh(
        renewal("create-replacement"),
        renewal(),
        renewal("delete-replaced"),
        {"op": "replace", "urn": urn(CONTAINER, "edge-otlp-config"), "diffReasons": ["uploads"]},
    )
    finding = one(plan.of_preview(digest, declared, frozenset()))
    assert finding.kind is Kind.RENEWAL_DUE
    assert finding.since == "2026-04-20T12:00:00Z"
    assert "2026-05-20" in finding.actual


def test_a_setting_that_was_not_applied(declared: Declared) -> None:
    digest = refresh(
        {"op": "same", "urn": urn(CONTAINER, "job")},
        {"op": "replace", "urn": urn(CONTAINER, "edge-otlp"), "diffReasons": ["cpus"]},
        {"op": "create", "urn": urn(CONTAINER, "phoenix-2")},
    )
    first, second = plan.of_preview(digest, declared, frozenset())
    assert (first.kind, first.expected) == (Kind.PENDING, "container to be replaced (cpus)")
    assert (second.resource, second.expected) == ("phoenix-2", "container to be made")


def test_what_mending_a_loss_will_do_is_no_finding_of_its_own(declared: Declared) -> None:
    volume = urn(VOLUME, "config")
    digest = refresh(
        {"op": "create", "urn": volume},
        {"op": "replace", "urn": urn(CONTAINER, "edge-otlp"), "diffReasons": ["mounts"]},
    )
    assert list(plan.of_preview(digest, declared, frozenset({volume}))) == []


def test_the_report_has_its_documented_shape(declared: Declared) -> None:
    report = Report("dev", merge(found(declared, engine(job_exit=3)))).as_json()
    assert report["stack"] == "dev"
    assert report["clean"] is False
    assert list(report["findings"][0]) == ["kind", "resource", "expected", "actual", "since", "repair"]
    assert Report("dev", ()).as_json() == {"stack": "dev", "clean": True, "findings": []}


def test_every_kind_is_described() -> None:
    assert list(ABOUT) == list(Kind)


def test_files_and_networks_of_the_state_are_read(declared: Declared) -> None:
    by_name = {container.name: container for container in declared.containers}
    assert by_name[CARRIER].files["/etc/agentstack/tls/tls.key"] == File("a key", "0400", "99:99")
    assert by_name["agentstack-dev-edge-otlp"].networks["agentstack-dev-application-network"] == (
        "otel-collector",
        "phoenix",
    )
