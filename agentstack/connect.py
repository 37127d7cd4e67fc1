"""What an application needs in its environment to send here. Pure; read from the sources of the SDKs:

* `phoenix.otel.register()` without arguments infers gRPC: it takes the host of PHOENIX_COLLECTOR_ENDPOINT and the port
  of PHOENIX_GRPC_PORT (4317 if unset), and sends PHOENIX_API_KEY as a bearer token. An endpoint that ends in /v1/traces
  would be sent to the gRPC port by HTTP: so the endpoint here has no path.
* Its exporters are OpenTelemetry's, which take the CA from OTEL_EXPORTER_OTLP_CERTIFICATE; header values in
  OTEL_EXPORTER_OTLP_HEADERS are URL-encoded.
* requests prefers REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE to the exporter's own CA: they must be unset.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from components.names import Port

CA_IN_CONTAINER: Final = "/etc/agentstack-ca/ca.crt"
UNSET: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True)
class Connection:
    """Where and as whom an application sends."""

    application: str
    token: str
    phoenix: str
    """https://host:port of the edge's Phoenix port."""
    otlp_grpc: str
    otlp_http: str
    ca_file: str
    project: str | None = None


def variables(connection: Connection) -> dict[str, str]:
    """The environment of the application, in the order in which it is printed."""
    found = {
        "PHOENIX_COLLECTOR_ENDPOINT": connection.phoenix,
        "PHOENIX_API_KEY": connection.token,
    }
    grpc_port = urlsplit(connection.otlp_grpc).port or Port.OTLP_GRPC
    if grpc_port != Port.OTLP_GRPC:
        found["PHOENIX_GRPC_PORT"] = str(grpc_port)
    if connection.project:
        found["PHOENIX_PROJECT_NAME"] = connection.project
    return {
        **found,
        "OTEL_EXPORTER_OTLP_ENDPOINT": connection.otlp_http,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={quote(f'Bearer {connection.token}')}",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": connection.ca_file,
        "NODE_EXTRA_CA_CERTS": connection.ca_file,
        "OTEL_SERVICE_NAME": connection.application,
    }


def shell(found: Mapping[str, str]) -> str:
    """Lines for `eval "$(agentstack connect APP)"`."""
    return "\n".join(
        [f"unset {' '.join(UNSET)}", *(f"export {key}={shlex.quote(value)}" for key, value in found.items())]
    )


def env_file(found: Mapping[str, str]) -> str:
    """Lines for `docker run --env-file`: no quotes, no export."""
    return "\n".join(f"{key}={value}" for key, value in found.items())
