"""One thing that is not as declared, and the report of all of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from agentstack.drift.kinds import Kind


@dataclass(frozen=True)
class Finding:
    """``resource`` is the name on the engine (else Pulumi's), ``since`` an RFC 3339 time if known."""

    kind: Kind
    resource: str
    expected: str
    actual: str
    since: str | None
    repair: str
    urn: str | None = None
    """Pulumi's name of the resource; None for strangers."""
    details: dict[str, Any] = field(default_factory=dict, compare=False)
    """What the repair needs beside that."""

    def as_json(self) -> dict[str, Any]:
        """The documented shape of a finding."""
        return {
            "kind": self.kind.value,
            "resource": self.resource,
            "expected": self.expected,
            "actual": self.actual,
            "since": self.since,
            "repair": self.repair,
        }


@dataclass(frozen=True)
class Report:
    """What was found on one stack."""

    stack: str
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """True when nothing was found."""
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        """The documented shape of `drift --json`."""
        return {"stack": self.stack, "clean": self.clean, "findings": [finding.as_json() for finding in self.findings]}


_ORDER: Final = {kind: place for place, kind in enumerate(Kind)}
_PRECISE: Final = frozenset({Kind.STOPPED, Kind.PAUSED, Kind.UNHEALTHY, Kind.RESTART_LOOP, Kind.NETWORK, Kind.IMAGE})


def merge(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """One finding per fault: a missing resource has no other, and what the probe names precisely isn't told twice."""
    found = list(dict.fromkeys(findings))
    missing = {finding.urn for finding in found if finding.kind is Kind.MISSING}
    precise = {finding.urn for finding in found if finding.kind in _PRECISE}
    kept = [
        finding
        for finding in found
        if finding.urn is None
        or (
            (finding.kind is Kind.MISSING or finding.urn not in missing)
            and not (finding.kind is Kind.CHANGED and finding.details.get("only_running") and finding.urn in precise)
        )
    ]
    return tuple(sorted(kept, key=lambda finding: (_ORDER[finding.kind], finding.resource)))
