"""What a rule is: recording rules, alerts with the story that proves them, groups. Data only.

Every alert carries its own proof: series in, and when it is silent, when it fires with which words, and when it is over
again; and a second story just below the threshold. ``tests/rules`` tells them to promtool.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Severity = Literal["critical", "warning", "info", "none"]
SEVERITIES: Final[tuple[Severity, ...]] = ("critical", "warning", "info", "none")
"""critical: somebody is woken · warning: look at it today · info: seen in the interfaces · none: Watchdog alone."""


@dataclass(frozen=True)
class Firing:
    """The alert as it must be at one moment.

    ``labels`` are those of the firing series; the alert's name and its own static labels come by themselves.
    """

    at: str
    """Time since the story's start, as promtool writes it (``5m``)."""
    summary: str
    description: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Story:
    """Series (selector -> values in promtool's notation), and what an alert does with them."""

    series: Mapping[str, str]
    firing: tuple[Firing, ...] = ()
    silent: tuple[str, ...] = ()
    """Times at which the alert does not fire."""
    interval: str = "1m"
    """Between the values of the series."""


@dataclass(frozen=True)
class Silencer:
    """Another alert that makes this one its consequence: while it fires, this one is held back."""

    alert: str
    when: Mapping[str, str] = field(default_factory=dict)
    """Labels that the silencing alert must have."""
    equal: tuple[str, ...] = ()
    """Labels that must be the same on both."""


@dataclass(frozen=True)
class RecordingRule:
    """A query under a name: ``level:metric:operation``."""

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Alert:
    """One alert; its name is that of its runbook, ``docs/runbooks/<name>.md``."""

    name: str
    expr: str
    severity: Severity
    summary: str
    """Names the thing, on one line; Prometheus' template language."""
    description: str
    """Says the figure, and what it means."""
    hold: str = ""
    """Prometheus' ``for``: how long the expression must hold before it fires."""
    keep_firing: str = ""
    """Prometheus' ``keep_firing_for``: against flapping."""
    labels: Mapping[str, str] = field(default_factory=dict)
    fires: Story | None = None
    below: Story | None = None
    """None only where nothing is below: an alert that always fires, or whose cause is there or not."""
    silenced_by: tuple[Silencer, ...] = ()


@dataclass(frozen=True)
class RuleGroup:
    """Rules that are evaluated one after the other."""

    name: str
    rules: tuple[RecordingRule | Alert, ...]
    interval_seconds: int | None = None

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """Those of its rules that are alerts."""
        return tuple(rule for rule in self.rules if isinstance(rule, Alert))


def selector(metric: str, **labels: str) -> str:
    """A series' name as PromQL and promtool write it."""
    inside = ", ".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{metric}{{{inside}}}" if inside else metric


def percent(ratio: float) -> str:
    """As Prometheus' humanizePercentage writes it: four significant digits."""
    return f"{ratio * 100:.4g}%"


def grown(metric: str, window: str, *matchers: str) -> str:
    """By how much a counter grew; a series that was born within the window counts from 0.

    Counters of failures often appear with the first failure: ``increase`` alone needs two values and would miss it.
    """
    series = f"{metric}{{{', '.join(matchers)}}}" if matchers else metric
    return f"(increase({series}[{window}]) > 0 or {series} > 0 unless last_over_time({series}[1h] offset {window}))"
