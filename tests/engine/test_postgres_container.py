"""PostgreSQL, its reconcile job, PgBouncer and the exporter in real containers, hardened as in the stack.

Decides: the cluster is made with a read-only root and no capability; SQL clients get in by SCRAM over verified TLS 1.3
and no other way; the reconcile job changes what was changed and else nothing; PgBouncer and the exporter work with it.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from components.exporters.postgres import PostgresExporter
from components.names import PROBE, TLS_CA, Port
from components.pgbouncer import PgBouncer
from components.postgres import RECONCILE_JOB, Postgres
from components.settings import Settings
from tests.engine.database_lab import (
    BUILT,
    SCRAPE_PASSWORD,
    Authority,
    Lab,
    describe,
    docker,
    eventually,
    settings_for,
)

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]

AUTH_STATE = """
SELECT json_agg(row_to_json(x) ORDER BY x.oid) FROM
  (SELECT oid, xmin::text, rolname, rolpassword, rolvaliduntil FROM pg_authid WHERE oid > 16383 OR oid = 10) x
UNION ALL SELECT json_agg(row_to_json(s) ORDER BY s.setrole) FROM
  (SELECT xmin::text, * FROM pg_db_role_setting) s
UNION ALL SELECT json_agg(row_to_json(m) ORDER BY m.oid) FROM (SELECT xmin::text, * FROM pg_auth_members) m
UNION ALL SELECT json_agg(row_to_json(d) ORDER BY d.oid) FROM (SELECT oid, datname, datdba, datacl FROM pg_database) d
"""


@dataclass
class Database:
    lab: Lab
    settings: Settings
    authority: Authority
    stranger: Authority

    def described(self, passwords: dict[str, str] | None = None, *, exporter: bool = False) -> dict[str, Any]:
        def build(context: Any) -> None:
            postgres = Postgres("postgres", context)
            PgBouncer("pgbouncer", context, postgres=postgres)
            if exporter:
                PostgresExporter("postgres-exporter", context, postgres=postgres)

        return describe(
            build, settings=self.settings, authority=self.authority, passwords=passwords, images=self.lab.images
        )

    def local(self, sql: str, database: str = "phoenix", user: str = "postgres") -> str:
        """A query inside the server's container, by its socket."""
        return docker("exec", self.lab.container("postgres"), "psql", "-XAtq", "-U", user, "-d", database, "-c", sql)

    def client(self, connection: str, sql: str, password: str, ca: str | None = None) -> str:
        """A query from a container of its own on the network; what psql said, refusals included."""
        # The first line of what it reads is the password, the rest the certificate authority.
        command = (
            "cd /dev/shm; umask 077; read -r password; printf '*:*:*:*:%s' \"$password\" > pass; cat > ca; "
            'PGPASSFILE=pass exec psql -XAtq "$1 sslrootcert=ca connect_timeout=5" -c "$2" 2>&1'
        )
        words = ["run", "--rm", "-i", "--network", self.lab.name, "--entrypoint", "/bin/sh"]
        image = self.lab.images["postgres"]
        given = f"{password}\n{self.authority.pem if ca is None else ca}".encode()
        return docker(*words, image, "-c", command, "sh", connection, sql, stdin=given, check=False)


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    if not BUILT.is_file():
        pytest.fail("the images are not built: run `make images`")
    lab = Lab("agentstack-dblab")
    try:
        made = Database(lab, settings_for(lab.subnet), Authority(), Authority())
        described = made.described()
        lab.run(described["postgres"])
        lab.run_job(described[RECONCILE_JOB])
        yield made
    finally:
        lab.close()


def direct(user: str, host: str = "postgres", mode: str = "verify-full", extra: str = "") -> str:
    return f"host={host} dbname=phoenix user={user} sslmode={mode} {extra}"


def test_the_cluster_is_as_declared(database: Database) -> None:
    shown = database.local(
        "SELECT current_setting('data_checksums'), datlocprovider, datlocale, current_setting('data_directory'), "
        "pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'phoenix'"
    )
    assert shown == "on|b|C.UTF-8|/var/lib/postgresql/data/pgdata|phoenix"
    extensions = database.local("SELECT string_agg(extname, ',' ORDER BY extname) FROM pg_extension")
    assert extensions == "pg_stat_statements,pgaudit,plpgsql,vector"


