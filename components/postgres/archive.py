"""How PostgreSQL archives its log: with pgBackRest, asynchronously, to the local repository alone.

Only the backup writes to a second repository: with both written from here, a dead S3 stops the local archive as well
(seen: no segment in 300 s). Nothing is pushed before the backup has made the stanza: a push that retries holds the
lock which making the stanza needs.
"""

import configparser
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from components.names import CONFIG_DIR
from components.postgres.render import PGDATA, SOCKET_DIR, Value
from components.settings.backup import BackupSettings
from components.workload import ConfigFile, DataVolume, HostPath

STANZA: Final = "phoenix"
REPOSITORY_DIR: Final = "/var/lib/pgbackrest"
REPOSITORY_VOLUME: Final = "backup-repository"
SPOOL_DIR: Final = "/tmp/pgbackrest-spool"  # noqa: S108 (the container's own tmpfs)
LOCK_DIR: Final = "/tmp/pgbackrest"  # noqa: S108 (the container's own tmpfs)
LOCAL_CONF: Final = "pgbackrest/local.conf"
ARCHIVE_SCRIPT: Final = "pgbackrest-archive.sh"
HOST_PATH_REASON: Final = "backup.repositoryPath puts the repository on a disk of the host"


def dump_ini(sections: Mapping[str, Mapping[str, str]]) -> str:
    """pgbackrest.conf from its sections."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_dict(sections)
    text = io.StringIO()
    parser.write(text, space_around_delimiters=False)
    return text.getvalue()


def common(settings: BackupSettings) -> dict[str, str]:
    """Global options of every configuration file."""
    return {
        "process-max": str(settings.processes),
        "compress-type": "zst",
        "compress-level": "3",
        # Without it a backup waits for the next scheduled checkpoint.
        "start-fast": "y",
        # The container's log is the log.
        "log-level-file": "off",
        "log-level-console": "info",
        "log-timestamp": "n",
        "lock-path": LOCK_DIR,
        "archive-timeout": "300",
        "io-timeout": "60",
    }


def local_repository(settings: BackupSettings, cipher: str) -> dict[str, str]:
    """Options of the local repository; ``cipher`` is the passphrase of its encryption."""
    return {
        "repo1-path": REPOSITORY_DIR,
        "repo1-bundle": "y",
        "repo1-block": "y",
        "repo1-cipher-type": "aes-256-cbc",
        "repo1-cipher-pass": cipher,
        "repo1-retention-full-type": "time",
        "repo1-retention-full": str(settings.retention_days),
        "repo1-retention-diff": str(settings.differentials_kept),
    }


def stanza() -> dict[str, str]:
    """Where the cluster is, in the server's container and in the backup's."""
    return {"pg1-path": PGDATA, "pg1-socket-path": SOCKET_DIR, "pg1-user": "postgres"}


def server_conf(settings: BackupSettings, cipher: str) -> str:
    """pgbackrest.conf of the server's container: it pushes the log and does nothing else."""
    asynchronous = {"archive-async": "y", "spool-path": SPOOL_DIR, "log-level-console": "warn"}
    sections = {"global": {**common(settings), **local_repository(settings, cipher), **asynchronous}, STANZA: stanza()}
    return dump_ini(sections)


def archive_values(settings: BackupSettings) -> dict[str, Value]:
    """The server's settings. pgBackRest's own checks look for its name in the command: the script carries it."""
    return {
        "archive_mode": True,
        "archive_command": f'sh {CONFIG_DIR}/{ARCHIVE_SCRIPT} "%p"',
        "archive_timeout": f"{settings.archive_timeout_seconds}s",
    }


def archive_files(conf: str) -> dict[str, ConfigFile]:
    """Files of the server's container that archiving needs, without the configuration itself (``conf`` is its path)."""
    script = (Path(__file__).parent / ARCHIVE_SCRIPT).read_text()
    return {ARCHIVE_SCRIPT: ConfigFile(script.replace("@CONF@", conf), "0440")}


def repository_mounts(
    settings: BackupSettings, *, shared: bool
) -> tuple[tuple[DataVolume, ...], tuple[HostPath, ...], dict[str, str]]:
    """The repository as a volume, or as a path of the host with the exception that it needs."""
    if settings.repository_path is None:
        return (DataVolume(REPOSITORY_VOLUME, REPOSITORY_DIR, shared=shared),), (), {}
    path = HostPath(settings.repository_path, REPOSITORY_DIR, read_only=False)
    return (), (path,), {"host-path": HOST_PATH_REASON}
