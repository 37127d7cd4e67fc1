"""A fake of Phoenix's ingest, for tests of the Collector: it takes spans over TLS with a token and says what it got.

Usage: fake_phoenix.py PORT CERTIFICATE KEY TOKEN
POST /v1/traces (token) as Phoenix; GET /spans: what arrived; POST /mode/503: answer that to all spans from now on;
POST /swallow: acknowledge from now on without looking.
"""

import gzip
import json
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class State:
    """What arrived, and how to answer."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.status = 200
        self.swallow = False
        self.spans: list[dict[str, Any]] = []
        self.batches: list[int] = []
        self.refused = 0
        self.unauthorized = 0
        self.undecodable = 0

    def take(self, request: ExportTraceServiceRequest) -> None:
        found = [
            {
                "trace": span.trace_id.hex(),
                "id": span.span_id.hex(),
                "span": MessageToDict(span),
                "resource": MessageToDict(resource.resource),
                "scope": MessageToDict(scope.scope),
            }
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with self.lock:
            self.spans += found
            self.batches.append(len(found))


STATE = State()
TOKEN = sys.argv[4]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def answer(self, status: int, body: bytes = b"", kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        with STATE.lock:
            told = {key: value for key, value in vars(STATE).items() if key != "lock"}
            self.answer(200, json.dumps(told).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/mode/"):
            STATE.status = int(self.path.rpartition("/")[2])
            self.answer(200)
        elif self.path == "/swallow":
            STATE.swallow = True
            self.answer(200)
        elif STATE.swallow:
            self.answer(200, kind="application/x-protobuf")
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            STATE.unauthorized += 1
            self.answer(401)
        elif STATE.status != 200:
            STATE.refused += 1
            self.answer(STATE.status)
        else:
            request = ExportTraceServiceRequest()
            try:
                request.ParseFromString(gzip.decompress(body) if self.headers.get("Content-Encoding") else body)
            except DecodeError:
                STATE.undecodable += 1
                self.answer(422)
                return
            STATE.take(request)
            self.answer(200, ExportTraceServiceResponse().SerializeToString(), "application/x-protobuf")


if __name__ == "__main__":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server = ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler)  # noqa: S104 - in a container of its own
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()
