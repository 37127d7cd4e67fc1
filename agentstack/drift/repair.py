"""What mends which findings. Pure: findings in, steps out.

First what the engine does by itself without a restart (unpause, start, connect, give a name back), then what must be
made anew is taken away (a configuration volume with its carrier and services), then one `pulumi up` that is confined
to the findings' resources and what depends on them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from agentstack.drift.declared import Declared
from agentstack.drift.finding import Finding
from agentstack.drift.kinds import Kind


@dataclass(frozen=True)
class Step:
    """One command, and what it does, for people."""

    says: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Everything that a repair does, and what it leaves to people."""

    engine: tuple[Step, ...] = ()
    removals: tuple[Step, ...] = ()
    targets: tuple[str, ...] = ()
    """URNs for `pulumi up --target`."""
    replace: tuple[str, ...] = ()
    refresh: bool = False
    """Whether the state must learn first what is gone (of the targets alone)."""
    left: tuple[str, ...] = field(default=())

    @property
    def empty(self) -> bool:
        """True when there is nothing to do."""
        return not (self.engine or self.removals or self.targets)

    def pulumi(self) -> list[str]:
        """The arguments of the `pulumi` command, or none."""
        if not self.targets:
            return []
        words = ["up", "--yes", "--skip-preview", "--target-dependents", *(["--refresh"] if self.refresh else [])]
        words += [word for urn in self.targets for word in ("--target", urn)]
        return words + [word for urn in self.replace for word in ("--replace", urn)]

    def lines(self) -> list[str]:
        """The plan for people."""
        told = [step.says for step in (*self.engine, *self.removals)]
        if self.targets:
            named = ", ".join(urn.rsplit("::", 1)[-1] for urn in self.targets)
            told.append(f"pulumi up, confined to {named} and what depends on them")
        return told


_RECREATED = frozenset({Kind.MISSING, Kind.CHANGED, Kind.CONFIG_CONTENT})
_REPLACED = frozenset({Kind.UNHEALTHY, Kind.RESTART_LOOP, Kind.JOB_FAILED})


def _in_place(finding: Finding) -> list[Step]:
    """What the engine mends without a restart."""
    name, details = finding.resource, finding.details
    if finding.kind is Kind.PAUSED:
        return [Step(f"unpause {name}", ("docker", "unpause", name))]
    if finding.kind is Kind.STOPPED:
        return [Step(f"start {name}", ("docker", "start", name))]
    if finding.kind is Kind.IMAGE and "tag" in details:
        image, tag = details["image"], details["tag"]
        if "@" in tag:
            return []
        return [Step(f"give {tag} back to {image}", ("docker", "tag", image, tag))]
    if finding.kind is Kind.NETWORK:
        steps = [
            Step(f"disconnect {name} from {network}", ("docker", "network", "disconnect", network, name))
            for network in details["disconnect"]
        ]
        for network, aliases in sorted(details["connect"].items()):
            words = [word for alias in aliases for word in ("--alias", alias)]
            steps.append(Step(f"connect {name} to {network}", ("docker", "network", "connect", *words, network, name)))
        return steps
    return []


def _stranger(finding: Finding, named: frozenset[str]) -> tuple[list[Step], str]:
    """What is done about a stranger, and what is left to say."""
    name, details = finding.resource, finding.details
    if details.get("what") == "volume":
        return [], f"volume {name}: {finding.repair}"
    if name not in named:
        return [], f"{name}: {finding.repair}"
    if finding.kind is Kind.INTRUDER:
        network = details["network"]
        command = ("docker", "network", "disconnect", "--force", network, details["container"])
        return [Step(f"disconnect {name} from {network}", command)], ""
    if details["what"] == "network":
        return [Step(f"remove the network {name}", ("docker", "network", "rm", name))], ""
    return [Step(f"remove the container {name}", ("docker", "rm", "--force", name))], ""


def _remake(finding: Finding, declared: Declared) -> tuple[list[Step], list[str]]:
    """Take a configuration volume away with everything that mounts it; what must then be made again."""
    volume = finding.details["volume"]
    users = [container for container in declared.containers if volume in container.mounts.values()]
    # Stopped with its own time of grace first: PostgreSQL writes its checkpoint, Phoenix what it holds.
    steps = [
        Step(f"stop {container.name}", ("docker", "stop", container.name)) for container in users if container.runs
    ]
    steps += [
        Step(f"remove the container {container.name}", ("docker", "rm", "--force", "--volumes", container.name))
        for container in users
    ]
    steps.append(Step(f"remove the configuration volume {volume}", ("docker", "volume", "rm", volume)))
    urns = [container.urn for container in users]
    return steps, [*urns, *([finding.details["volume_urn"]] if finding.details.get("volume_urn") else [])]


def plan(findings: Sequence[Finding], declared: Declared, remove: Iterable[str] = ()) -> Plan:
    """What mends the findings.

    Args:
        remove: names of foreign containers and networks that may be removed, and of intruders to disconnect.
    """
    named = frozenset(remove)
    engine: list[Step] = []
    removals: list[Step] = []
    targets: list[str] = []
    replace: list[str] = []
    left: list[str] = []
    refresh = False
    for finding in findings:
        in_place = _in_place(finding)
        if in_place:
            engine += in_place
        elif finding.kind in {Kind.FOREIGN, Kind.INTRUDER}:
            steps, text = _stranger(finding, named)
            engine += steps
            left += [text] if text else []
        elif finding.urn is None:
            left.append(f"{finding.resource}: pull or build the image again (`make up`, or `make images`)")
        elif finding.kind is Kind.CONFIG_CONTENT:
            steps, urns = _remake(finding, declared)
            removals += steps
            targets += urns
            refresh = True
        else:
            targets.append(finding.urn)
            refresh = refresh or finding.kind in _RECREATED
            if finding.kind in _REPLACED or finding.kind is Kind.IMAGE:
                replace.append(finding.urn)
    return Plan(
        engine=tuple(dict.fromkeys(engine)),
        removals=tuple(dict.fromkeys(removals)),
        targets=tuple(dict.fromkeys(targets)),
        replace=tuple(dict.fromkeys(replace)),
        refresh=refresh,
        left=tuple(dict.fromkeys(left)),
    )
