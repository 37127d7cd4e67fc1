"""How `agentstack psql` gets in: by the server's own socket, inside its container. Pure.

No password travels: the server knows its own user by `peer` and lets it be `reader` (Phoenix's tables without logins
and keys, read-only) or the superuser. Whoever may use the Docker engine is root on the machine anyway.
"""

from collections.abc import Sequence
from typing import Final, Literal

Role = Literal["reader", "admin"]
DATABASE: Final = "phoenix"
USERS: Final[dict[Role, str]] = {"reader": "reader", "admin": "postgres"}


def command(container: str, role: Role, arguments: Sequence[str], terminal: bool) -> list[str]:
    """`docker exec ... psql` for a role.

    Args:
        arguments: handed to psql as they are.
        terminal: whether a person sits there (asks Docker for a terminal).
    """
    # The root is read-only: a history file could not be written.
    options = ["--interactive", *(["--tty"] if terminal else []), "--env", "PSQL_HISTORY=/dev/null"]
    return ["docker", "exec", *options, container, "psql", "-X", "-U", USERS[role], "-d", DATABASE, *arguments]
