"""The backup's configuration as text: pgBackRest's files, one for each repository, and the settings of its jobs."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from components.names import CONFIG_DIR
from components.postgres.archive import LOCAL_CONF, LOCK_DIR, STANZA, common, dump_ini, local_repository, stanza
from components.postgres.render import DATABASE, PGDATA, SOCKET_DIR, VOLUME_DIR
from components.settings.backup import BackupSettings, S3Settings

S3_CONF: Final = "pgbackrest/s3.conf"
S3_CA: Final = "pgbackrest/s3-ca.crt"
SYSTEM_CA: Final = "/etc/ssl/certs/ca-certificates.crt"
SCRATCH_DIR: Final = "/var/lib/agentstack-scratch"
STATE_DIR: Final = f"{SCRATCH_DIR}/state"
CODE_DIR: Final = "app"
"""Below /etc/agentstack: the jobs' code, laid out as the packages that it is."""

_CODE: Final = Path(__file__).resolve().parent / "container"


def local_conf(settings: BackupSettings, cipher: str) -> str:
    """pgbackrest.conf for the local repository, as the backup uses it."""
    sections = {"global": {**common(settings), **local_repository(settings, cipher)}, STANZA: stanza()}
    return dump_ini(sections)


def s3_conf(settings: BackupSettings, s3: S3Settings, cipher: str, key: str, secret: str) -> str:
    """pgbackrest.conf for the second repository. It stands alone: what happens there holds up nothing here."""
    host, _, port = s3.endpoint.partition(":")
    repository = {
        "repo1-type": "s3",
        "repo1-path": s3.prefix,
        "repo1-s3-endpoint": host,
        "repo1-s3-region": s3.region,
        "repo1-s3-bucket": s3.bucket,
        "repo1-s3-uri-style": s3.uri_style,
        "repo1-s3-key": key.strip(),
        "repo1-s3-key-secret": secret.strip(),
        "repo1-storage-ca-file": f"{CONFIG_DIR}/{S3_CA}" if s3.ca_file else SYSTEM_CA,
        "repo1-storage-verify-tls": "y",
        "repo1-bundle": "y",
        "repo1-block": "y",
        "repo1-cipher-type": "aes-256-cbc",
        "repo1-cipher-pass": cipher,
        "repo1-retention-full-type": "time",
        "repo1-retention-full": str(s3.retention_days),
        "repo1-retention-diff": str(settings.differentials_kept),
    }
    if port:
        repository["repo1-storage-port"] = port
    # Locks are named by the stanza alone: with one directory for both, one repository would wait for the other.
    # A server that does not answer is asked again at the next look, not for minutes.
    apart = {**common(settings), "lock-path": f"{LOCK_DIR}-s3", "io-timeout": "15"}
    return dump_ini({"global": {**apart, **repository}, STANZA: stanza()})


def jobs_settings(settings: BackupSettings, page_dir: str, fingerprint: str) -> str:
    """The JSON that components/backup/container/config.py reads."""
    repositories = [
        {
            "name": "local",
            "config": f"{CONFIG_DIR}/{LOCAL_CONF}",
            "full": settings.full_schedule,
            "differential": settings.differential_schedule,
        }
    ]
    if settings.s3:
        repositories.append(
            {
                "name": "s3",
                "config": f"{CONFIG_DIR}/{S3_CONF}",
                "full": settings.s3.full_schedule,
                "differential": settings.s3.differential_schedule,
            }
        )
    told = {
        "volume": VOLUME_DIR,
        "pgdata": PGDATA,
        "socket": SOCKET_DIR,
        "scratch": SCRATCH_DIR,
        "state": STATE_DIR,
        "page": page_dir,
        "database": DATABASE,
        "time_zone": settings.time_zone,
        "repositories": repositories,
        "verify": settings.verify_schedule,
        "check": settings.check_schedule,
        "processes": settings.processes,
        "archive_timeout_seconds": settings.archive_timeout_seconds,
        "secrets_fingerprint": fingerprint,
        "escrow_maximum_days": settings.escrow_maximum_days,
    }
    return json.dumps(told, indent=1) + "\n"


def fingerprint(secrets: Mapping[str, str]) -> str:
    """A digest that changes when any secret does: tells whether an escrow file is still the whole truth."""
    digest = hashlib.sha256()
    for name, value in sorted(secrets.items()):
        digest.update(hashlib.sha256(f"{name}\0{value}".encode()).digest())
    return digest.hexdigest()[:16]


def code_files() -> dict[str, str]:
    """The jobs' code, by its path in the container. Packages without __init__: Python takes folders as packages."""
    return {
        f"{CODE_DIR}/components/backup/container/{path.name}": path.read_text()
        for path in sorted(_CODE.glob("*.py"))
        if path.name != "__init__.py"
    }
