"""One trace by gRPC and one by HTTP through the whole path, with the OpenTelemetry SDK that applications use.

Four hops, each timed: TCP connect, TLS handshake against our CA, accepted by edge and collector, stored by Phoenix.
"""

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import grpc
import requests
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agentstack.phoenix_api import PhoenixApi, StoredTrace, verified
from components.names import SMOKE_APPLICATION

Transport = Literal["grpc", "http"]
HopName = Literal["connect", "tls", "accepted", "stored"]
HOPS: Final[dict[HopName, str]] = {
    "connect": "TCP connect",
    "tls": "TLS handshake",
    "accepted": "accepted by edge and collector",
    "stored": "stored by Phoenix",
}
POLL_SECONDS: Final = 0.1
EXPORT_TIMEOUT_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Hop:
    """One hop of one trace; ``milliseconds`` also of one that failed."""

    name: HopName
    ok: bool
    milliseconds: float
    error: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Passage:
    """How one trace fared."""

    transport: Transport
    endpoint: str
    trace_id: str
    project: str
    hops: tuple[Hop, ...]

    @property
    def ok(self) -> bool:
        """True when it arrived."""
        return len(self.hops) == len(HOPS) and all(hop.ok for hop in self.hops)

    def as_json(self) -> dict[str, Any]:
        """The documented shape of an element of `smoke --json`."""
        return {**asdict(self), "hops": [asdict(hop) for hop in self.hops], "ok": self.ok}


_ADVICE: Final[tuple[tuple[HopName, tuple[str, ...], str], ...]] = (
    ("connect", (), "nothing answers there: `agentstack status` shows whether edge-otlp is up"),
    (
        "tls",
        ("CERTIFICATE_VERIFY_FAILED",),
        "another program listens on this port, or the stack was made anew: `agentstack outputs` shows its ports",
    ),
    ("tls", (), "the edge did not complete the handshake: `agentstack logs edge-otlp`"),
    (
        "accepted",
        ("UNAUTHENTICATED", "401", "Unauthorized"),
        "edge or collector do not know the token: run `pulumi up`, which brings both up to date",
    ),
    (
        "accepted",
        ("RESOURCE_EXHAUSTED", "429", "Too Many"),
        "the limit of this application is reached: wait ten seconds and try again",
    ),
    (
        "accepted",
        (),
        "`agentstack status` shows whether the collector is up, `agentstack logs edge-otlp` what the edge answered",
    ),
    (
        "stored",
        (),
        "accepted but not stored: `agentstack logs collector` (is its queue stuck?) and `agentstack logs phoenix`",
    ),
)
"""Hop, what its error holds (empty: anything), what to do: the first that fits."""


class HopError(Exception):
    """A hop that failed; the message is the reason."""


def advice(hop: HopName, error: str) -> str:
    """What to do about a failed hop."""
    for where, signs, what in _ADVICE:
        if where == hop and (not signs or any(sign in error for sign in signs)):
            return what
    raise AssertionError(hop)


class _Messages(logging.Handler):
    """Keeps what the SDK logs: it is the only place where an exporter says why it failed."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.lines.append(record.getMessage())


@contextmanager
def sdk_messages() -> Iterator[list[str]]:
    """The SDK's log lines of this thread, kept off the terminal."""
    handler = _Messages()
    logger = logging.getLogger("opentelemetry")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)


def exporter(transport: Transport, endpoint: str, token: str, ca_file: Path) -> SpanExporter:
    """The SDK's exporter, deaf to proxies and CA variables of the shell."""
    headers = {"authorization": f"Bearer {token}"}
    if transport == "grpc":
        return GrpcExporter(
            endpoint=endpoint,
            credentials=grpc.ssl_channel_credentials(root_certificates=ca_file.read_bytes()),
            headers=headers,
            timeout=EXPORT_TIMEOUT_SECONDS,
            channel_options=(("grpc.enable_http_proxy", 0),),  # type: ignore[arg-type] # gRPC wants a number here
        )
    session = requests.Session()
    session.trust_env = False
    return HttpExporter(
        endpoint=f"{endpoint}/v1/traces",
        certificate_file=str(ca_file),
        headers=headers,
        timeout=EXPORT_TIMEOUT_SECONDS,
        session=session,
    )


