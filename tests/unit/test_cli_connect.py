"""`agentstack connect`: what it prints is what the SDKs read."""

import os
import subprocess
from dataclasses import replace

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from agentstack import connect

pytestmark = pytest.mark.unit

CONNECTION = connect.Connection(
    application="shop",
    token="Tok3n",
    phoenix="https://localhost:6006",
    otlp_grpc="https://localhost:4317",
    otlp_http="https://localhost:4318",
    ca_file="/home/me/my project/ca.crt",
    project="agentstack-production",
)


def test_the_phoenix_endpoint_has_no_path() -> None:
    found = connect.variables(CONNECTION)
    assert found["PHOENIX_COLLECTOR_ENDPOINT"] == "https://localhost:6006"
    assert found["PHOENIX_API_KEY"] == "Tok3n"
    assert found["PHOENIX_PROJECT_NAME"] == "agentstack-production"


def test_the_grpc_port_is_said_only_where_it_differs() -> None:
    assert "PHOENIX_GRPC_PORT" not in connect.variables(CONNECTION)
    moved = connect.variables(replace(CONNECTION, otlp_grpc="https://localhost:14317"))
    assert moved["PHOENIX_GRPC_PORT"] == "14317"


def test_a_project_that_is_not_known_is_left_out() -> None:
    assert "PHOENIX_PROJECT_NAME" not in connect.variables(replace(CONNECTION, project=None))


def test_a_shell_takes_the_lines_as_they_are() -> None:
    text = connect.shell(connect.variables(CONNECTION))
    script = f'{text}\nprintf "%s|%s" "$OTEL_EXPORTER_OTLP_CERTIFICATE" "${{REQUESTS_CA_BUNDLE-unset}}"'
    environment = {**os.environ, "REQUESTS_CA_BUNDLE": "/somewhere/else.pem"}
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "/home/me/my project/ca.crt|unset"


def test_the_sdk_reads_header_endpoint_and_authority_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in connect.variables(CONNECTION).items():
        monkeypatch.setenv(key, value)
    exporter = OTLPSpanExporter()
    assert exporter._endpoint == "https://localhost:4318/v1/traces"
    assert exporter._client._headers["authorization"] == "Bearer Tok3n"


def test_an_env_file_has_neither_quotes_nor_export() -> None:
    lines = connect.env_file(connect.variables(CONNECTION)).splitlines()
    assert "OTEL_SERVICE_NAME=shop" in lines
    assert all(not line.startswith("export") and '"' not in line for line in lines)
