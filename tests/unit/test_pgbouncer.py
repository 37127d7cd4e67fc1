"""What PgBouncer is configured with."""

import configparser

import pytest

from components.names import NetworkName
from components.pgbouncer import PgBouncer, render
from components.postgres import Postgres
from components.settings.database import PostgresSettings
from components.workload import Workload
from tests.engine.database_lab import describe


def section(**settings: object) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(render.pgbouncer_ini(PostgresSettings.model_validate(settings)))
    return dict(parser["pgbouncer"])


def described() -> Workload:
    found = describe(
        lambda context: (PgBouncer("pgbouncer", context, postgres=Postgres("postgres", context)), None)[1]
    )["pgbouncer"]
    assert isinstance(found, Workload)
    return found


def test_the_server_never_sees_more_connections_than_pooled_connections() -> None:
    found = section(pooledConnections=40, maxConnections=300)
    assert found["default_pool_size"] == found["max_db_connections"] == "40"


@pytest.mark.parametrize(("pooled", "clients"), [(2, 100), (20, 200), (60, 600)])
def test_clients_wait_for_a_server_connection_rather_than_being_refused(pooled: int, clients: int) -> None:
    assert section(pooledConnections=pooled, maxConnections=300)["max_client_conn"] == str(clients)


def test_transaction_pooling_with_prepared_statements() -> None:
    found = section()
    assert found["pool_mode"] == "transaction"
    assert int(found["max_prepared_statements"]) > 0


def test_tls_on_both_sides() -> None:
    found = section()
    assert found["client_tls_sslmode"] == "require", "what PgBouncer calls it when it serves no client without TLS"
    assert set(found["client_tls_protocols"].split(",")) == {"tlsv1.2", "tlsv1.3"}
    assert (found["server_tls_sslmode"], found["server_tls_protocols"]) == ("verify-full", "tlsv1.3")
    assert found["unix_socket_dir"] == ""


def test_nobody_steers_it() -> None:
    found = section()
    assert (found["admin_users"], found["stats_users"]) == ("", "")


def test_only_the_lookup_role_stands_in_the_userlist() -> None:
    assert render.userlist('a"b') == '"pgbouncer_auth" "a""b"\n'


def test_the_service_as_it_is_declared() -> None:
    service = described()
    assert (service.uid, service.exceptions, service.ports) == (70, {}, ())
    assert [attachment.network for attachment in service.networks] == [NetworkName.PHOENIX]
    assert service.files["secrets/userlist.txt"].content == '"pgbouncer_auth" "postgres-pgbouncer-auth-password"\n'
    assert service.files["secrets/userlist.txt"].mode == "0400"
    others = {role: f"postgres-{role}-password" for role in ("phoenix", "reader", "exporter", "superuser")}
    for file in service.files.values():
        assert not any(password in str(file.content) for password in others.values())
