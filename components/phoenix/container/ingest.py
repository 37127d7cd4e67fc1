"""Stored before acknowledged: Phoenix answers the collector only when the spans are in PostgreSQL.

Phoenix 20.19 answers 200 as soon as spans are in a queue in memory. It loses that queue when it is killed and when it
is stopped, and it throws away whatever it takes from the queue while PostgreSQL is away (a later version retries).
Here ``/v1/traces`` is answered when the database has the spans, and with 503 otherwise: the collector keeps what was
not acknowledged in its queue on disk and sends it again. That is harmless: Phoenix ignores span ids that it has.

Spans that the database refuses, whatever happens, are given up after ATTEMPTS, counted and logged by id: they would
block the collector's queue for ever. All this is for the stack's own collector, which shows the admin secret; other
clients see Phoenix as it is.

Uses Phoenix's hook (PHOENIX_FASTAPI_MIDDLEWARE_PATHS), its metrics and the column ``spans.span_id``. Runs inside the
container.
"""

import asyncio
import gzip
import hashlib
import hmac
import importlib
import logging
import math
import os
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("phoenix.agentstack.ingest")

PATH: Final = "/v1/traces"
PROTOBUF: Final = "application/x-protobuf"
BODY_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of one request, compressed or not. The collector's batches are far smaller."""
ANSWER_SECONDS: Final = 25.0
"""Below the collector's export timeout of 30 s: it then gets an answer instead of a broken connection."""
STORE_SECONDS: Final = 300.0
"""How long storing goes on after that; the collector's next try joins it instead of queueing the spans twice."""
QUERY_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.05
LOOK_SECONDS: Final = 2.0
"""The database is asked after each of the inserter's transactions, and this often without one."""
ATTEMPTS: Final = 3
RETRY_SECONDS: Final = "1"
SPANS_PER_ROUND: Final = 100
"""The least that one round of Phoenix's inserter takes from the queue."""
STORED: Final = "SELECT span_id FROM spans WHERE span_id = ANY($1::varchar[])"

OUTSTANDING = Gauge("agentstack_phoenix_spans_outstanding", "Spans in Phoenix's hands that are not acknowledged yet")
STORE_TIME = Histogram(
    "agentstack_phoenix_store_seconds",
    "From a request's arrival to all of its spans being in the database",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120),
)
REPEATED = Counter(
    "agentstack_phoenix_spans_repeated", "Spans handed to Phoenix again: the first time did not store them"
)
REFUSED = Counter("agentstack_phoenix_requests_unacknowledged", "Requests answered 503, to be sent again", ["reason"])


def _failed_spans() -> Counter:
    """The counter of spans given up, under the name that later versions of Phoenix give to the same thing."""
    name = "phoenix_span_ingestion_failed_spans"
    known = getattr(REGISTRY, "_names_to_collectors", {}).get(name)
    return known if known is not None else Counter(name, "Spans that could not be stored and were given up", ["reason"])


FAILED = _failed_spans()
FAILED.labels(reason="span_error")  # at 0 from the start: an increase can be seen only from a number


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, whole."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""

    async def send(self, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status, "headers": list(self.headers)})
        await send({"type": "http.response.body", "body": self.body})


ACKNOWLEDGED: Final = Answer(200, ((b"content-type", PROTOBUF.encode()), (b"content-length", b"0")))


