"""Does the stack fit this engine? Asked before anything is made.

``hostFit: strict`` refuses what does not fit, naming each; ``clamp`` lowers limits and reservations and says so.
Some faults no clamp can mend: an engine that is too old, a subnet that is taken.
"""

import re
from typing import Final

from components.engine import Engine
from components.settings import Problem, Settings, SettingsError
from components.settings.sizing import Size

OLDEST_ENGINE: Final = (20, 10)
PRODUCTION_CPUS: Final = 8
PRODUCTION_MEMORY_MIB: Final = 16 * 1000 * 1000 * 1000 // 1024 // 1024
"""16 GB as machines are sold (10^9): the kernel keeps some for itself."""
PRODUCTION_DISK_MIB: Final = 100 * 1000 * 1000 * 1000 // 1024 // 1024
DISK_MIB: Final = 5 * 1024
CLAMP: Final = "or set hostFit: clamp, which lowers what does not fit and says so"


def _version(text: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


def unmendable(settings: Settings, engine: Engine) -> list[Problem]:
    """What no clamp can mend."""
    problems = []
    if _version(engine.version) < OLDEST_ENGINE:
        problems.append(
            Problem("", "", f"the Docker engine is {engine.version}; at least 20.10 is needed: upgrade the engine")
        )
    for key, ours in settings.networks.all().items():
        for name, theirs in sorted(engine.networks.items()):
            if ours.overlaps(theirs):
                problems.append(
                    Problem(
                        f"networks.{key}.subnet",
                        f'"{ours}"',
                        f"overlaps {theirs} of the engine's network {name!r}; choose a free range or remove that one",
                    )
                )
    return problems


def too_little_disk(settings: Settings, engine: Engine) -> list[Problem]:
    """Asked of a stack that is not there yet. One that is must stay operable on a full disk: shorter retention,
    a renewed certificate and a rotated token are what an operator needs then.
    """
    problems = []
    if settings.production and engine.disk_total_mib is not None and engine.disk_total_mib < PRODUCTION_DISK_MIB:
        has = f"the disk for Docker has {engine.disk_total_mib} MiB"
        problems.append(Problem("production", "true", f"{has}; production asks for {PRODUCTION_DISK_MIB} MiB (100 GB)"))
    if engine.disk_free_mib is not None and engine.disk_free_mib < DISK_MIB:
        free = f"{engine.disk_free_mib} MiB of disk are free for Docker"
        problems.append(Problem("", "", f"{free}; a new stack asks for {DISK_MIB} MiB: make room"))
    return problems


def misfits(settings: Settings, engine: Engine) -> list[Problem]:
    """What this host is too small for, each with the setting that asks for it."""
    problems = []
    sizes, replicas = settings.sizes(), settings.service_replicas()
    for key, size in sizes.items():
        if size.cpus > engine.cpus:
            problems.append(Problem(f"{key}.cpus", f"{size.cpus:g}", f"the host has {engine.cpus} cores; at most that"))
        if size.memory_mib > engine.memory_mib:
            problems.append(
                Problem(f"{key}.memoryMib", str(size.memory_mib), f"the host has {engine.memory_mib} MiB; at most that")
            )
    cpus = sum(size.cpus_reserved * replicas[key] for key, size in sizes.items())
    if cpus > engine.cpus:
        problems.append(
            Problem("*.cpusReserved", f"{cpus:g}", f"the reservations together exceed the host's {engine.cpus} cores")
        )
    memory = sum(size.memory_reserved_mib * replicas[key] for key, size in sizes.items())
    if memory > engine.memory_mib:
        problems.append(
            Problem(
                "*.memoryReservedMib",
                str(memory),
                f"the reservations together exceed the host's {engine.memory_mib} MiB",
            )
        )
    if not engine.has_data:
        problems += too_little_disk(settings, engine)
    if settings.production:
        if engine.cpus < PRODUCTION_CPUS:
            problems.append(
                Problem(
                    "production", "true", f"the host has {engine.cpus} cores; production asks for {PRODUCTION_CPUS}"
                )
            )
        if engine.memory_mib < PRODUCTION_MEMORY_MIB:
            problems.append(
                Problem(
                    "production",
                    "true",
                    f"the host has {engine.memory_mib} MiB; production asks for {PRODUCTION_MEMORY_MIB} MiB (16 GB)",
                )
            )
    return problems


def _clamped(size: Size, cpus: int, memory_mib: int, cpu_scale: float, memory_scale: float) -> Size:
    limit, memory = min(size.cpus, float(cpus)), min(size.memory_mib, memory_mib)
    return size.model_copy(
        update={
            "cpus": limit,
            "memory_mib": memory,
            "cpus_reserved": min(limit, round(size.cpus_reserved * cpu_scale, 3)),
            "memory_reserved_mib": min(memory, int(size.memory_reserved_mib * memory_scale)),
        }
    )


def fit(settings: Settings, engine: Engine) -> tuple[Settings, list[str]]:
    """The settings that this engine can carry, and a sentence for each that had to give way.

    Raises:
        SettingsError: with everything that does not fit.
    """
    problems = unmendable(settings, engine)
    small = misfits(settings, engine)
    if settings.host_fit == "strict":
        problems += small
    if problems:
        raise SettingsError(problems, hint=CLAMP if small and settings.host_fit == "strict" else "")
    if not small:
        return settings, []
    sizes, replicas = settings.sizes(), settings.service_replicas()
    cpus = sum(size.cpus_reserved * replicas[key] for key, size in sizes.items())
    memory = sum(size.memory_reserved_mib * replicas[key] for key, size in sizes.items())
    cpu_scale = min(1.0, engine.cpus / cpus) if cpus else 1.0
    memory_scale = min(1.0, engine.memory_mib / memory) if memory else 1.0
    clamped = {
        name: _clamped(value, engine.cpus, engine.memory_mib, cpu_scale, memory_scale)
        for name in type(settings).model_fields
        if isinstance(value := getattr(settings, name), Size)
    }
    return settings.model_copy(update=clamped), [f"hostFit clamp: {problem}" for problem in small]
