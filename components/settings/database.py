"""PostgreSQL: size and tuning. Memory values are PostgreSQL's own spelling (``32MB``)."""

import re
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from components.settings.sizing import Size

Memory = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,6}(kB|MB|GB)$")]
_UNITS = {"kB": 1 / 1024, "MB": 1.0, "GB": 1024.0}


def mebibytes(value: str) -> float:
    """``"32MB"`` -> 32.0."""
    match = re.fullmatch(r"(\d+)(kB|MB|GB)", value)
    if match is None:
        raise ValueError(f"{value!r} is not a memory value; write for example 32MB")
    return int(match.group(1)) * _UNITS[match.group(2)]


class PostgresSettings(Size):
    """The database server. The defaults fit `dev`; `Pulumi.prod.yaml` carries the production tuning."""

    cpus: Annotated[float, Field(gt=0, le=256)] = 2.0
    memory_mib: Annotated[int, Field(ge=256, le=4_194_304)] = 512
    max_connections: Annotated[int, Field(ge=20, le=5000)] = 60
    """Connections at most, reserved ones included."""
    superuser_reserved_connections: Annotated[int, Field(ge=1, le=20)] = 3
    """Kept for the superuser."""
    reserved_connections: Annotated[int, Field(ge=0, le=20)] = 3
    """Kept for the exporter, so that figures arrive when every ordinary connection is taken."""
    shared_buffers: Memory = "128MB"
    """PostgreSQL's own cache; at most half of ``memoryMib``."""
    work_mem: Memory = "8MB"
    """Memory per sort or hash of a query."""
    maintenance_work_mem: Memory = "64MB"
    """Memory per index build or vacuum."""
    effective_cache_size: Memory = "256MB"
    """What the planner assumes to be cached, the kernel's cache included."""
    wal_buffers: Memory = "8MB"
    """Write-ahead log held in memory."""
    max_wal_size: Memory = "1GB"
    """Write-ahead log between checkpoints."""
    min_wal_size: Memory = "80MB"
    """Write-ahead log that is kept for reuse."""
    pooled_connections: Annotated[
        int, Field(ge=2, le=500, description="server connections that PgBouncer may open in all")
    ] = 20

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if mebibytes(self.shared_buffers) > self.memory_mib / 2:
            raise ValueError(
                f"sharedBuffers {self.shared_buffers} is over half of memoryMib {self.memory_mib}; a quarter is usual"
            )
        if mebibytes(self.min_wal_size) >= mebibytes(self.max_wal_size):
            raise ValueError(f"minWalSize {self.min_wal_size} must be below maxWalSize {self.max_wal_size}")
        held = self.superuser_reserved_connections + self.reserved_connections
        if self.pooled_connections + held >= self.max_connections:
            raise ValueError(
                f"pooledConnections {self.pooled_connections} and the {held} reserved ones leave none of "
                f"maxConnections {self.max_connections} to Phoenix; lower pooledConnections or raise maxConnections"
            )
        return self