def unavailable(reason: str, text: str) -> Answer:
    """503, which OTLP clients answer by trying again."""
    REFUSED.labels(reason=reason).inc()
    headers = ((b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", RETRY_SECONDS.encode()))
    return Answer(503, headers, f"{text}; send again\n".encode())


def header(scope: Scope, name: bytes) -> str:
    """The first value of a request header; empty without one."""
    found: bytes = next((value for key, value in scope["headers"] if key == name), b"")
    return found.decode("latin-1")


def decode(body: bytes, encoding: str) -> ExportTraceServiceRequest:
    """Parse an OTLP/HTTP body.

    Raises:
        ValueError: when it is none, or unpacks to more than BODY_LIMIT.
    """
    request = ExportTraceServiceRequest()
    try:
        if encoding in {"gzip", "deflate"}:
            unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
            body = unpack.decompress(body, BODY_LIMIT)
            whole = not unpack.unconsumed_tail
        else:
            whole = True
        if whole:
            request.ParseFromString(body)
    except (zlib.error, DecodeError) as error:
        raise ValueError(f"is no OTLP request: {error}") from error
    if not whole:
        raise ValueError(f"unpacks to more than {BODY_LIMIT} bytes")
    return request


def span_ids(request: ExportTraceServiceRequest) -> set[str]:
    """Ids of all spans, in hex, as Phoenix stores them."""
    return {
        span.span_id.hex()
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }


def only(request: ExportTraceServiceRequest, wanted: Iterable[str]) -> bytes:
    """The same request with the wanted spans alone, gzipped."""
    keep = set(wanted)
    reduced = ExportTraceServiceRequest()
    reduced.CopyFrom(request)
    for resource in reduced.resource_spans:
        for scope in resource.scope_spans:
            kept = [span for span in scope.spans if span.span_id.hex() in keep]
            del scope.spans[:]
            scope.spans.extend(kept)
    return gzip.compress(reduced.SerializeToString(), compresslevel=1)


class Inserter:
    """What Phoenix's metrics say about its inserter, which takes spans from the queue in rounds."""

    def __init__(self) -> None:
        self._metrics = importlib.import_module("phoenix.server.prometheus")

    def beat(self) -> float:
        """Unix time at which the latest round began."""
        return self._value(self._metrics.BULK_LOADER_LAST_ACTIVITY)

    def queued(self) -> float:
        """Spans in the queue when that round began."""
        return self._value(self._metrics.SPAN_QUEUE_SIZE)

    def ended(self) -> float:
        """Counts up whenever a transaction ends, well or badly."""
        times = self._metrics.BULK_LOADER_SPAN_INSERTION_TIME.collect()[0].samples
        rounds = next(sample.value for sample in times if sample.name.endswith("_count"))
        return float(rounds) + self._value(self._metrics.BULK_LOADER_SPAN_EXCEPTIONS)

    @staticmethod
    def _value(metric: Any) -> float:
        return float(metric.collect()[0].samples[0].value)


@dataclass
class Admission:
    """Lets requests in, first come first served, while fewer than ``limit`` spans are outstanding."""

    limit: int
    outstanding: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def enter(self, spans: int) -> None:
        """Wait for room, then take it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.outstanding < self.limit)
            self._count(spans)

    async def leave(self, spans: int) -> None:
        """Give the room back."""
        async with self._changed:
            self._count(-spans)
            self._changed.notify_all()

    def _count(self, spans: int) -> None:
        self.outstanding += spans
        OUTSTANDING.set(self.outstanding)


class StoreFirst(BaseHTTPMiddleware):
    """The middleware; one per Phoenix process."""

    def __init__(self, app: ASGIApp, inserter: Callable[[], Inserter] = Inserter) -> None:
        super().__init__(app)
        self._inserter = inserter()
        self._secret = os.environ["PHOENIX_ADMIN_SECRET"].encode()
        self._admission = Admission(int(os.environ["PHOENIX_MAX_SPANS_QUEUE_SIZE"]))
        self._storing: dict[bytes, asyncio.Task[Answer]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if not self._concerns(scope):
            await self.app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            await Answer(413, ((b"content-type", b"text/plain"),), b"larger than 64 MiB\n").send(send)
            return
        await (await self._answer(scope, body)).send(send)

    def _concerns(self, scope: Scope) -> bool:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            return False
        scheme, _, token = header(scope, b"authorization").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode("latin-1"), self._secret)

    async def _answer(self, scope: Scope, body: bytes) -> Answer:
        """Store in a task of its own, which outlives a client that gives up; the same body again joins it."""
        key = hashlib.sha256(body).digest()
        task = self._storing.get(key)
        if task is None:
            task = asyncio.create_task(self._store_in_time(scope, body))
            self._storing[key] = task
            task.add_done_callback(lambda _: self._storing.pop(key, None))
        done, _ = await asyncio.wait({task}, timeout=ANSWER_SECONDS)
        if not done:
            return unavailable("slow", f"not stored within {ANSWER_SECONDS:.0f} s")
        return task.result()

    async def _store_in_time(self, scope: Scope, body: bytes) -> Answer:
        try:
            async with asyncio.timeout(STORE_SECONDS):
                return await self._store(scope, body)
        except TimeoutError:
            return unavailable("slow", "not stored in time")
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing may be acknowledged
            logger.warning("spans not acknowledged: %s: %s", type(error).__name__, error)
            return unavailable("database", "the database does not answer")

    async def _store(self, scope: Scope, body: bytes) -> Answer:
        started = time.monotonic()
        try:
            request = await asyncio.to_thread(decode, body, header(scope, b"content-encoding"))
        except ValueError:
            return await self._forward(scope, body)  # Phoenix says what is wrong with it
        wanted = span_ids(request)
        missing = await self._missing(scope, wanted)
        if not missing:
            return ACKNOWLEDGED if wanted else await self._forward(scope, body)
        await self._admission.enter(len(missing))
        held = len(missing)
        try:
            for attempt in range(ATTEMPTS):
                if attempt:
                    REPEATED.inc(len(missing))
                whole = len(missing) == len(wanted)
                answer = await (self._forward(scope, body) if whole else self._forward_some(scope, request, missing))
                if answer.status != ACKNOWLEDGED.status:
                    return answer
                missing = await self._settle(scope, missing)
                if not missing:
                    break
        finally:
            await self._admission.leave(held)
        if missing:
            FAILED.labels(reason="span_error").inc(len(missing))
            shown = ", ".join(sorted(missing)[:20])
            logger.error("gave up %d spans that the database refuses: %s", len(missing), shown)
        STORE_TIME.observe(time.monotonic() - started)
        return ACKNOWLEDGED

    async def _settle(self, scope: Scope, missing: set[str]) -> set[str]:
        """Wait until the spans are stored or have had their turn in vain; returns the latter."""
        # Each beat is the start of a round, so the end of the one before. An empty queue at a beat, or enough beats for
        # all that was queued, means that our spans have had their turn.
        start = beat = self._inserter.beat()
        turns, needed = 0, 2 + math.ceil(self._admission.outstanding / SPANS_PER_ROUND)
        ended, looked = self._inserter.ended(), time.monotonic()
        while True:
            await asyncio.sleep(POLL_SECONDS)
            latest = self._inserter.beat()
            turns += latest != beat
            beat = latest
            over = (beat > start and self._inserter.queued() == 0) or turns >= needed
            if over or self._inserter.ended() != ended or time.monotonic() - looked > LOOK_SECONDS:
                ended, looked = self._inserter.ended(), time.monotonic()
                missing = await self._missing(scope, missing)
                if over or not missing:
                    return missing

    async def _missing(self, scope: Scope, wanted: set[str]) -> set[str]:
        """Those of the span ids that the database does not have. Raises whatever the database raises."""
        if not wanted:
            return set()
        async with asyncio.timeout(QUERY_SECONDS), scope["app"].state.db() as session:
            rows = await (await session.connection()).exec_driver_sql(STORED, (sorted(wanted),))
            return wanted - {row[0] for row in rows}

    async def _forward_some(self, scope: Scope, request: ExportTraceServiceRequest, wanted: set[str]) -> Answer:
        body = await asyncio.to_thread(only, request, wanted)
        dropped = {b"content-encoding", b"content-length"}
        headers = [(key, value) for key, value in scope["headers"] if key not in dropped]
        headers += [(b"content-encoding", b"gzip"), (b"content-length", str(len(body)).encode())]
        return await self._forward({**scope, "headers": headers}, body)

    async def _forward(self, scope: Scope, body: bytes) -> Answer:
        """Hand a request to Phoenix. It returns when the spans are in Phoenix's queue (a task after its answer)."""
        asked = False
        status, headers, parts = 500, (), []

        async def receive() -> Message:
            nonlocal asked
            if asked:
                await asyncio.Event().wait()  # nothing more comes; cancelled with the request
            asked = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], tuple(message.get("headers", ()))
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))

        await self.app(dict(scope), receive, send)
        return Answer(status, headers, b"".join(parts))


async def _read(receive: Receive) -> bytes | None:
    """The request's body; None when it is larger than BODY_LIMIT."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""  # nobody waits for the answer, and half a body is none
        part = message.get("body", b"")
        size += len(part)
        if size > BODY_LIMIT:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
