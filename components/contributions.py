"""What a component gives to its siblings without knowing them: scrape targets, probes, rules, dashboards.

The component that owns a service contributes; the one that uses (Prometheus, Grafana) collects.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import pulumi

from components.names import Service


@dataclass(frozen=True)
class ScrapeTarget:
    """One Prometheus job: always HTTPS, verified against our CA with ``server_name``.

    ``auth`` says how Prometheus shows who it is: ``basic`` (user ``prometheus`` and the scrape password),
    ``bearer`` (the scrape password as a bearer token) or ``none`` (only for what has no secret to tell).
    """

    job: str
    service: Service
    port: int
    path: str = "/metrics"
    auth: Literal["basic", "bearer", "none"] = "basic"
    interval_seconds: int = 15
    replicas: int = 1
    params: dict[str, list[str]] = field(default_factory=dict)
    relabel: tuple[dict[str, Any], ...] = ()
    metric_relabel: tuple[dict[str, Any], ...] = ()
    static_targets: tuple[str, ...] = ()
    """Blackbox style: the probed addresses, where they differ from the service itself."""


@dataclass(frozen=True)
class ScrapeCredential:
    """The one secret that Prometheus shows to every target; the targets hold only what checks it."""

    username: str
    password: pulumi.Output[str]
    bcrypt_hash: pulumi.Output[str]
