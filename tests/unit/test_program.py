"""The whole program under mocks, for both stack files: what would be asked of Docker, and what would never be shown."""

import json
import re
from functools import cache
from typing import Any

import pytest

from components.names import ALIASES, CONFIG_DIR, NetworkName, Port, Service
from tests.unit.program import (
    PLANTED,
    Program,
    Resource,
    Secret,
    clear_texts,
    labels,
    revealed,
    run_program,
)
from tests.unit.test_settings import GUIDE_TABLE

pytestmark = pytest.mark.unit
STACKS = ["dev", "prod"]
SERVICES = {
    "postgres",
    "pgbouncer",
    "phoenix",
    "collector",
    "edge-otlp",
    "edge-ui",
    "prometheus",
    "alertmanager",
    "grafana",
    "postgres-exporter",
    "node-exporter",
    "blackbox-exporter",
    "docker-proxy",
    "backup",
}
EXCEPTIONS = {
    # What a service is allowed beyond the hardened default. A new line here is a decision.
    "docker-proxy": {"root", "host-path"},
    "node-exporter": {"host-path"},
}
MEMBERSHIP = {
    # network: services on it
    NetworkName.PHOENIX: {
        "postgres",
        "pgbouncer",
        "phoenix",
        "collector",
        "postgres-exporter",
        "edge-otlp",
        "edge-ui",
        "backup",
    },
    NetworkName.MONITORING: {
        "prometheus",
        "alertmanager",
        "grafana",
        "phoenix",
        "collector",
        "edge-otlp",
        "edge-ui",
        "postgres-exporter",
        "node-exporter",
        "blackbox-exporter",
    },
    NetworkName.APPLICATION: {"edge-otlp"},
    NetworkName.UI: {"edge-ui"},
    NetworkName.EGRESS: set(),
}


@cache
def program(stack: str) -> Program:
    return run_program(stack)


def services(stack: str) -> dict[str, dict[str, Any]]:
    """Container name -> inputs of every long-running container."""
    return {name: revealed(r.inputs) for name, r in program(stack).containers("service").items()}


@pytest.mark.parametrize("stack", STACKS)
def test_every_service_is_there(stack: str) -> None:
    assert set(services(stack)) == SERVICES


@pytest.mark.parametrize("stack", STACKS)
def test_resource_names_are_unique(stack: str) -> None:
    names = [(r.type, r.name) for r in program(stack).resources if r.type != "pulumi:pulumi:Stack"]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("stack", STACKS)
def test_every_service_is_hardened_or_a_listed_exception(stack: str) -> None:
    for name, c in services(stack).items():
        allowed = EXCEPTIONS.get(name, set())
        assert c["readOnly"] is True, name
        assert c["capabilities"] == {"drops": ["ALL"]}, name
        assert c["securityOpts"] == ["no-new-privileges=true"], name
        assert not c.get("privileged"), name
        assert (c.get("pidMode"), c.get("ipcMode")) == (None, None), name
        assert (c["user"].split(":")[0] == "0") == ("root" in allowed), name
        binds = [m for m in c["mounts"] if m["type"] == "bind"]
        assert bool(binds) == ("host-path" in allowed), name
        assert all(m["readOnly"] for m in binds), name
        assert c["memory"] == c["memorySwap"] > 0, name
        assert float(c["cpus"]) > 0, name
        assert {u["name"] for u in c["ulimits"]} == {"nofile", "core"}, name
        assert c["logOpts"] == {"max-size": "10m", "max-file": "3"}, name
        assert c["restart"] == "unless-stopped", name
        assert c["healthcheck"]["tests"][1] == "/probe/probe", name
        assert "--restart-after" in c["healthcheck"]["tests"], name
        assert (c["wait"], c["init"]) == (True, True), name
        assert c["destroyGraceSeconds"] >= 10, name
        assert not c.get("networkMode") or c["networkMode"] == "none", name


@pytest.mark.parametrize("stack", STACKS)
def test_only_the_proxy_sees_the_docker_socket(stack: str) -> None:
    seers = [n for n, c in services(stack).items() if any("docker.sock" in str(m.get("source")) for m in c["mounts"])]
    assert seers == ["docker-proxy"]


@pytest.mark.parametrize("stack", STACKS)
def test_one_shots_have_no_capability_but_chown_for_volumes(stack: str) -> None:
    for name, r in program(stack).containers("init", "job").items():
        c = revealed(r.inputs)
        wanted = ["CAP_CHOWN"] if labels(r)["io.agentstack.role"] == "init" else None
        assert c["capabilities"].get("adds") == wanted, name
        assert c["capabilities"]["drops"] == ["ALL"], name
        assert c["readOnly"] is True, name
        assert (c["attach"], c["mustRun"]) == (True, False), name


@pytest.mark.parametrize("stack", STACKS)
def test_only_the_edges_publish_and_only_on_loopback(stack: str) -> None:
    published = {
        name: {(p["internal"], p["external"], p["ip"]) for p in c.get("ports", [])}
        for name, c in services(stack).items()
    }
    assert {name for name, ports in published.items() if ports} == {"edge-otlp", "edge-ui"}
    every = {p for ports in published.values() for p in ports}
    assert {ip for _, _, ip in every} == {"127.0.0.1"}
    assert sorted(external for _, external, _ in every) == [3001, 4317, 4318, 6006, 9090, 9093]


