"""Is everything that the stack declared there and healthy? Pure: declaration and engine in, rows out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from agentstack.engine import Container

Verdict = Literal["healthy", "starting", "unhealthy", "running", "paused", "restarting", "stopped", "missing"]
GOOD: frozenset[Verdict] = frozenset({"healthy"})


@dataclass(frozen=True)
class Row:
    """One container of one service."""

    service: str
    container: str
    health: Verdict
    image: str
    uptime_seconds: int | None
    memory_bytes: int | None
    memory_limit_bytes: int | None
    restarts: int
    stand_in: bool

    def as_json(self) -> dict[str, Any]:
        """The documented shape of `status --json`."""
        return asdict(self)


def verdict(container: Container | None) -> Verdict:
    """What one container's state means."""
    if container is None:
        return "missing"
    match container.status:
        case "paused":
            return "paused"
        case "restarting":
            return "restarting"
        case "running":
            match container.health:
                case "healthy" | "unhealthy" | "starting":
                    return container.health
                case _:
                    return "running"
    return "stopped"


def rows(
    declared: Mapping[str, Sequence[str]],
    found: Mapping[str, Container],
    memory: Mapping[str, int],
    images: Mapping[str, str],
    stand_ins: frozenset[str],
    now: datetime,
) -> list[Row]:
    """A row for every declared container, in the declaration's order.

    Args:
        declared: service -> names of its containers.
        found: the engine's containers by name.
        memory: bytes in use by container name.
        images: image id -> name.
        stand_ins: services whose image stands in for the real one.
    """
    result = []
    for service, names in declared.items():
        for name in names:
            container = found.get(name)
            running = container is not None and container.status in {"running", "paused"}
            started = container.started_at if container is not None and running else None
            result.append(
                Row(
                    service=service,
                    container=name,
                    health=verdict(container),
                    image="" if container is None else images.get(container.image_id, container.image),
                    uptime_seconds=None if started is None else max(0, int((now - started).total_seconds())),
                    memory_bytes=memory.get(name),
                    memory_limit_bytes=(container.memory_limit_bytes or None) if container is not None else None,
                    restarts=0 if container is None else container.restarts,
                    stand_in=service in stand_ins,
                )
            )
    return result


def sick(found: Sequence[Row]) -> list[Row]:
    """The rows that are not healthy. A service without a health check counts as sick: every declared one has it."""
    return [row for row in found if row.health not in GOOD]


def duration(seconds: int | None) -> str:
    """``93784`` -> ``1d 2h``."""
    if seconds is None:
        return "-"
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{days}d", f"{hours}h", f"{minutes}m", f"{rest}s"]
    first = next((i for i, value in enumerate((days, hours, minutes, rest)) if value), 3)
    return " ".join(parts[first : first + 2])


def mebibytes(size: int | None) -> str:
    """Bytes as whole MiB."""
    return "-" if size is None else f"{size / 1024 / 1024:.0f} MiB"