def test_a_client_gets_in_by_scram_over_verified_tls(database: Database) -> None:
    sql = "SELECT ssl, version, current_user FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    wanted = direct("phoenix", extra="channel_binding=require")
    assert database.client(wanted, sql, "postgres-phoenix-password") == "t|TLSv1.3|phoenix"


@pytest.mark.parametrize(
    ("connection", "password", "refusal"),
    [
        (direct("phoenix"), "wrong", "password authentication failed"),
        (direct("phoenix", mode="disable"), "postgres-phoenix-password", "pg_hba.conf rejects connection"),
        (direct("phoenix", extra="ssl_max_protocol_version=TLSv1.2"), "postgres-phoenix-password", "SSL error"),
        (direct("postgres"), "postgres-superuser-password", "pg_hba.conf rejects connection"),
        ("host=postgres dbname=postgres user=phoenix sslmode=verify-full", "postgres-phoenix-password", "rejects"),
        (direct("phoenix", extra="replication=database"), "postgres-phoenix-password", "must be superuser|permission"),
    ],
    ids=["wrong password", "no TLS", "TLS 1.2", "superuser", "other database", "replication"],
)
def test_no_other_way_in(database: Database, connection: str, password: str, refusal: str) -> None:
    answer = database.client(connection, "SELECT 'inside'", password)
    assert "inside" not in answer
    assert any(part in answer for part in refusal.split("|")), answer


def test_a_client_refuses_a_server_that_it_does_not_know(database: Database) -> None:
    wrong_authority = database.client(direct("phoenix"), "SELECT 1", "postgres-phoenix-password", database.stranger.pem)
    assert "certificate verify failed" in wrong_authority
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    address = docker("inspect", "-f", template, database.lab.container("postgres"))
    wrong_name = database.client(direct("phoenix", host=address), "SELECT 1", "postgres-phoenix-password")
    assert "does not match host name" in wrong_name


def test_the_owner_works_and_the_reader_only_reads(database: Database) -> None:
    database.client(
        direct("phoenix"),
        "CREATE TABLE spans (id int PRIMARY KEY, embedding vector(3)); INSERT INTO spans VALUES (1, '[1,2,3]');"
        "CREATE TABLE api_keys (secret text); CREATE TABLE users (password_hash text)",
        "postgres-phoenix-password",
    )
    password = "postgres-reader-password"
    assert database.client(direct("reader"), "SELECT id FROM spans", password) == "1"
    for forbidden in ("SELECT * FROM api_keys", "SELECT * FROM users"):
        assert "permission denied" in database.client(direct("reader"), forbidden, password)
    writing = "BEGIN READ WRITE; DELETE FROM spans"
    assert "permission denied" in database.client(direct("reader"), writing, password)
    creating = "BEGIN READ WRITE; CREATE TABLE mine (x int)"
    assert "permission denied" in database.client(direct("reader"), creating, password)
    assert "permission denied" in database.client(
        direct("phoenix"), "SELECT * FROM pgbouncer.get_auth('reader')", "postgres-phoenix-password"
    )


def test_a_second_run_changes_nothing(database: Database) -> None:
    before = database.local(AUTH_STATE, "postgres")
    said = database.lab.run_job(database.described()[RECONCILE_JOB])
    assert said == "reconciled"
    assert database.local(AUTH_STATE, "postgres") == before
    assert json.loads(before.splitlines()[0])[0]["rolpassword"] is None, "no password opens the superuser"


def test_a_run_mends_what_was_changed_by_hand_and_takes_a_new_password(database: Database) -> None:
    database.local("ALTER ROLE reader SUPERUSER; GRANT pg_write_all_data TO reader; ALTER ROLE exporter RESET ALL")
    database.local("GRANT SELECT ON users TO reader; REVOKE SELECT ON spans FROM reader")
    said = database.lab.run_job(database.described({"postgres-reader": "another-password"})[RECONCILE_JOB])
    assert "role reader: password changed" in said
    assert "role exporter: settings corrected" in said
    assert database.local("SELECT rolsuper FROM pg_roles WHERE rolname = 'reader'") == "f"
    assert "permission denied" in database.client(direct("reader"), "SELECT * FROM users", "another-password")
    assert database.client(direct("reader"), "SELECT id FROM spans", "another-password") == "1"
    assert "authentication failed" in database.client(direct("reader"), "SELECT 1", "postgres-reader-password")
    database.lab.run_job(database.described()[RECONCILE_JOB])
    assert database.client(direct("reader"), "SELECT 1", "postgres-reader-password") == "1"