@pytest.mark.parametrize("stack", STACKS)
def test_networks_have_exactly_the_members_of_the_design(stack: str) -> None:
    found: dict[str, set[str]] = {f"agentstack-{stack}-{n.value}": set() for n in NetworkName}
    for name, c in services(stack).items():
        for joined in c.get("networksAdvanced", []):
            found[joined["name"]].add(name)
    wanted = {f"agentstack-{stack}-{n.value}": members for n, members in MEMBERSHIP.items()}
    wanted = {n: {m for m in members if m in services(stack)} for n, members in wanted.items()}
    assert found == wanted


@pytest.mark.parametrize("stack", STACKS)
def test_phoenix_and_monitoring_network_have_no_route_out(stack: str) -> None:
    networks = {r.inputs["name"]: r.inputs["internal"] for r in program(stack).of_type("docker:Network").values()}
    inside = {name for name, internal in networks.items() if internal}
    assert inside == {f"agentstack-{stack}-phoenix-network", f"agentstack-{stack}-monitoring-network"}


def test_prod_asks_docker_for_the_guides_table() -> None:
    found = services("prod")
    for name, (cpus, memory, cpus_reserved, memory_reserved) in GUIDE_TABLE.items():
        c = found[name]
        assert (float(c["cpus"]), c["memory"], c["memoryReservation"]) == (cpus, memory, memory_reserved), name
        assert c["cpuShares"] == 1024 * cpus_reserved, name


@pytest.mark.parametrize("stack", STACKS)
def test_references_are_pinned(stack: str) -> None:
    images = program(stack).of_type("docker:RemoteImage")
    for r in images.values():
        build = r.inputs.get("build")
        reference = build["buildArgs"]["BASE"] if build else r.inputs["name"]
        assert re.search(r"@sha256:[0-9a-f]{64}$", reference), r.name
    for name, c in services(stack).items():
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", c["image"]), name


def shown(run: Program) -> list[tuple[str, str]]:
    """Everything that Docker shows or Pulumi prints: environments, commands, labels, checks; outputs in clear."""
    texts = []
    for r in run.resources:
        if r.type == "docker:index/container:Container":
            for key in ("envs", "command", "entrypoints", "labels", "healthcheck", "name", "hostname", "tmpfs"):
                texts += [(f"{r.name}.{key}", text) for text in clear_texts(revealed(r.inputs.get(key)) or "")]
        texts += [(f"{r.name} (in clear)", text) for text in clear_texts(r.inputs)]
    texts += [("output", text) for text in clear_texts(run.exports)]
    return texts


def leaks(run: Program) -> list[str]:
    tokens = list(revealed(run.exports["credentials"])["ingest_tokens"].values())
    assert tokens
    return sorted({where for where, text in shown(run) if any(secret in text for secret in (PLANTED, *tokens))})


@pytest.mark.parametrize("stack", STACKS)
def test_no_generated_secret_is_ever_shown(stack: str) -> None:
    assert leaks(program(stack)) == []


def test_a_planted_secret_would_be_found() -> None:
    run = program("dev")
    for key, value in (
        ("envs", Secret([f"PASSWORD={PLANTED}-x"])),
        ("command", [f"--password={PLANTED}"]),
        ("labels", [{"label": "x", "value": f"{PLANTED}"}]),
    ):
        planted = Resource("docker:index/container:Container", "planted", {key: value}, "", protect=False)
        assert leaks(Program("dev", [*run.resources, planted], run.exports)) != []
    assert leaks(Program("dev", run.resources, {**run.exports, "note": f"the token is {PLANTED}"})) == ["output"]


def test_credentials_are_one_secret_output() -> None:
    credentials = program("dev").exports["credentials"]
    assert isinstance(credentials, Secret)
    opened = revealed(credentials)
    assert set(opened) == {
        *("prometheus", "alertmanager", "grafana", "grafana_users", "phoenix", "ingest_tokens"),
    }
    assert set(opened["phoenix"]) >= {"email", "password", "admin_secret"}
    assert set(opened["ingest_tokens"]) == {"default", "agentstack-smoke"}


@pytest.mark.parametrize("stack", STACKS)
def test_outputs_name_every_container(stack: str) -> None:
    exports = revealed(program(stack).exports)
    assert set(exports["containers"]) == set(services(stack))
    assert exports["endpoints"]["phoenix"] == "https://localhost:6006"
    assert exports["endpoints_internal"]["otlp_grpc"] == "https://otel-collector:4317"
    assert set(exports["networks"]) == {"phoenix", "monitoring", "application"}


