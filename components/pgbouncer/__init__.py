"""PgBouncer: the way to the database for every SQL client but Phoenix.

Transaction pooling over TLS on both sides. Phoenix speaks to PostgreSQL directly: its own pool is small, and
pooled twice it stored up to half as fast. Clients log in with their own role and password; PgBouncer passes the
login through with the server's verifiers (``auth_query``) and knows no password but that of its look-up role.

What transaction pooling can't carry: LISTEN, session advisory locks, session-wide SET.
"""

from pathlib import Path
from typing import Final

import pulumi

from components.context import Context
from components.names import CONFIG_DIR, NetworkName, Port, Service
from components.pgbouncer import render
from components.postgres import DatabaseRole, Postgres
from components.runtime import Running
from components.trust import tls_files
from components.workload import Attachment, ConfigFile, Health, Workload

UID: Final = 70
GID: Final = 70


class PgBouncer(pulumi.ComponentResource):
    """The connection pooler; database ``phoenix``, any role that pg_hba lets in."""

    host: Final = Service.PGBOUNCER.value
    port: Final = Port.PGBOUNCER
    running: Running

    def __init__(
        self, name: str, context: Context, *, postgres: Postgres, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("agentstack:observability:PgBouncer", name, {}, opts)
        leaf = context.ca.leaf(Service.PGBOUNCER.value, parent=self)
        auth_password = postgres.passwords[DatabaseRole.PGBOUNCER_AUTH].value
        script = (Path(__file__).parent / "healthcheck.sh").read_text()
        self.running = context.runtime.run(
            Workload(
                service=Service.PGBOUNCER,
                image=context.images["pgbouncer"],
                resources=context.settings.pgbouncer.resources(),
                networks=(Attachment(NetworkName.PHOENIX),),
                uid=UID,
                gid=GID,
                # By name: the images keep the binary in different directories of the PATH.
                entrypoint=("pgbouncer",),
                command=(f"{CONFIG_DIR}/pgbouncer.ini",),
                files={
                    **tls_files(context.ca, leaf),
                    "pgbouncer.ini": ConfigFile(render.pgbouncer_ini(context.settings.postgres)),
                    "healthcheck.sh": ConfigFile(script),
                    "secrets/userlist.txt": ConfigFile(auth_password.apply(render.userlist), "0400"),
                },
                # Waits for its clients' transactions; SIGTERM would cut them off.
                stop_signal="SIGINT",
                stop_grace_seconds=15,
                health=Health(
                    probe=("exec", "--", "/bin/sh", f"{CONFIG_DIR}/healthcheck.sh", str(Port.PGBOUNCER)),
                ),
                start_after=(postgres.ready,),
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"host": self.host, "port": self.port})


__all__ = ["PgBouncer"]
