"""The database roles: one per client, each with the least it needs, and how their passwords reach the server.

The server only ever sees a SCRAM verifier, made here: no password stands in SQL, in the server's log or in
pg_stat_statements. The salt comes from a generated secret of its own, so that the verifier of one password is
always the same text and the reconcile job finds nothing to change.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SCRAM_ITERATIONS: Final = 4096
"""RFC 7677's minimum. The passwords are 40 random characters: more rounds would only slow every login."""


class DatabaseRole(StrEnum):
    """Roles that log in over the network; the superuser ``postgres`` does so by the unix socket alone."""

    PHOENIX = "phoenix"
    PGBOUNCER_AUTH = "pgbouncer_auth"
    EXPORTER = "exporter"
    READER = "reader"


SUPERUSER: Final = "postgres"


@dataclass(frozen=True)
class RolePolicy:
    """What a role is given beyond LOGIN. ``settings`` are its defaults in PostgreSQL's own spelling."""

    purpose: str
    settings: tuple[str, ...] = ()
    member_of: tuple[str, ...] = ()


POLICIES: Final[dict[DatabaseRole, RolePolicy]] = {
    DatabaseRole.PHOENIX: RolePolicy(
        "owns the database phoenix",
        # An hour: the longest that Phoenix runs are its retention deletes (minutes) and index builds of a migration.
        settings=("statement_timeout=1h", "idle_in_transaction_session_timeout=5min"),
    ),
    DatabaseRole.PGBOUNCER_AUTH: RolePolicy("looks up verifiers for PgBouncer", settings=("statement_timeout=5s",)),
    DatabaseRole.EXPORTER: RolePolicy(
        "reads statistics",
        settings=("statement_timeout=10s", "default_transaction_read_only=on"),
        # The second lets it in when every ordinary connection is taken: that is when its figures matter.
        member_of=("pg_monitor", "pg_use_reserved_connections"),
    ),
    DatabaseRole.READER: RolePolicy(
        "reads Phoenix's tables, without logins and keys, for people",
        settings=(
            "statement_timeout=1min",
            "idle_in_transaction_session_timeout=1min",
            "default_transaction_read_only=on",
        ),
        member_of=("pg_read_all_stats",),
    ),
}


def role_salt(secret: str, role: str) -> bytes:
    """A salt of 16 bytes for one role, always the same for the same secret."""
    return hmac.digest(secret.encode(), role.encode(), "sha256")[:16]


def scram_verifier(password: str, salt: bytes) -> str:
    """The SCRAM-SHA-256 verifier of ``password`` as pg_authid stores it (RFC 5803).

    Raises:
        ValueError: for a password outside printable ASCII, which would need SASLprep.
    """
    if not password or not password.isascii() or not password.isprintable():
        raise ValueError("a role's password must be printable ASCII and not empty")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ITERATIONS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")

    def text(value: bytes) -> str:
        return base64.b64encode(value).decode()

    return f"SCRAM-SHA-256${SCRAM_ITERATIONS}:{text(salt)}${text(stored_key)}:{text(server_key)}"
