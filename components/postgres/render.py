"""PostgreSQL's configuration as text. Pure: settings in, files out.

docs/decisions/0005-postgres.md says why the values are what they are.
"""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network
from typing import Final

from components.names import TLS_CERT, TLS_KEY, Port
from components.postgres.roles import POLICIES, SCRAM_ITERATIONS, SUPERUSER, DatabaseRole
from components.settings.database import PostgresSettings, mebibytes

SOCKET_DIR: Final = "/var/run/postgresql"
VOLUME_DIR: Final = "/var/lib/postgresql/data"
PGDATA: Final = f"{VOLUME_DIR}/pgdata"
IDENT_MAP: Final = "agentstack"
DATABASE: Final = "phoenix"

Value = str | int | float | bool


def _quoted(value: Value) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        return str(value)
    doubled = value.replace("'", "''").replace("\\", "\\\\")
    return f"'{doubled}'"


def dump_conf(values: Mapping[str, Value]) -> str:
    """``{"port": 5432}`` -> postgresql.conf lines, strings quoted as its grammar asks."""
    return "".join(f"{name} = {_quoted(value)}\n" for name, value in values.items())


def shm_mib(settings: PostgresSettings) -> int:
    """Size of /dev/shm: parallel queries and index builds allocate there.

    Docker's 64 MiB fail a parallel hash join at 32 MB of work_mem; 320 MiB passed it together with a parallel
    vector index build at 256 MB (measured). It is a ceiling inside the memory limit, not a reservation.
    """
    return max(256, settings.memory_mib // 4)


def postgresql_values(
    settings: PostgresSettings, hba_file: str, ident_file: str, extra: Mapping[str, Value] | None = None
) -> dict[str, Value]:
    """Every setting that is not the server's default, in the order of the file; ``extra`` (archiving) comes last."""
    workers = max(2, round(settings.cpus))
    autovacuum_mib = max(16, int(mebibytes(settings.maintenance_work_mem) / 2))
    values: dict[str, Value] = {
        "hba_file": hba_file,
        "ident_file": ident_file,
        "listen_addresses": "*",
        "port": Port.POSTGRES,
        "unix_socket_directories": SOCKET_DIR,
        # Only the server's own user may open the socket: whoever does so is the superuser.
        "unix_socket_permissions": "0700",
        "max_connections": settings.max_connections,
        "superuser_reserved_connections": settings.superuser_reserved_connections,
        "reserved_connections": settings.reserved_connections,
        "authentication_timeout": "15s",
        "client_connection_check_interval": "10s",
        "tcp_keepalives_idle": "60s",
        "tcp_keepalives_interval": "10s",
        "tcp_keepalives_count": 6,
        "password_encryption": "scram-sha-256",
        "scram_iterations": SCRAM_ITERATIONS,
        "ssl": True,
        "ssl_cert_file": TLS_CERT,
        "ssl_key_file": TLS_KEY,
        "ssl_min_protocol_version": "TLSv1.3",
        "shared_buffers": settings.shared_buffers,
        "effective_cache_size": settings.effective_cache_size,
        "work_mem": settings.work_mem,
        # The default of 2 would let one hash take twice work_mem.
        "hash_mem_multiplier": 1.0,
        "maintenance_work_mem": settings.maintenance_work_mem,
        "autovacuum_work_mem": f"{autovacuum_mib}MB",
        # `try` gives SIGBUS under a hugetlb cgroup limit; the host would have to reserve them anyway.
        "huge_pages": "off",
        "max_worker_processes": workers + 6,
        "max_parallel_workers": workers,
        "max_parallel_workers_per_gather": min(2, workers),
        "max_parallel_maintenance_workers": min(2, workers),
        "jit": False,
        "random_page_cost": 1.1,
        "default_toast_compression": "lz4",
        "wal_level": "replica",
        "wal_compression": "zstd",
        "wal_buffers": settings.wal_buffers,
        "max_wal_size": settings.max_wal_size,
        "min_wal_size": settings.min_wal_size,
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": 0.9,
        "max_wal_senders": 10,
        "max_replication_slots": 10,
        # A dead replica must not fill the disk of the primary.
        "max_slot_wal_keep_size": "4GB",
        "shared_preload_libraries": "pg_stat_statements,pgaudit",
        "pg_stat_statements.max": 5000,
        "pg_stat_statements.track": "top",
        # Utility statements would be stored as written, passwords and all.
        "pg_stat_statements.track_utility": False,
        "pgaudit.log": "ddl, role",
        "pgaudit.log_catalog": False,
        "track_io_timing": True,
        "idle_in_transaction_session_timeout": "5min",
        "log_destination": "stderr",
        "logging_collector": False,
        "log_line_prefix": "%m [%p] %q%u@%d/%a %h ",
        "log_timezone": "UTC",
        "log_statement": "none",
        "log_min_duration_statement": "1s",
        # Bound values are people's prompts: statements are logged without them.
        "log_parameter_max_length": 0,
        "log_parameter_max_length_on_error": 0,
        "log_checkpoints": True,
        "log_connections": False,
        "log_disconnections": False,
        "log_lock_waits": True,
        "log_temp_files": "32MB",
        "log_autovacuum_min_duration": "10s",
        "timezone": "UTC",
        "datestyle": "iso, mdy",
        "lc_messages": "C.UTF-8",
        "lc_monetary": "C.UTF-8",
        "lc_numeric": "C.UTF-8",
        "lc_time": "C.UTF-8",
        "default_text_search_config": "pg_catalog.english",
    }
    return {**values, **(extra or {})}


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines) + "\n"


def pg_hba(subnet: IPv4Network) -> str:
    """Who may connect: the server's own user by the socket; named roles over TLS with SCRAM; nobody else.

    The superuser has no line but the socket's: no password opens it over a network.
    """
    clients = [("hostssl", DATABASE, role.value, str(subnet), "scram-sha-256") for role in POLICIES]
    nobody = [("host", database, "all", "all", "reject") for database in ("all", "replication")]
    return f"local  all  all  peer map={IDENT_MAP}\n" + _table([*clients, *nobody])


def pg_ident() -> str:
    """Which roles the operating system's user ``postgres`` may take on the socket.

    Whoever runs a command in the server's container is that user; ``psql -U phoenix`` there works without a password.
    """
    roles = (SUPERUSER, DatabaseRole.PHOENIX.value, DatabaseRole.READER.value)
    return _table([(IDENT_MAP, SUPERUSER, role) for role in roles])


def verifiers_sql(verifiers: Mapping[str, str]) -> str:
    """The psql variables ``verifier_<role>`` for reconcile.sql.

    Raises:
        ValueError: for a text that is no SCRAM verifier (it could break out of the quotes).
    """
    for role, verifier in verifiers.items():
        if not verifier.startswith("SCRAM-SHA-256$") or set(verifier) & set("'\\\n"):
            raise ValueError(f"the verifier of role {role} is malformed")
    return "".join(f"\\set verifier_{role} '{verifier}'\n" for role, verifier in sorted(verifiers.items()))


def policies_sql() -> str:
    """``INSERT`` rows for the table of wanted roles in reconcile.sql, verifiers by variable."""

    def array(values: Sequence[str]) -> str:
        return "ARRAY[" + ", ".join(f"'{value}'" for value in values) + "]::text[]"

    rows = ",\n".join(
        f"  ('{role.value}', :'verifier_{role.value}', {array(policy.settings)}, {array(policy.member_of)})"
        for role, policy in POLICIES.items()
    )
    return f"INSERT INTO wanted (name, verifier, settings, member_of) VALUES\n{rows};\n"
