"""Everything that the Collector's configuration is rendered from."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from components.names import SMOKE_APPLICATION
from components.settings import Settings
from components.settings.access import Application
from components.settings.telemetry import TelemetrySettings

SMOKE_PROJECTS = (
    SMOKE_APPLICATION,
    "agentstack-demo-support",
    "agentstack-demo-coding",
    "agentstack-demo-batch",
)
"""Projects of the stack's own checks and of its demo traffic (agentstack/demo.py)."""
SMOKE_SERVICES = (SMOKE_APPLICATION, "support-chat", "coding-agent", "batch-summarizer")
"""Their services."""


@dataclass(frozen=True)
class CollectorInputs:
    """One stack's settings, and where its Phoenix is."""

    stack: str
    settings: Settings
    phoenix_url: str
    """``https://host:port``, without a path."""

    @property
    def telemetry(self) -> TelemetrySettings:
        return self.settings.telemetry

    @property
    def applications(self) -> Mapping[str, Application]:
        """Every application that may send, ours included."""
        return {**self.settings.applications, SMOKE_APPLICATION: Application(project=SMOKE_APPLICATION)}

    @cached_property
    def projects(self) -> tuple[str, ...]:
        """Projects that are a label of their own."""
        own = (application.project for application in self.applications.values())
        known = {self.settings.default_project, *(p for p in own if p), *self.telemetry.projects, *SMOKE_PROJECTS}
        return tuple(sorted(known))

    @cached_property
    def services(self) -> tuple[str, ...]:
        """Values of service.name that are a label of their own.

        Application names are not among them, so that one more application changes no configuration: a service that
        is not listed is counted under its application's name anyway.
        """
        return tuple(sorted({*self.telemetry.services, *SMOKE_SERVICES}))

    @property
    def consent_required(self) -> bool:
        required = self.telemetry.consent.required
        return self.settings.production if required is None else required
