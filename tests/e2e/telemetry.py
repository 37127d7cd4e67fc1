"""Spans made and sent by hand: ids are known, and what was acknowledged is recorded at the acknowledgement."""

import os
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import grpc
import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from tests.e2e.stack import StackUnderTest

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def attribute(key: str, value: str | float) -> KeyValue:
    """One attribute of its own type."""
    match value:
        case bool():
            return KeyValue(key=key, value=AnyValue(bool_value=value))
        case int():
            return KeyValue(key=key, value=AnyValue(int_value=value))
        case float():
            return KeyValue(key=key, value=AnyValue(double_value=value))
        case _:
            return KeyValue(key=key, value=AnyValue(string_value=value))


def llm_span(text: str = "What is observability?", size: int = 0) -> Span:
    """An LLM span in OpenInference's words, ``size`` bytes of padding in its output."""
    now = time.time_ns()
    return Span(
        trace_id=os.urandom(16),
        span_id=os.urandom(8),
        name="chat",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=now - 500_000_000,
        end_time_unix_nano=now,
        status=Status(code=Status.STATUS_CODE_OK),
        attributes=[
            attribute("openinference.span.kind", "LLM"),
            attribute("llm.model_name", "gpt-4o-mini"),
            attribute("llm.provider", "openai"),
            attribute("input.value", text),
            attribute("output.value", "Knowing what a system does from what it tells." + "x" * size),
            attribute("llm.token_count.prompt", 12),
            attribute("llm.token_count.completion", 34),
            attribute("llm.token_count.total", 46),
        ],
    )


def request(project: str | None, spans: Sequence[Span], service: str | None = "e2e") -> ExportTraceServiceRequest:
    """One export request; None leaves the project or the service unsaid."""
    made = ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])
    if project is not None:
        made.resource.attributes.append(attribute("openinference.project.name", project))
    if service is not None:
        made.resource.attributes.append(attribute("service.name", service))
    return ExportTraceServiceRequest(resource_spans=[made])


def ids(spans: Sequence[Span]) -> set[str]:
    """Hex span ids, as Phoenix tells them."""
    return {span.span_id.hex() for span in spans}


def send_http(
    stack: StackUnderTest,
    body: ExportTraceServiceRequest | bytes,
    token: str | None,
    *,
    endpoint: str | None = None,
    trust: ssl.SSLContext | None = None,
    headers: dict[str, str] | None = None,
    client: httpx.Client | None = None,
) -> httpx.Response:
    """POST /v1/traces. Raises what httpx raises when there is no answer."""
    content = body if isinstance(body, bytes) else body.SerializeToString()
    sent = {"content-type": "application/x-protobuf", **(headers or {})}
    if token is not None:
        sent["authorization"] = f"Bearer {token}"
    url = f"{endpoint or stack.endpoint('otlp_http')}/v1/traces"
    if client:
        return client.post(url, content=content, headers=sent)
    with httpx.Client(verify=trust or stack.trust, timeout=30, trust_env=False) as once:
        return once.post(url, content=content, headers=sent)


@contextmanager
def grpc_channel(stack: StackUnderTest, ca: bytes | None = None, target: str | None = None) -> Iterator[grpc.Channel]:
    """A gRPC channel to the OTLP endpoint that trusts ``ca`` (our own CA unless given)."""
    address = target or stack.endpoint("otlp_grpc").removeprefix("https://")
    credentials = grpc.ssl_channel_credentials(ca or stack.ca_file.read_bytes())
    options = [("grpc.max_send_message_length", -1)]
    with grpc.secure_channel(address, credentials, options=options) as channel:
        yield channel


def send_grpc(
    channel: grpc.Channel, body: ExportTraceServiceRequest, token: str | None, timeout: float = 20
) -> ExportTraceServiceResponse:
    """TraceService/Export. Raises grpc.RpcError."""
    export = channel.unary_unary(
        EXPORT,
        request_serializer=ExportTraceServiceRequest.SerializeToString,
        response_deserializer=ExportTraceServiceResponse.FromString,
    )
    metadata = (("authorization", f"Bearer {token}"),) if token is not None else None
    answer: ExportTraceServiceResponse = export(body, metadata=metadata, timeout=timeout)
    return answer


@dataclass
class Sender:
    """Sends spans in a thread, one request after the other, each sent again until it is acknowledged.

    ``acknowledged`` holds the ids of what was answered 200, entered at the answer.
    """

    stack: StackUnderTest
    project: str
    token: str
    spans_per_second: float = 30
    per_request: int = 3
    acknowledged: set[str] = field(default_factory=set)
    retries: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def _one(self, client: httpx.Client) -> None:
        spans = [llm_span() for _ in range(self.per_request)]
        body = request(self.project, spans)
        while True:
            try:
                if send_http(self.stack, body, self.token, client=client).status_code == httpx.codes.OK:
                    self.acknowledged |= ids(spans)
                    return
            except httpx.HTTPError:
                pass
            if self._stop.is_set():
                return  # not acknowledged: no promise was made
            self.retries += 1
            self._stop.wait(0.3)

    def _run(self) -> None:
        with httpx.Client(verify=self.stack.trust, timeout=10, trust_env=False) as client:
            while not self._stop.is_set():
                began = time.monotonic()
                self._one(client)
                self._stop.wait(max(0.0, self.per_request / self.spans_per_second - (time.monotonic() - began)))

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=30)