def test_every_leaf_has_exactly_its_names_and_usages() -> None:
    run = program("dev")
    requests, certificates = run.of_type("tls:CertRequest"), run.of_type("tls:LocallySignedCert")
    for name, certificate in certificates.items():
        service = name.removesuffix("-certificate")
        own = [service, *(ALIASES.get(Service(service), ()) if service in set(Service) else ())]
        names = revealed(requests[f"{service}-request"].inputs["dnsNames"])
        extra = {"edge-otlp": {"otel-collector", "phoenix"}, "edge-ui": set()}.get(service, set())
        assert set(names) == {*own, "localhost", *extra}, service
        assert set(revealed(requests[f"{service}-request"].inputs["ipAddresses"])) == {"127.0.0.1", "::1"}, service
        usages = set(certificate.inputs["allowedUses"])
        assert {"digital_signature", "server_auth"} <= usages <= {"digital_signature", "server_auth", "client_auth"}
        assert certificate.inputs["validityPeriodHours"] == 365 * 24
        assert certificate.inputs["earlyRenewalHours"] == 30 * 24


def test_public_names_go_into_the_edges_certificates() -> None:
    run = run_program("dev", {"publicNames": ["traces.example.org", "192.0.2.7"]})
    for edge in ("edge-otlp", "edge-ui"):
        request = revealed(run.of_type("tls:CertRequest")[f"{edge}-request"].inputs)
        assert "traces.example.org" in request["dnsNames"]
        assert "192.0.2.7" in request["ipAddresses"]
    assert run.exports["endpoints"]["phoenix"] == "https://traces.example.org:6006"


@pytest.mark.parametrize("stack", STACKS)
def test_private_keys_are_for_their_service_alone(stack: str) -> None:
    for name, r in program(stack).containers("config").items():
        for upload in revealed(r.inputs["uploads"]):
            if f"{PLANTED} KEY" in upload["content"]:
                assert upload["permissions"] == "0400", name
                assert upload["file"].startswith(f"{CONFIG_DIR}/"), name
                assert f"KEY----- {labels(r)['io.agentstack.service']}-key" in upload["content"], name


@pytest.mark.parametrize("stack", STACKS)
def test_what_must_survive_is_protected(stack: str) -> None:
    run = program(stack)
    for r in run.resources:
        data = r.type == "docker:index/volume:Volume" and labels(r).get("io.agentstack.role") == "data"
        authority = r.name in {"ca-key", "ca-certificate"}
        secret = r.type.startswith("random:")
        assert r.protect == (data or authority or secret), r.name


def test_replicas_share_a_certificate_and_have_names_of_their_own() -> None:
    run = run_program("dev", {"phoenix": {"replicas": 2}, "collector": {"replicas": 3}})
    containers = run.exports["containers"]
    assert containers["phoenix"] == ["agentstack-dev-phoenix", "agentstack-dev-phoenix-2"]
    assert containers["collector"] == [f"agentstack-dev-collector{n}" for n in ("", "-2", "-3")]
    assert len([n for n in run.of_type("tls:LocallySignedCert") if n.startswith("phoenix")]) == 1


def test_the_program_previews_before_anything_exists() -> None:
    run = run_program("dev", preview=True)
    assert set(run.exports["containers"]) >= SERVICES


def test_the_graph_is_the_same_every_time() -> None:
    def digest(run: Program) -> str:
        rows = [(r.type, r.name, r.protect, revealed(r.inputs)) for r in run.resources]
        return json.dumps(sorted(rows, key=lambda row: row[:2]), sort_keys=True)

    assert digest(run_program("dev")) == digest(run_program("dev"))


def test_ports_stand_in_one_place() -> None:
    assert {Port.PHOENIX, Port.OTLP_GRPC, Port.OTLP_HTTP, Port.PROMETHEUS} == {6006, 4317, 4318, 9090}


def valid_tokens(**settings: object) -> list[str]:
    run = run_program("dev", {"applications": {"shop": settings}})
    uploads = revealed(run.containers("live")["collector-live"].inputs["uploads"])
    lines = next(upload["content"] for upload in uploads if upload["file"].endswith("/tokens")).splitlines()
    return [line.split()[0] for line in lines if line.split()[1] == "shop"]


def test_a_token_is_rotated_with_two_valid_at_once_and_then_revoked() -> None:
    first = valid_tokens()
    both = valid_tokens(tokenGeneration=2, acceptPreviousToken=True)
    second = valid_tokens(tokenGeneration=2)
    assert both == [*second, *first]
    assert len({*first, *second}) == 2


def test_an_application_that_goes_takes_no_protected_resource_along() -> None:
    def protected(applications: dict[str, object]) -> set[str]:
        run = run_program("dev", {"applications": applications})
        return {r.name for r in run.resources if r.protect}

    assert protected({"shop": {}}) == protected({"shop": {}, "search": {}})


def test_one_more_application_replaces_no_service() -> None:
    def services_of(applications: dict[str, object]) -> dict[str, list[str]]:
        run = run_program("dev", {"applications": applications})
        return {
            name: [str(mount.get("source")) for mount in revealed(r.inputs)["mounts"]]
            for name, r in run.containers("service").items()
        }

    assert services_of({"shop": {}}) == services_of({"shop": {}, "search": {}})
