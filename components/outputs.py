"""The stack's outputs: an interface. The operator's command, the tests and users' scripts rely on these names."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import pulumi

from components.names import EDGE_OTLP_APPLICATION_ALIASES, NetworkName, Port
from components.networks import Networks
from components.runtime import Running
from components.secrets import Derived, Password
from components.settings import Settings


def endpoints(settings: Settings) -> dict[str, str]:
    """Full URLs without a path, as seen from the host (or under the first public name)."""
    name = next((name for name in settings.public_names if not name.startswith("*")), "localhost")
    host = f"[{name}]" if ":" in name else name
    ports = settings.ports
    return {
        "phoenix": f"https://{host}:{ports.phoenix}",
        "grafana": f"https://{host}:{ports.grafana}",
        "prometheus": f"https://{host}:{ports.prometheus}",
        "alertmanager": f"https://{host}:{ports.alertmanager}",
        "otlp_grpc": f"https://{host}:{ports.otlp_grpc}",
        "otlp_http": f"https://{host}:{ports.otlp_http}",
    }


def endpoints_internal() -> dict[str, str]:
    """The same as seen from a container on application-network."""
    collector, phoenix = EDGE_OTLP_APPLICATION_ALIASES
    return {
        "otlp_grpc": f"https://{collector}:{Port.OTLP_GRPC}",
        "otlp_http": f"https://{collector}:{Port.OTLP_HTTP}",
        "phoenix": f"https://{phoenix}:{Port.PHOENIX}",
    }


class _Service(Protocol):
    """A component whose service runs for as long as the stack does."""

    running: Running


class _WithLogin(Protocol):
    """A component with a human administrator."""

    @property
    def admin_username(self) -> str: ...
    @property
    def admin_password(self) -> Password: ...


class _WithUsers(_WithLogin, Protocol):
    user_passwords: dict[str, Derived]


class _WithPhoenixLogin(Protocol):
    admin_email: str
    admin_password: Password
    admin_secret: Password


def logins(
    *, phoenix: _WithPhoenixLogin, prometheus: _WithLogin, alertmanager: _WithLogin, grafana: _WithUsers
) -> dict[str, dict[str, pulumi.Input[str]]]:
    """The administrators' logins, by service."""
    named = {"prometheus": prometheus, "alertmanager": alertmanager, "grafana": grafana}
    found: dict[str, dict[str, pulumi.Input[str]]] = {
        name: {"username": service.admin_username, "password": service.admin_password.value}
        for name, service in named.items()
    }
    found["grafana_users"] = {login: password.value for login, password in grafana.user_passwords.items()}
    found["phoenix"] = {
        "email": phoenix.admin_email,
        "password": phoenix.admin_password.value,
        "admin_secret": phoenix.admin_secret.value,
    }
    return found


def export(
    *,
    settings: Settings,
    networks: Networks,
    ca_certificate: pulumi.Output[str],
    services: Sequence[_Service],
    logins: Mapping[str, Mapping[str, pulumi.Input[str]]],
    tokens: Mapping[str, Derived],
    stand_ins: list[str],
) -> None:
    """Export everything. ``credentials`` is one secret."""
    running = [service.running for service in services]
    pulumi.export(
        "containers",
        {run.service.value: list(run.names) if len(run.names) > 1 else run.names[0] for run in running},
    )
    pulumi.export("endpoints", endpoints(settings))
    pulumi.export("endpoints_internal", endpoints_internal())
    credentials = {**logins, "ingest_tokens": {name: token.value for name, token in tokens.items()}}
    pulumi.export("credentials", pulumi.Output.secret(credentials))
    pulumi.export("ca_certificate", ca_certificate)
    pulumi.export(
        "networks",
        {
            "phoenix": networks[NetworkName.PHOENIX].name,
            "monitoring": networks[NetworkName.MONITORING].name,
            "application": networks[NetworkName.APPLICATION].name,
        },
    )
    pulumi.export("stand_ins", stand_ins)
