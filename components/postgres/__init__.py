"""PostgreSQL 17 for Phoenix's traces, and the one-shot that keeps its roles, grants and extensions as declared.

Made here: the service `postgres` (data volume, socket volume, certificate, configuration) and the job
`postgres-reconcile`, which runs again whenever its inputs change (a new password, a new grant), not only on an empty
volume. The job is the superuser by the unix socket, as the backup will be; over the network there is no superuser.

Before changing it: PGDATA is a directory *inside* the mounted volume, so that a restore can be put beside it and
swapped by a rename.
"""

from pathlib import Path
from typing import Final

import pulumi

from components.context import Context
from components.names import CONFIG_DIR, NetworkName, Port, Service
from components.networks import subnet_of
from components.postgres import archive, render
from components.postgres.roles import POLICIES, SUPERUSER, DatabaseRole, role_salt, scram_verifier
from components.runtime import Running
from components.secrets import Password
from components.trust import tls_files
from components.workload import Attachment, ConfigFile, DataVolume, Health, Job, Workload

UID: Final = 999
GID: Final = 999
VOLUME_DIR: Final = render.VOLUME_DIR
PGDATA: Final = render.PGDATA
SOCKET_DIR: Final = render.SOCKET_DIR
DATA_VOLUME: Final = "postgres-data"
SOCKET_VOLUME: Final = "postgres-socket"
RECONCILE_JOB: Final = "postgres-reconcile"
STOP_GRACE_SECONDS: Final = 120
INITDB_ARGS: Final = "--data-checksums --locale-provider=builtin --builtin-locale=C.UTF-8 --auth-local=peer"
"""The builtin provider's collation is the same in every image: no index breaks when a base image changes its libc."""

_HERE: Final = Path(__file__).parent
_CONF: Final = f"{CONFIG_DIR}/postgresql.conf"
_READY: Final = "SELECT 1 / (current_setting('listen_addresses') <> '')::int"
"""Fails on the server of the first start, which sets up the cluster and listens to its socket alone."""