def make_trace(transport: Transport) -> tuple[str, Sequence[ReadableSpan]]:
    """A trace of two spans by the SDK: its id (32 hex digits) and its spans."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(
        resource=Resource.create({"service.name": SMOKE_APPLICATION, "openinference.project.name": SMOKE_APPLICATION}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("agentstack.smoke")
    with tracer.start_as_current_span(
        f"smoke over {transport}",
        attributes={"openinference.span.kind": "CHAIN", "input.value": "Do traces arrive?", "output.value": "They do."},
    ) as root:
        context = root.get_span_context()
        attributes = {"openinference.span.kind": "TOOL", "tool.name": "check"}
        with tracer.start_as_current_span("check", attributes=attributes):
            pass
    return f"{context.trace_id:032x}", memory.get_finished_spans()


def _timed(name: HopName, action: Callable[[], None]) -> Hop:
    start = time.perf_counter()
    try:
        action()
    except (OSError, HopError) as error:
        elapsed = (time.perf_counter() - start) * 1000
        return Hop(name, ok=False, milliseconds=elapsed, error=str(error), hint=advice(name, str(error)))
    return Hop(name, ok=True, milliseconds=(time.perf_counter() - start) * 1000)


def _await_stored(
    find: Callable[[str], StoredTrace | None], trace_id: str, spans: int, timeout_seconds: float
) -> StoredTrace:
    deadline = time.monotonic() + timeout_seconds
    found: StoredTrace | None = None
    while time.monotonic() < deadline:
        found = find(trace_id)
        if found is not None and len(found.spans) >= spans:
            return found
        time.sleep(POLL_SECONDS)
    seen = 0 if found is None else len(found.spans)
    raise HopError(f"{seen} of {spans} spans in Phoenix after {timeout_seconds:g} s")


def send(
    transport: Transport, endpoint: str, token: str, ca_file: Path, api: PhoenixApi, timeout_seconds: float
) -> Passage:
    """Send one trace and follow it into Phoenix, hop by hop; stops at the first that fails.

    Raises:
        CommandError: when Phoenix can't be asked.
    """
    trace_id, spans = make_trace(transport)
    address = urlsplit(endpoint)
    host, port = address.hostname or "localhost", address.port or 443
    context = verified(ca_file.read_text())
    context.set_alpn_protocols(["h2"] if transport == "grpc" else ["http/1.1"])
    hops: list[Hop] = []
    sockets: list[socket.socket] = []
    project = ""

    def connect() -> None:
        sockets.append(socket.create_connection((host, port), timeout=5))

    def handshake() -> None:
        try:
            sockets[0] = context.wrap_socket(sockets[0], server_hostname=host)
        except ssl.SSLError as error:
            raise HopError(str(error)) from error

    def accept() -> None:
        with sdk_messages() as messages:
            sender = exporter(transport, endpoint, token, ca_file)
            try:
                outcome = sender.export(spans)
            finally:
                sender.shutdown()
        if outcome is not SpanExportResult.SUCCESS:
            raise HopError(messages[-1] if messages else "the exporter gave no reason")

    def stored() -> None:
        nonlocal project
        project = _await_stored(api.trace, trace_id, len(spans), timeout_seconds).project

    steps: dict[HopName, Callable[[], None]] = {
        "connect": connect, "tls": handshake, "accepted": accept, "stored": stored,
    }  # fmt: skip
    for name, step in steps.items():
        hops.append(_timed(name, step))
        if name == "tls" and sockets:
            sockets[0].close()
        if not hops[-1].ok:
            break
    return Passage(transport, endpoint, trace_id, project, tuple(hops))
