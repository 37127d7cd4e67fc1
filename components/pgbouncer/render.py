"""PgBouncer's configuration as text. Pure: settings in, files out."""

import configparser
import io
from typing import Final

from components.names import CONFIG_DIR, TLS_CA, TLS_CERT, TLS_KEY, Port, Service
from components.postgres.render import DATABASE
from components.postgres.roles import DatabaseRole
from components.settings.database import PostgresSettings

USERLIST: Final = f"{CONFIG_DIR}/secrets/userlist.txt"
CLIENTS_PER_SERVER_CONNECTION: Final = 10
MINIMUM_CLIENTS: Final = 100


def max_clients(settings: PostgresSettings) -> int:
    """How many clients may be connected at once; above it a client is refused with a sentence."""
    return max(MINIMUM_CLIENTS, CLIENTS_PER_SERVER_CONNECTION * settings.pooled_connections)


def pgbouncer_ini(settings: PostgresSettings) -> str:
    """pgbouncer.ini: transaction pooling, TLS on both sides, logins passed through by the server's own verifiers.

    The sum of server connections never passes ``pooledConnections``: that is what keeps work_mem times connections
    inside the server's memory (docs/decisions/0005-postgres.md).
    """
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser["databases"] = {DATABASE: f"host={Service.POSTGRES} port={Port.POSTGRES} dbname={DATABASE}"}
    parser["pgbouncer"] = {
        "listen_addr": "*",
        "listen_port": str(Port.PGBOUNCER),
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": USERLIST,
        "auth_user": DatabaseRole.PGBOUNCER_AUTH.value,
        "auth_dbname": DATABASE,
        "auth_query": "SELECT usename, passwd FROM pgbouncer.get_auth($1)",
        # No one may steer it: it is replaced, not reconfigured.
        "admin_users": "",
        "stats_users": "",
        "pool_mode": "transaction",
        "max_prepared_statements": "200",
        "max_client_conn": str(max_clients(settings)),
        "default_pool_size": str(settings.pooled_connections),
        "max_db_connections": str(settings.pooled_connections),
        "server_idle_timeout": "300",
        # Also how long a plan from before a schema change may live.
        "server_lifetime": "600",
        "server_connect_timeout": "10",
        "server_login_retry": "2",
        "query_wait_timeout": "30",
        "idle_transaction_timeout": "300",
        "client_login_timeout": "15",
        "dns_max_ttl": "10",
        "ignore_startup_parameters": "extra_float_digits",
        "client_tls_sslmode": "require",
        "client_tls_ca_file": TLS_CA,
        "client_tls_cert_file": TLS_CERT,
        "client_tls_key_file": TLS_KEY,
        "client_tls_protocols": "tlsv1.2,tlsv1.3",
        "server_tls_sslmode": "verify-full",
        "server_tls_ca_file": TLS_CA,
        "server_tls_protocols": "tlsv1.3",
        "log_connections": "0",
        "log_disconnections": "0",
        "log_stats": "0",
    }
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def userlist(password: str) -> str:
    """userlist.txt: the one role whose password PgBouncer itself must know, to look up everybody else's verifier."""
    doubled = password.replace('"', '""')
    return f'"{DatabaseRole.PGBOUNCER_AUTH}" "{doubled}"\n'
