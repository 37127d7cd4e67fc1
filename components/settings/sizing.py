"""How large each service is. The defaults are those of `dev` (a laptop: at most 3 GiB of limits in all)."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from components.settings.base import Model
from components.workload import Resources

MAX_REPLICAS = 8
"""The edge's server template has this many slots (components/edge)."""


class Size(Model):
    """Limits and reservations of one service: cpu in cores, memory in MiB."""

    cpus: Annotated[float, Field(gt=0, le=256, description="CPU limit, in cores")]
    memory_mib: Annotated[int, Field(ge=16, le=4_194_304, description="memory limit (swap included), in MiB")]
    cpus_reserved: Annotated[float, Field(ge=0, le=256, description="CPU share under contention, in cores")] = 0.0
    memory_reserved_mib: Annotated[int, Field(ge=0, le=4_194_304, description="memory reservation, in MiB")] = 0

    @model_validator(mode="after")
    def _reservation_fits(self) -> Self:
        if self.cpus_reserved > self.cpus:
            raise ValueError(f"cpusReserved {self.cpus_reserved} is above cpus {self.cpus}; lower it or raise cpus")
        if self.memory_reserved_mib > self.memory_mib:
            raise ValueError(
                f"memoryReservedMib {self.memory_reserved_mib} is above memoryMib {self.memory_mib}; "
                "lower it or raise memoryMib"
            )
        return self

    def resources(self) -> Resources:
        """The same as a workload's resources."""
        return Resources(
            cpus=self.cpus,
            memory_mib=self.memory_mib,
            cpus_reserved=self.cpus_reserved,
            memory_reserved_mib=self.memory_reserved_mib,
        )


class PhoenixSize(Size):
    """Phoenix: about 0.5 GiB idle, one core stores about 100 spans per second and replica."""

    cpus: Annotated[float, Field(gt=0, le=256)] = 2.0
    memory_mib: Annotated[int, Field(ge=768, le=4_194_304)] = 1024
    replicas: Annotated[int, Field(ge=1, le=MAX_REPLICAS)] = 1
    """How many run; each stores about 100 spans per second and core."""
    span_queue: Annotated[
        int, Field(ge=100, le=100_000, description="spans that Phoenix holds in memory; what a killed Phoenix loses")
    ] = 1000


class CollectorSize(Size):
    """OpenTelemetry Collector."""

    cpus: Annotated[float, Field(gt=0, le=256)] = 2.0
    memory_mib: Annotated[int, Field(ge=192, le=4_194_304)] = 320
    replicas: Annotated[int, Field(ge=1, le=MAX_REPLICAS)] = 1
    """How many run, each with a disk queue of its own."""
    queue_mib: Annotated[int, Field(ge=16, le=1_048_576, description="disk queue towards Phoenix, in MiB")] = 1024


class PrometheusSize(Size):
    """Prometheus and how long it keeps samples."""

    cpus: Annotated[float, Field(gt=0, le=256)] = 1.0
    memory_mib: Annotated[int, Field(ge=128, le=4_194_304)] = 320
    retention_days: Annotated[int, Field(ge=1, le=3650)] = 35
    """How long samples are kept."""
    retention_mib: Annotated[int, Field(ge=256, description="size limit of the samples on disk, in MiB")] = 10_240


def small(cpus: float, memory_mib: int) -> Size:
    """A size without reservations."""
    return Size.model_validate({"cpus": cpus, "memoryMib": memory_mib})
