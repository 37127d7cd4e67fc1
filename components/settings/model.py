"""The settings of a whole stack, and how they are read."""

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from components.settings import access
from components.settings.alerting import AlertingSettings, GrafanaSettings
from components.settings.backup import BackupSettings
from components.settings.base import Model
from components.settings.database import PostgresSettings
from components.settings.errors import SettingsError, problems_of
from components.settings.sizing import CollectorSize, PhoenixSize, PrometheusSize, Size, small
from components.settings.telemetry import TelemetrySettings, check_telemetry


class Settings(Model):
    """One stack. Defaults are those of `dev`; every key is described in docs/settings.md."""

    image_source: Literal["registry", "local"] = "registry"
    """``registry`` pulls every image by digest; ``local`` runs what `make images` built from package registries."""
    registry_mirror: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+(:[0-9]{1,5})?$")] | None = None
    """``host[:port]`` from which every image is pulled instead of its own registry."""
    host_fit: Literal["strict", "clamp"] = "strict"
    """What does not fit the host: ``strict`` refuses it, ``clamp`` lowers limits and reservations and says so."""
    production: bool = False
    """Asks for what only production needs: the guide's minimum of the host, consent, digests everywhere."""
    environment: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")] = "development"
    """``deployment.environment`` of spans that name none."""

    bind_address: str = "127.0.0.1"
    """Address of the host on which the ports are published. Anything but loopback needs ``publicNames``."""
    public_names: tuple[str, ...] = ()
    """DNS names and addresses under which other machines reach the stack; the first one is the one in links."""
    allowed_sources: tuple[str, ...] = ()
    """Address ranges that may connect to the edges; empty for any that can reach them."""
    allowed_origins: tuple[str, ...] = ()
    """Web origins that may call Phoenix with a session (CORS and CSRF), besides the stack's own."""
    networks: access.Networks = access.Networks()
    ports: access.Ports = access.Ports()

    default_project: Annotated[str, Field(min_length=1, max_length=64)] = "agentstack-production"
    """Phoenix project of spans that name none."""
    retention_days: Annotated[int, Field(ge=1, le=3650, description="how long Phoenix keeps traces")] = 90
    applications: access.Applications = Field(default_factory=lambda: {"default": access.Application()})
    telemetry: TelemetrySettings = TelemetrySettings()
    alerting: AlertingSettings = AlertingSettings()

    phoenix: PhoenixSize = PhoenixSize()
    postgres: PostgresSettings = PostgresSettings()
    collector: CollectorSize = CollectorSize()
    prometheus: PrometheusSize = PrometheusSize()
    grafana: GrafanaSettings = GrafanaSettings()
    alertmanager: Size = small(0.5, 64)
    pgbouncer: Size = small(0.5, 32)
    edge_otlp: Size = small(1.0, 112)
    edge_ui: Size = small(1.0, 112)
    postgres_exporter: Size = small(0.25, 48)
    node_exporter: Size = small(0.25, 48)
    blackbox_exporter: Size = small(0.25, 48)
    docker_proxy: Size = small(0.25, 48)
    backup: BackupSettings = BackupSettings()

    @field_validator("bind_address")
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            return str(ipaddress.ip_address(value))
        except ValueError as error:
            raise ValueError(f"{error}; write an address of this host, 127.0.0.1 or 0.0.0.0") from error

    @field_validator("public_names")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(access.check_public_name(name) for name in value)

    @field_validator("allowed_sources")
    @classmethod
    def _sources(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(access.check_source(source) for source in value)

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(access.check_origin(origin) for origin in value)

    @field_validator("applications")
    @classmethod
    def _applications(cls, value: access.Applications) -> access.Applications:
        return access.check_applications(value)

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if not ipaddress.ip_address(self.bind_address).is_loopback and not self.public_names:
            raise ValueError(
                f"bindAddress {self.bind_address} serves other machines but publicNames is empty: their clients could "
                "not verify the certificate; name the DNS names or addresses they use"
            )
        return self

    @model_validator(mode="after")
    def _telemetry_fits(self) -> Self:
        check_telemetry(self.telemetry, self.applications, self.collector.replicas)
        return self

    def sizes(self) -> dict[str, Size]:
        """Every sized service: key in the stack file (camelCase) -> size."""
        return {
            info.alias or name: value
            for name, info in type(self).model_fields.items()
            if isinstance(value := getattr(self, name), Size)
        }

    def service_replicas(self) -> dict[str, int]:
        """Key of a sized service -> how many of it run."""
        return {name: getattr(size, "replicas", 1) for name, size in self.sizes().items()}


def load_settings(raw: Mapping[str, Any]) -> Settings:
    """Read the object ``agentstack:stack``.

    Raises:
        SettingsError: with every fault at once, each with its path, the value and what is allowed.
    """
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        raise SettingsError(problems_of(error)) from error
