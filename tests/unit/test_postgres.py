"""What PostgreSQL is configured with, and what its reconcile job is given, without running either."""

import base64
import hashlib
import hmac
import ipaddress
import re

import pytest

from components.names import NetworkName
from components.postgres import PGDATA, RECONCILE_JOB, VOLUME_DIR, Postgres, render
from components.postgres.roles import POLICIES, SCRAM_ITERATIONS, DatabaseRole, role_salt, scram_verifier
from components.settings.database import PostgresSettings
from components.workload import Job, Workload
from tests.engine.database_lab import describe, settings_for

SUBNET = ipaddress.IPv4Network("172.22.0.0/16")


def configured(**settings: object) -> dict[str, str]:
    """postgresql.conf, read back: name -> value without quotes."""
    values = render.postgresql_values(PostgresSettings.model_validate(settings), "/h", "/i")
    lines = render.dump_conf(values).splitlines()
    return {name: value.strip("'") for name, value in (line.split(" = ", 1) for line in lines)}


def described() -> dict[str, Workload | Job]:
    found: dict[str, Workload | Job] = describe(
        lambda context: (Postgres("postgres", context), None)[1], settings=settings_for("10.9.0.0/24")
    )
    return found


def test_a_verifier_is_what_the_rfc_computes() -> None:
    """RFC 7677 section 3: its example's server signature follows from the server key of our verifier."""
    verifier = scram_verifier("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    assert verifier.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    exchange = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
    server_key = base64.b64decode(verifier.rsplit(":", 1)[1])
    signature = hmac.digest(server_key, exchange.encode(), hashlib.sha256)
    assert base64.b64encode(signature).decode() == "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_the_verifier_of_a_password_is_always_the_same_text() -> None:
    one, again = (scram_verifier("a", role_salt("secret", "phoenix")) for _ in range(2))
    assert one == again
    assert one != scram_verifier("b", role_salt("secret", "phoenix"))
    assert role_salt("secret", "phoenix") != role_salt("secret", "reader")


@pytest.mark.parametrize("password", ["", "smile\N{GRINNING FACE}", "line\nbreak"])
def test_a_password_that_needs_normalizing_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        scram_verifier(password, b"salt")


def test_a_malformed_verifier_never_reaches_sql() -> None:
    for text in ("plain", "SCRAM-SHA-256$1:x'; DROP ROLE phoenix; --"):
        with pytest.raises(ValueError, match="phoenix"):
            render.verifiers_sql({"phoenix": text})


def test_strings_are_quoted_as_the_grammar_asks() -> None:
    text = render.dump_conf({"a": "it's", "b": True, "c": False, "d": 3, "e": 0.9, "f": "\\"})
    assert text == "a = 'it''s'\nb = on\nc = off\nd = 3\ne = 0.9\nf = '\\\\'\n"


def test_the_settings_reach_the_file() -> None:
    found = configured(
        memoryMib=4096,
        maxConnections=300,
        superuserReservedConnections=5,
        sharedBuffers="1GB",
        workMem="32MB",
        maintenanceWorkMem="256MB",
        effectiveCacheSize="2GB",
        walBuffers="32MB",
        maxWalSize="2GB",
        minWalSize="160MB",
    )
    asked = {
        "max_connections": "300",
        "superuser_reserved_connections": "5",
        "shared_buffers": "1GB",
        "work_mem": "32MB",
        "maintenance_work_mem": "256MB",
        "effective_cache_size": "2GB",
        "wal_buffers": "32MB",
        "max_wal_size": "2GB",
        "min_wal_size": "160MB",
    }
    assert {name: found[name] for name in asked} == asked
    assert found["autovacuum_work_mem"] == "128MB"
    assert float(found["hash_mem_multiplier"]) == 1.0


def test_only_tls_1_3_and_scram_and_no_secret_in_what_is_recorded() -> None:
    found = configured()
    assert (found["ssl"], found["ssl_min_protocol_version"]) == ("on", "TLSv1.3")
    assert found["password_encryption"] == "scram-sha-256"
    assert int(found["scram_iterations"]) == SCRAM_ITERATIONS
    assert found["pg_stat_statements.track_utility"] == "off"
    assert found["log_statement"] == "none"
    assert found["log_parameter_max_length"] == "0"
    assert found["pgaudit.log"] == "ddl, role"


def test_shared_memory_for_parallel_queries_grows_with_the_server() -> None:
    assert render.shm_mib(PostgresSettings()) == 256
    assert render.shm_mib(PostgresSettings.model_validate({"memoryMib": 4096})) == 1024


def test_who_may_connect() -> None:
    rules = [line.split() for line in render.pg_hba(SUBNET).splitlines()]
    assert rules[0] == ["local", "all", "all", "peer", "map=agentstack"]
    allowed = [rule for rule in rules if rule[0] != "local" and rule[-1] != "reject"]
    assert [(kind, database, address, method) for kind, database, _, address, method in allowed] == [
        ("hostssl", "phoenix", "172.22.0.0/16", "scram-sha-256")
    ] * len(POLICIES)
    assert {rule[2] for rule in allowed} == {role.value for role in DatabaseRole}
    assert rules[-2:] == [
        ["host", "all", "all", "all", "reject"],
        ["host", "replication", "all", "all", "reject"],
    ], "whatever no rule named is refused by name, not by the absence of a rule"


def test_the_superuser_has_the_socket_alone() -> None:
    assert not re.search(r"^host\S* .*\bpostgres\b", render.pg_hba(SUBNET), re.MULTILINE)
    mapped = {tuple(line.split()) for line in render.pg_ident().splitlines()}
    assert mapped == {("agentstack", "postgres", role) for role in ("postgres", "phoenix", "reader")}


def test_the_service_as_it_is_declared() -> None:
    service = described()["postgres"]
    assert isinstance(service, Workload)
    assert (service.uid, service.exceptions, service.capabilities, service.ports) == (999, {}, (), ())
    assert [attachment.network for attachment in service.networks] == [NetworkName.PHOENIX]
    assert PGDATA.startswith(f"{VOLUME_DIR}/"), "a mount point can't be swapped by a rename"
    assert service.stop_signal == "SIGINT"
    assert service.stop_grace_seconds >= 60
    assert "10.9.0.0/24" in str(service.files["pg_hba.conf"].content)
    assert service.files["secrets/superuser-password"].mode == "0400"
    assert service.files["tls/tls.key"].mode == "0400"
    assert not any("password" in value.lower() for value in map(str, service.env.values()) if not value.startswith("/"))


def test_the_job_holds_verifiers_and_no_password() -> None:
    job = described()[RECONCILE_JOB]
    assert isinstance(job, Job)
    assert job.networks == (), "it is the superuser by the socket, and needs no network"
    texts = {path: str(file.content) for path, file in job.files.items()}
    for role in DatabaseRole:
        password = f"postgres-{role.value.replace('_', '-')}-password"
        assert not any(password in text for text in texts.values())
        expected = scram_verifier(password, role_salt("postgres-scram-salt-password", role.value))
        assert f"\\set verifier_{role.value} '{expected}'" in texts["verifiers.sql"]
    assert job.files["verifiers.sql"].mode == "0400"


def test_every_role_is_reconciled_with_its_policy() -> None:
    sql = render.policies_sql()
    for role, policy in POLICIES.items():
        row = next(line for line in sql.splitlines() if f"'{role.value}'" in line)
        assert f":'verifier_{role.value}'" in row
        for item in (*policy.settings, *policy.member_of):
            assert f"'{item}'" in row
    assert "pg_use_reserved_connections" in POLICIES[DatabaseRole.EXPORTER].member_of
    assert "default_transaction_read_only=on" in POLICIES[DatabaseRole.READER].settings
