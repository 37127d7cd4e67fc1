"""Backups: when they run, how long they are kept, and the second repository."""

import ipaddress
import re
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from components.backup.container.schedule import Schedule, ScheduleError
from components.settings.base import Model
from components.settings.sizing import Size

Cron = Annotated[str, Field(max_length=100, description="minute hour day-of-month month day-of-week")]
_BUCKET = re.compile(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
_HOST = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")


def _cron(value: str) -> str:
    try:
        Schedule(value)
    except ScheduleError as error:
        raise ValueError(str(error)) from error
    return value


class S3Settings(Model):
    """Repository 2: an S3 bucket, best in another region. Key and secret come from files, never from the stack file."""

    endpoint: Annotated[str, Field(description="host name, or host:port")]
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")] = "us-east-1"
    """Region of the bucket, for the signature of requests."""
    bucket: str
    """Name of the bucket."""
    prefix: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._-]+)+$")] = "/agentstack"
    """Path in the bucket; one per stack."""
    uri_style: Literal["host", "path"] = "host"
    """``host``: bucket.endpoint; ``path``: endpoint/bucket, for servers that know no bucket names in host names."""
    key_file: Annotated[str, Field(min_length=1, description="file with the access key, read at `up`")]
    secret_file: Annotated[str, Field(min_length=1, description="file with the secret key, read at `up`")]
    ca_file: Annotated[str, Field(min_length=1, description="PEM file, for a server of your own authority")] | None = (
        None
    )
    retention_days: Annotated[int, Field(ge=1, le=3650)] = 90
    """How far back a restore from this repository reaches."""
    full_schedule: Cron = "0 3 * * *"
    """When a full backup is copied there: minute hour day-of-month month day-of-week."""
    differential_schedule: Cron = "50 */6 * * *"
    """When a differential backup is copied there."""

    @field_validator("bucket")
    @classmethod
    def _bucket_name(cls, value: str) -> str:
        if not _BUCKET.fullmatch(value):
            raise ValueError("is not a bucket name: 3 to 63 lower case letters, digits, dots and dashes")
        return value

    @field_validator("endpoint")
    @classmethod
    def _address(cls, value: str) -> str:
        host, _, port = value.partition(":")
        if not _HOST.fullmatch(host) or (port and not (port.isdigit() and 0 < int(port) < 65536)):
            raise ValueError("must be host or host:port, without https:// and path; TLS is always used")
        return value

    @field_validator("full_schedule", "differential_schedule")
    @classmethod
    def _schedules(cls, value: str) -> str:
        return _cron(value)

    @model_validator(mode="after")
    def _addressable(self) -> Self:
        host = self.endpoint.partition(":")[0]
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return self
        if self.uri_style == "host":
            raise ValueError(
                f"endpoint {self.endpoint} is an address: bucket names can't stand before it; set uriStyle: path"
            )
        return self


class BackupSettings(Size):
    """Size of the backup service, its schedules and what is kept.

    Verification restores into a scratch volume: it needs as much disk as the database.
    """

    cpus: Annotated[float, Field(gt=0, le=256)] = 1.0
    memory_mib: Annotated[int, Field(ge=128, le=4_194_304)] = 128
    time_zone: str = "UTC"
    """Time zone of the schedules."""
    full_schedule: Cron = "0 2 * * *"
    """When a full backup is made: minute hour day-of-month month day-of-week."""
    differential_schedule: Cron = "20 * * * *"
    """When a differential backup is made."""
    verify_schedule: Cron = "30 4 * * *"
    """When the newest backup is restored and compared."""
    check_schedule: Cron = "0 6 * * 0"
    """When every file of the repository is read and checked."""
    retention_days: Annotated[int, Field(ge=1, le=3650, description="how far back a restore reaches")] = 90
    differentials_kept: Annotated[int, Field(ge=1, le=1000)] = 48
    """Differential backups that are kept."""
    archive_timeout_seconds: Annotated[
        int, Field(ge=30, le=900, description="the longest that a committed change waits to be archived")
    ] = 300
    processes: Annotated[int, Field(ge=1, le=64, description="parallel processes of a backup or restore")] = 2
    repository_path: Annotated[str, Field(pattern=r"^/[^:]+$")] | None = None
    """A directory of the host in place of the volume, for example on another disk; it must belong to uid 999."""
    escrow_maximum_days: Annotated[int, Field(ge=1, le=3650)] = 90
    """Age of the escrow file beyond which an alert says so."""
    s3: S3Settings | None = None
    """The second repository; none for no copy off this machine."""

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{value!r} is not a time zone; write for example Europe/Paris") from error
        return value

    @field_validator("full_schedule", "differential_schedule", "verify_schedule", "check_schedule")
    @classmethod
    def _schedules(cls, value: str) -> str:
        return _cron(value)
