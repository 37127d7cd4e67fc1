"""Networks, ports, names and who may send: everything about reaching the stack."""

import ipaddress
import re
from itertools import combinations
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from components.names import SMOKE_APPLICATION
from components.settings.base import HostPort, Model, Name, Ratio

_DNS_NAME = re.compile(r"^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
_ORIGIN = re.compile(r"^https?://[^/\s]+$")


class Subnet(Model):
    """The address range of one network, in CIDR notation (IPv4)."""

    subnet: str
    """IPv4 network in CIDR notation, private, at least a /26; it must not overlap any other network of the host."""

    @field_validator("subnet")
    @classmethod
    def _is_private_network(cls, value: str) -> str:
        try:
            network = ipaddress.IPv4Network(value)
        except ValueError as error:
            raise ValueError(f"{error}; write an IPv4 network such as 172.22.0.0/16") from error
        if not network.is_private:
            raise ValueError("must be a private range (10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16)")
        if network.prefixlen > 26:
            raise ValueError("is too small: at least a /26 (64 addresses)")
        return value


def _subnet(value: str) -> Subnet:
    return Subnet(subnet=value)


class Networks(Model):
    """The address ranges. They must not overlap each other or anything the host already uses."""

    phoenix: Subnet = _subnet("172.22.0.0/16")
    monitoring: Subnet = _subnet("172.23.0.0/16")
    application: Subnet = _subnet("172.24.0.0/16")
    ui: Subnet = _subnet("172.25.0.0/24")
    egress: Subnet = _subnet("172.25.1.0/24")

    def all(self) -> dict[str, ipaddress.IPv4Network]:
        """Key in the stack file -> network."""
        return {name: ipaddress.IPv4Network(getattr(self, name).subnet) for name in type(self).model_fields}

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        for (left, a), (right, b) in combinations(self.all().items(), 2):
            if a.overlaps(b):
                raise ValueError(f"{left} {a} overlaps {right} {b}; choose disjoint subnets")
        return self


class Ports(Model):
    """Published TCP ports on the host; all on ``bindAddress``."""

    phoenix: HostPort = 6006
    """Phoenix: UI and API."""
    grafana: HostPort = 3001
    """Grafana."""
    prometheus: HostPort = 9090
    """Prometheus."""
    alertmanager: HostPort = 9093
    """Alertmanager."""
    otlp_grpc: HostPort = 4317
    """OTLP over gRPC."""
    otlp_http: HostPort = 4318
    """OTLP over HTTP."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        seen: dict[int, str] = {}
        for name in type(self).model_fields:
            port = getattr(self, name)
            if port in seen:
                raise ValueError(f"{name} and {seen[port]} both ask for port {port}; every port must differ")
            seen[port] = name
        return self


class Application(Model):
    """One application that may send telemetry: it gets a token of its own, with limits of its own."""

    requests_per_second: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Requests per second that the edge accepts, over ten seconds; more is answered so that SDKs retry."""
    bytes_per_second: Annotated[int, Field(ge=1000, le=10_000_000_000)] = 10_000_000
    """Bytes per second that the edge accepts, over ten seconds."""
    capture: Literal["full", "redacted", "metadata-only"] = "redacted"
    """Content that is kept: all of it, with secrets and personal data masked, or none."""
    project: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Phoenix project of spans that name none; the stack's ``defaultProject`` otherwise."""
    head_sampling: Ratio = 1.0
    """Share of the traces that is kept, whole traces at a time; metrics and cost count all of them."""
    token_generation: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Raise it to give the application a new token."""
    accept_previous_token: bool = False
    """The token before the newest is valid too: for as long as a rotation takes."""

    @property
    def valid_token_generations(self) -> tuple[int, ...]:
        """The newest first."""
        newest = self.token_generation
        return (newest, newest - 1) if self.accept_previous_token and newest > 1 else (newest,)


Applications = dict[Name, Application]


def check_public_name(value: str) -> str:
    """A DNS name (a leading ``*.`` allowed) or an IP address, as it goes into certificates."""
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        if not _DNS_NAME.fullmatch(value) or len(value) > 253 or re.fullmatch(r"[0-9.]+", value):
            raise ValueError(
                f"{value!r} is neither a DNS name nor an IP address; write for example traces.example.org"
            ) from None
        return value


def check_source(value: str) -> str:
    """An address range in CIDR notation, IPv4 or IPv6."""
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError(f"{error}; write for example 10.1.0.0/16") from error


def check_origin(value: str) -> str:
    """A web origin: scheme, host and port, without a path."""
    if not _ORIGIN.fullmatch(value):
        raise ValueError(f"{value!r} is not a web origin; write for example https://app.example.org")
    return value


def check_applications(value: Applications) -> Applications:
    """The reserved name is ours."""
    if SMOKE_APPLICATION in value:
        raise ValueError(f"{SMOKE_APPLICATION!r} is reserved for the stack's own checks; choose another name")
    return value