class Postgres(pulumi.ComponentResource):
    """The database server. SQL clients start after ``ready``: then their roles exist."""

    host: Final = Service.POSTGRES.value
    port: Final = Port.POSTGRES
    database: Final = render.DATABASE
    passwords: dict[str, Password]
    repository_cipher: Password
    """Passphrase of the local backup repository, to which the server archives its log."""
    running: Running
    ready: pulumi.Resource
    data_volume: DataVolume
    """To be mounted by whoever backs up and restores."""
    socket_volume: DataVolume
    """Holds the unix socket: whoever mounts it as uid 999 is the superuser."""

    def __init__(self, name: str, context: Context, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("agentstack:observability:Postgres", name, {}, opts)
        settings = context.settings.postgres
        self.passwords = {role.value: context.secrets.password(_secret_name(role.value)) for role in POLICIES}
        superuser = context.secrets.password(_secret_name("superuser"))
        self.data_volume = DataVolume(DATA_VOLUME, VOLUME_DIR, shared=True)
        self.socket_volume = DataVolume(SOCKET_VOLUME, SOCKET_DIR, shared=True)
        leaf = context.ca.leaf(Service.POSTGRES.value, parent=self)
        backup = context.settings.backup
        values = render.postgresql_values(
            settings, f"{CONFIG_DIR}/pg_hba.conf", f"{CONFIG_DIR}/pg_ident.conf", archive.archive_values(backup)
        )
        self.repository_cipher = context.secrets.password("backup-cipher-local", length=64)
        repository, host_paths, exceptions = archive.repository_mounts(backup, shared=False)
        self.running = context.runtime.run(
            Workload(
                service=Service.POSTGRES,
                image=context.images["postgres"],
                resources=settings.resources(),
                networks=(Attachment(NetworkName.PHOENIX),),
                uid=UID,
                gid=GID,
                entrypoint=("/bin/sh", f"{CONFIG_DIR}/start.sh"),
                command=("postgres", "-c", f"config_file={_CONF}"),
                env={
                    "PGDATA": PGDATA,
                    "POSTGRES_USER": SUPERUSER,
                    "POSTGRES_PASSWORD_FILE": f"{CONFIG_DIR}/secrets/superuser-password",
                    "POSTGRES_INITDB_ARGS": INITDB_ARGS,
                },
                files={
                    **tls_files(context.ca, leaf),
                    "postgresql.conf": ConfigFile(render.dump_conf(values)),
                    "pg_hba.conf": ConfigFile(render.pg_hba(subnet_of(context.settings, NetworkName.PHOENIX))),
                    "pg_ident.conf": ConfigFile(render.pg_ident()),
                    "start.sh": ConfigFile((_HERE / "start.sh").read_text()),
                    **archive.archive_files(f"{CONFIG_DIR}/{archive.LOCAL_CONF}"),
                    archive.LOCAL_CONF: ConfigFile(
                        self.repository_cipher.value.apply(lambda cipher: archive.server_conf(backup, cipher)), "0400"
                    ),
                    "secrets/superuser-password": ConfigFile(superuser.value, "0400"),
                },
                volumes=(DataVolume(DATA_VOLUME, VOLUME_DIR), DataVolume(SOCKET_VOLUME, SOCKET_DIR), *repository),
                host_paths=host_paths,
                exceptions=exceptions,
                tmpfs={"/tmp": 64},  # noqa: S108 (a mount point, not a file name)
                shm_mib=render.shm_mib(settings),
                nofile=16384,
                # SIGINT is the fast shutdown: sessions end, a checkpoint is written.
                stop_signal="SIGINT",
                stop_grace_seconds=STOP_GRACE_SECONDS,
                health=_health(),
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.ready = self._reconcile(context)
        self.register_outputs({"host": self.host, "port": self.port, "database": self.database})

    def _reconcile(self, context: Context) -> pulumi.Resource:
        salt = context.secrets.password(_secret_name("scram-salt"))

        def verifiers(values: dict[str, str]) -> str:
            secret = values.pop("")
            made = {role: scram_verifier(text, role_salt(secret, role)) for role, text in values.items()}
            return render.verifiers_sql(made)

        passwords = {role: password.value for role, password in self.passwords.items()}
        inputs: pulumi.Output[dict[str, str]] = pulumi.Output.all(**passwords, **{"": salt.value})
        return context.runtime.run_job(
            Job(
                name=RECONCILE_JOB,
                service=Service.POSTGRES,
                image=context.images["postgres"],
                entrypoint=("/bin/sh",),
                command=(f"{CONFIG_DIR}/reconcile.sh",),
                uid=UID,
                gid=GID,
                env={"PGHOST": SOCKET_DIR, "PGUSER": SUPERUSER, "PGDATABASE": "postgres"},
                files={
                    "reconcile.sh": ConfigFile((_HERE / "reconcile.sh").read_text()),
                    "reconcile.sql": ConfigFile((_HERE / "reconcile.sql").read_text()),
                    "wanted.sql": ConfigFile(render.policies_sql()),
                    "verifiers.sql": ConfigFile(inputs.apply(verifiers), "0400"),
                },
                volumes=(self.socket_volume,),
                # The image declares a volume there: without this each run would leave an anonymous one.
                tmpfs={VOLUME_DIR: 1, "/tmp": 8},  # noqa: S108 (a mount point, not a file name)
                memory_mib=64,
                start_after=self.running.containers,
            ),
            pulumi.ResourceOptions(parent=self),
        )


def _secret_name(role: str) -> str:
    return f"postgres-{role.replace('_', '-')}"


def _health() -> Health:
    query = ("psql", "-XAtq", "-h", SOCKET_DIR, "-U", SUPERUSER, "-d", "postgres", "-c", _READY)
    return Health(
        # SIGTERM would wait for every client to leave.
        probe=("exec", "--signal", "INT", "--", *query),
        # A server that replays its log after a crash is not sick; 2 GB take half a minute (measured).
        start_period_seconds=300,
        wait_timeout_seconds=300,
        restart_after=12,
    )


__all__ = ["DATA_VOLUME", "PGDATA", "RECONCILE_JOB", "SOCKET_DIR", "SOCKET_VOLUME", "DatabaseRole", "Postgres"]
