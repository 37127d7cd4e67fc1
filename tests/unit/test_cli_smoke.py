"""`agentstack smoke`: which hop failed, against real sockets and a real SDK exporter."""

import datetime as dt
import http.server
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agentstack import smoke
from agentstack.phoenix_api import PhoenixApi, StoredTrace

pytestmark = pytest.mark.unit


class FakePhoenix:
    """Has stored every trace with two spans, or none."""

    def __init__(self, spans: int) -> None:
        self.spans = spans

    def trace(self, trace_id: str) -> StoredTrace | None:
        assert len(trace_id) == 32
        return (
            StoredTrace("agentstack-smoke", tuple({"spanId": str(i)} for i in range(self.spans)))
            if self.spans
            else None
        )


def authority(directory: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for localhost (its own authority) and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / f"{name}.crt", directory / f"{name}.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@contextmanager
def edge(certificate: Path, key: Path, status: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An OTLP/HTTP endpoint over TLS that answers every request with ``status``; its URL and what it was sent."""
    seen: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            seen.append({"path": self.path, "authorization": self.headers["authorization"]})
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A handshake that the client gave up is what these tests make on purpose."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Server(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"https://localhost:{server.server_address[1]}", seen
        finally:
            server.shutdown()
            thread.join()


def send(endpoint: str, ca_file: Path, phoenix: FakePhoenix) -> smoke.Passage:
    return smoke.send("http", endpoint, "Tok3n", ca_file, cast("PhoenixApi", phoenix), timeout_seconds=0.5)


def test_a_trace_that_arrives_has_all_hops_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = authority(tmp_path, "ours")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent.pem")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with edge(certificate, key, 200) as (endpoint, seen):
        passage = send(endpoint, certificate, FakePhoenix(2))
    assert passage.ok
    assert [hop.name for hop in passage.hops] == ["connect", "tls", "accepted", "stored"]
    assert all(hop.milliseconds > 0 for hop in passage.hops)
    assert passage.project == "agentstack-smoke"
    assert seen == [{"path": "/v1/traces", "authorization": "Bearer Tok3n"}]


def test_a_closed_port_fails_at_connect(tmp_path: Path) -> None:
    certificate, _ = authority(tmp_path, "ours")
    passage = send("https://127.0.0.1:1", certificate, FakePhoenix(2))
    assert [(hop.name, hop.ok) for hop in passage.hops] == [("connect", False)]
    assert "edge-otlp" in passage.hops[-1].hint


def test_a_foreign_authority_fails_at_tls(tmp_path: Path) -> None:
    certificate, key = authority(tmp_path, "theirs")
    ours, _ = authority(tmp_path, "ours")
    with edge(certificate, key, 200) as (endpoint, seen):
        passage = send(endpoint, ours, FakePhoenix(2))
    assert passage.hops[-1].name == "tls"
    assert not passage.ok
    assert "another program" in passage.hops[-1].hint
    assert seen == []


def test_a_refused_token_fails_at_accepted_and_says_why(tmp_path: Path) -> None:
    certificate, key = authority(tmp_path, "ours")
    with edge(certificate, key, 401) as (endpoint, _):
        passage = send(endpoint, certificate, FakePhoenix(2))
    last = passage.hops[-1]
    assert (last.name, last.ok) == ("accepted", False)
    assert "401" in last.error or "Unauthorized" in last.error
    assert "token" in last.hint
    assert "Tok3n" not in last.error


@pytest.mark.parametrize("spans", [0, 1])
def test_a_trace_that_does_not_arrive_whole_fails_at_stored(tmp_path: Path, spans: int) -> None:
    certificate, key = authority(tmp_path, "ours")
    with edge(certificate, key, 200) as (endpoint, _):
        passage = send(endpoint, certificate, FakePhoenix(spans))
    last = passage.hops[-1]
    assert (last.name, last.ok) == ("stored", False)
    assert f"{spans} of 2" in last.error


def test_the_json_names_the_outcome(tmp_path: Path) -> None:
    certificate, _ = authority(tmp_path, "ours")
    found = send("https://127.0.0.1:1", certificate, FakePhoenix(2)).as_json()
    assert found["ok"] is False
    assert found["hops"][0]["name"] == "connect"
    assert len(found["trace_id"]) == 32