def test_no_password_or_verifier_reaches_the_log(database: Database) -> None:
    log = docker("logs", database.lab.container("postgres"))
    assert "AUDIT: SESSION" in log
    assert "<REDACTED>" in log, "the audit tells that a password was set, without it"
    assert "SCRAM-SHA-256$" not in log
    for role in ("phoenix", "reader", "exporter", "pgbouncer-auth", "superuser"):
        assert f"postgres-{role}-password" not in log


def test_through_pgbouncer(database: Database) -> None:
    database.lab.run(database.described()["pgbouncer"])
    connection = "host=pgbouncer port=6432 dbname=phoenix user={} sslmode={}"
    sql = "SELECT current_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    through = database.client(connection.format("reader", "verify-full"), sql, "postgres-reader-password")
    assert through == "reader|t", "the hop to PostgreSQL is TLS too"
    refused = {
        "wrong password": ("reader", "verify-full", "wrong"),
        "no TLS": ("reader", "disable", "postgres-reader-password"),
        "a role that has no business there": ("exporter", "verify-full", "postgres-exporter-password"),
    }
    for case, (user, mode, password) in refused.items():
        answer = database.client(connection.format(user, mode), "SELECT 'in' || 'side'", password)
        assert "inside" not in answer, case
    console = connection.replace("dbname=phoenix", "dbname=pgbouncer").format("reader", "verify-full")
    assert "not allowed" in database.client(console, "SHOW CONFIG", "postgres-reader-password")


def test_a_frozen_pgbouncer_is_noticed(database: Database) -> None:
    name = database.lab.container("pgbouncer")
    docker("exec", name, "/bin/sh", "-c", "kill -STOP $(cat /proc/1/task/1/children)")

    def unhealthy() -> bool:
        return docker("inspect", "-f", "{{.State.Health.Status}}", name) == "unhealthy"

    eventually(unhealthy, "the frozen PgBouncer is unhealthy", 60)
    docker("exec", name, "/bin/sh", "-c", "kill -CONT $(cat /proc/1/task/1/children)")
    database.lab.await_healthy(name)


def test_the_exporter_tells_prometheus(database: Database) -> None:
    name = database.lab.run(database.described(exporter=True)["postgres-exporter"])

    def scrape(password: str, *expected: str) -> str:
        basic = base64.b64encode(f"prometheus:{password}".encode()).decode()
        url = f"https://localhost:{Port.POSTGRES_EXPORTER}/metrics"
        words = ["http", "--url", url, "--ca", TLS_CA, "--header", f"Authorization: Basic {basic}", *expected]
        return docker("exec", name, PROBE, *words, check=False)

    for wanted in ("pg_up 1", "pg_stat_activity_count{", "pg_stat_database_xact_commit{", "pg_stat_statements_seconds"):
        found = scrape(SCRAPE_PASSWORD, "--body-contains", f"\n{wanted}")
        assert found.startswith("ok "), (wanted, found, docker("logs", "--tail", "20", name))
    assert "status 401" in scrape("wrong")


def test_the_certificate_authority_is_what_the_probes_trust(database: Database) -> None:
    for service in ("pgbouncer", "postgres-exporter"):
        files = database.described(exporter=True)[service].files
        assert files[TLS_CA.removeprefix("/etc/agentstack/")].content == database.authority.pem


def test_a_stop_is_clean(database: Database) -> None:
    name = database.lab.container("postgres")
    docker("stop", "-t", "60", name)
    assert docker("inspect", "-f", "{{.State.ExitCode}}", name) == "0"
    assert "database system is shut down" in docker("logs", "--tail", "5", name)
