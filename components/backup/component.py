"""The backup beside PostgreSQL: pgBackRest on a schedule, the daily restore that proves it, the way back.

A sidecar: it reads the data directory and asks the server over its unix socket, as the server's own user, and is the
only one that may leave for an S3 repository. The data volume is mounted writable because a restore is made in it,
beside the present data (docs/decisions/0010-backups.md).
"""

from pathlib import Path
from typing import Final

import pulumi

from components.backup import render
from components.context import Context
from components.names import CONFIG_DIR, NetworkName, Service
from components.postgres import GID, PGDATA, SOCKET_DIR, UID, Postgres, archive
from components.runtime import Running
from components.settings.backup import S3Settings
from components.trust import tls_files
from components.workload import Attachment, ConfigFile, DataVolume, Health, Workload

SCRATCH_VOLUME: Final = "backup-scratch"
MODULE: Final = "components.backup.container.main"
COMMAND: Final = ("python3", "-m", MODULE)
"""What the operator's command runs in the container; PYTHONPATH is in its environment."""


def _credential(path: str, setting: str) -> str:
    try:
        text = Path(path).expanduser().read_text().strip()
    except OSError as error:
        raise ValueError(
            f"agentstack:stack.backup.s3.{setting} = {path}: {error.strerror}; nothing was changed"
        ) from error
    if not text:
        raise ValueError(f"agentstack:stack.backup.s3.{setting} = {path}: the file is empty; nothing was changed")
    return text


class Backup(pulumi.ComponentResource):
    """The backup service; its figures are a page for the node exporter's textfile collector (``textfile``)."""

    running: Running

    def __init__(
        self,
        name: str,
        context: Context,
        *,
        postgres: Postgres,
        textfile: DataVolume,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("agentstack:observability:Backup", name, {}, opts)
        settings = context.settings.backup
        networks = [Attachment(NetworkName.PHOENIX)]
        second: dict[str, ConfigFile] = {}
        if settings.s3:
            networks.append(Attachment(NetworkName.EGRESS))
            second = self._s3_files(context, settings.s3)
        files = {
            **tls_files(context.ca, None),
            **{path: ConfigFile(text) for path, text in render.code_files().items()},
            "health.sh": ConfigFile((Path(__file__).parent / "health.sh").read_text()),
            "backup/settings.json": ConfigFile(self._jobs_settings(context, textfile.target)),
            archive.LOCAL_CONF: ConfigFile(
                postgres.repository_cipher.value.apply(lambda cipher: render.local_conf(settings, cipher)), "0400"
            ),
            **second,
        }
        repository, host_paths, exceptions = archive.repository_mounts(settings, shared=True)
        self.running = context.runtime.run(
            Workload(
                service=Service.BACKUP,
                image=context.images["postgres"],
                resources=settings.resources(),
                networks=tuple(networks),
                uid=UID,
                gid=GID,
                entrypoint=COMMAND,
                command=("supervise",),
                env={
                    "PYTHONPATH": f"{CONFIG_DIR}/{render.CODE_DIR}",
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "PYTHONUNBUFFERED": "1",
                    "PGDATA": PGDATA,
                    "PGHOST": SOCKET_DIR,
                    "PGUSER": "postgres",
                },
                files=files,
                volumes=(
                    postgres.data_volume,
                    postgres.socket_volume,
                    *repository,
                    DataVolume(SCRATCH_VOLUME, render.SCRATCH_DIR),
                    textfile,
                ),
                host_paths=host_paths,
                exceptions=exceptions,
                tmpfs={"/tmp": 64},  # noqa: S108 (a mount point, not a file name)
                shm_mib=128,
                health=Health(probe=("exec", "--", "/bin/sh", f"{CONFIG_DIR}/health.sh"), interval_seconds=15),
                # A backup under way is asked to end; pgBackRest resumes what it had copied.
                stop_grace_seconds=30,
                start_after=(postgres.ready,),
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})

    def _jobs_settings(self, context: Context, page_dir: str) -> pulumi.Output[str]:
        settings = context.settings.backup
        secrets = {name: password.value for name, password in context.secrets.passwords.items()}
        known: pulumi.Output[dict[str, str]] = pulumi.Output.all(**secrets)
        return known.apply(lambda values: render.jobs_settings(settings, page_dir, render.fingerprint(values)))

    def _s3_files(self, context: Context, s3: S3Settings) -> dict[str, ConfigFile]:
        cipher = context.secrets.password("backup-cipher-s3", length=64)
        key = _credential(s3.key_file, "keyFile")
        secret = pulumi.Output.secret(_credential(s3.secret_file, "secretFile"))
        conf = pulumi.Output.all(cipher.value, secret).apply(
            lambda both: render.s3_conf(context.settings.backup, s3, both[0], key, both[1])
        )
        files = {render.S3_CONF: ConfigFile(conf, "0400")}
        if s3.ca_file:
            files[render.S3_CA] = ConfigFile(_credential(s3.ca_file, "caFile") + "\n", "0444")
        return files
