"""Stored before acknowledged: what the middleware answers when the database, the queue or Phoenix itself misbehave.

A stand-in plays Phoenix: it acknowledges at once and stores later, as the real one does.
"""

import asyncio
import gzip
import os
import types
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from components.phoenix.container import ingest

pytestmark = pytest.mark.unit
SECRET = "admin-secret-of-the-collector-0123456789"


@dataclass
class Phoenix:
    """A queue, an inserter that works when it is told to, and a database."""

    loses: int = 0
    """So many rounds throw away what they took from the queue, as Phoenix does while PostgreSQL is away."""
    refuses: set[str] = field(default_factory=set)
    """Span ids that the database never takes."""
    status: int = 200
    down: bool = False
    running: bool = True
    stored: set[str] = field(default_factory=set)
    queue: list[str] = field(default_factory=list)
    requests: list[set[str]] = field(default_factory=list)
    rounds: int = 0
    transactions: int = 0
    seen_queue: int = 0

    # -- what the middleware sees of it

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        headers = dict(scope["headers"])
        await send({"type": "http.response.start", "status": self.status, "headers": [(b"x-phoenix", b"1")]})
        await send({"type": "http.response.body", "body": b""})
        if self.status == 200:
            unpacked = gzip.decompress(body) if headers.get(b"content-encoding") == b"gzip" else body
            ids = ingest.span_ids(ExportTraceServiceRequest.FromString(unpacked))
            self.requests.append(ids)
            self.queue += sorted(ids)

    def beat(self) -> float:
        return float(self.rounds)

    def queued(self) -> float:
        return float(self.seen_queue)

    def ended(self) -> float:
        return float(self.transactions)

    @asynccontextmanager
    async def db(self) -> AsyncIterator[Any]:
        if self.down:
            raise OSError("connection refused")

        async def query(_sql: str, parameters: tuple[list[str]]) -> list[tuple[str]]:
            return [(one,) for one in parameters[0] if one in self.stored]

        async def connection() -> Any:
            return types.SimpleNamespace(exec_driver_sql=query)

        yield types.SimpleNamespace(connection=connection)

    # -- what happens inside

    async def insert(self) -> None:
        """Phoenix's loop."""
        while True:
            await asyncio.sleep(0.002)
            if not self.running:
                continue
            self.rounds += 1
            self.seen_queue = len(self.queue)
            taken, self.queue = self.queue, []
            if taken:
                self.transactions += 1
            if self.loses and taken:
                self.loses -= 1
            else:
                self.stored |= set(taken) - self.refuses


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what no event tells of."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the condition belongs to the code under test
            await asyncio.sleep(0.001)


def trace(*ids: bytes) -> bytes:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for one in ids:
        spans.add(trace_id=os.urandom(16), span_id=one, name="span")
    return request.SerializeToString()


@dataclass
class Client:
    """Sends to the middleware as the collector does."""

    middleware: ingest.StoreFirst
    app: Phoenix

    async def post(
        self, body: bytes, *, secret: str = SECRET, path: str = "/v1/traces", encoding: str = ""
    ) -> tuple[int, dict[bytes, bytes]]:
        headers = [(b"authorization", f"Bearer {secret}".encode()), (b"content-type", b"application/x-protobuf")]
        headers += [(b"content-encoding", encoding.encode())] if encoding else []
        state = types.SimpleNamespace(db=self.app.db)
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
        scope["app"] = types.SimpleNamespace(state=state)  # type: ignore[assignment]
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.middleware(scope, receive, send)
        return sent[0]["status"], dict(sent[0]["headers"])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOENIX_ADMIN_SECRET", SECRET)
    monkeypatch.setenv("PHOENIX_MAX_SPANS_QUEUE_SIZE", "10")
    monkeypatch.setattr(ingest, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(ingest, "LOOK_SECONDS", 0.05)


def run(app: Phoenix, story: Any) -> None:
    """Let ``story(client)`` happen while Phoenix's loop runs."""

    async def main() -> None:
        loop = asyncio.create_task(app.insert())
        client = Client(ingest.StoreFirst(app, inserter=lambda: app), app)  # type: ignore[arg-type, return-value]
        try:
            told: Coroutine[Any, Any, None] = story(client)
            await asyncio.wait_for(told, 20)
        finally:
            loop.cancel()

    asyncio.run(main())


A, B, C = b"A" * 8, b"B" * 8, b"C" * 8


def test_nothing_is_acknowledged_before_it_is_stored() -> None:
    app = Phoenix(running=False)

    async def story(client: Client) -> None:
        answer = asyncio.create_task(client.post(trace(A)))
        await until(lambda: bool(app.requests))
        done, _ = await asyncio.wait({answer}, timeout=0.1)
        assert not done, "acknowledged from memory"
        app.running = True
        status, headers = await answer
        assert (status, headers[b"content-type"]) == (200, b"application/x-protobuf")
        assert app.stored == {A.hex()}

    run(app, story)


def test_without_the_database_the_collector_must_send_again() -> None:
    app = Phoenix(down=True)

    async def story(client: Client) -> None:
        status, headers = await client.post(trace(A))
        assert status == 503
        assert headers[b"retry-after"] == b"1"
        assert app.requests == [], "not even queued: it would be lost"
        app.down = False
        assert (await client.post(trace(A)))[0] == 200
        assert app.stored == {A.hex()}

    run(app, story)


def test_a_database_that_goes_away_meanwhile_is_not_acknowledged() -> None:
    app = Phoenix(running=False)

    async def story(client: Client) -> None:
        answer = asyncio.create_task(client.post(trace(A)))
        await until(lambda: bool(app.requests))
        app.down = True
        app.loses, app.running = 1, True
        assert (await answer)[0] == 503

    run(app, story)


def test_spans_that_phoenix_threw_away_are_handed_over_again_and_no_others() -> None:
    app = Phoenix(loses=1)

    async def story(client: Client) -> None:
        app.stored.add(B.hex())
        assert (await client.post(trace(A, B, C)))[0] == 200
        assert app.requests == [{A.hex(), C.hex()}] * 2
        assert app.stored == {A.hex(), B.hex(), C.hex()}

    run(app, story)


def test_spans_that_the_database_refuses_are_given_up_counted_and_don_t_block(caplog: pytest.LogCaptureFixture) -> None:
    app = Phoenix(refuses={B.hex()})
    before = ingest.FAILED.labels(reason="span_error")._value.get()

    async def story(client: Client) -> None:
        assert (await client.post(trace(A, B)))[0] == 200
        assert app.stored == {A.hex()}
        assert len(app.requests) == ingest.ATTEMPTS

    run(app, story)
    assert ingest.FAILED.labels(reason="span_error")._value.get() == before + 1
    assert B.hex() in caplog.text


def test_spans_that_are_stored_already_are_acknowledged_without_phoenix() -> None:
    app = Phoenix(stored={A.hex()})

    async def story(client: Client) -> None:
        assert (await client.post(trace(A)))[0] == 200
        assert app.requests == []

    run(app, story)


def test_a_slow_store_is_answered_in_time_and_the_next_try_joins_it(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Phoenix(running=False)
    monkeypatch.setattr(ingest, "ANSWER_SECONDS", 0.05)

    async def story(client: Client) -> None:
        body = trace(A)
        assert (await client.post(body))[0] == 503
        monkeypatch.setattr(ingest, "ANSWER_SECONDS", 5)
        again = asyncio.create_task(client.post(body))
        await asyncio.sleep(0.05)
        app.running = True
        assert (await again)[0] == 200
        assert app.requests == [{A.hex()}], "queued twice"

    run(app, story)


def test_requests_wait_while_the_queue_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOENIX_MAX_SPANS_QUEUE_SIZE", "2")
    app = Phoenix(running=False)

    async def story(client: Client) -> None:
        first = asyncio.create_task(client.post(trace(A, B)))
        await until(lambda: bool(app.requests))
        second = asyncio.create_task(client.post(trace(C)))
        await asyncio.sleep(0.05)
        assert len(app.requests) == 1
        app.running = True
        assert [(await first)[0], (await second)[0]] == [200, 200]

    run(app, story)


def test_phoenix_s_own_refusal_is_passed_on() -> None:
    app = Phoenix(status=503)

    async def story(client: Client) -> None:
        status, headers = await client.post(trace(A))
        assert (status, headers[b"x-phoenix"]) == (503, b"1")

    run(app, story)


@pytest.mark.parametrize(("secret", "path"), [("another-key", "/v1/traces"), (SECRET, "/v1/projects")])
def test_what_does_not_concern_it_passes_untouched(secret: str, path: str) -> None:
    app = Phoenix(status=404, down=True)

    async def story(client: Client) -> None:
        assert await client.post(trace(A), secret=secret, path=path) == (404, {b"x-phoenix": b"1"})

    run(app, story)


def test_phoenix_says_what_is_wrong_with_a_broken_body() -> None:
    app = Phoenix(status=422)

    async def story(client: Client) -> None:
        assert (await client.post(b"\xff\xff\xff"))[0] == 422
        assert (await client.post(b"no gzip", encoding="gzip"))[0] == 422

    run(app, story)


def test_gzip_and_plain_are_understood() -> None:
    app = Phoenix()

    async def story(client: Client) -> None:
        assert (await client.post(gzip.compress(trace(A)), encoding="gzip"))[0] == 200
        assert (await client.post(trace(B)))[0] == 200
        assert app.stored == {A.hex(), B.hex()}

    run(app, story)


def test_a_body_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "BODY_LIMIT", 1000)
    with pytest.raises(ValueError, match="unpacks to more than"):
        ingest.decode(gzip.compress(bytes(2000)), "gzip")


def test_an_oversize_body_is_refused_without_reading_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "BODY_LIMIT", 10)
    app = Phoenix()

    async def story(client: Client) -> None:
        assert (await client.post(trace(A)))[0] == 413
        assert app.requests == []

    run(app, story)


def test_the_reduced_request_keeps_resource_and_order() -> None:
    request = ExportTraceServiceRequest.FromString(trace(A, B, C))
    request.resource_spans[0].resource.attributes.add(key="service.name").value.string_value = "chat"
    reduced = ExportTraceServiceRequest.FromString(gzip.decompress(ingest.only(request, {A.hex(), C.hex()})))
    assert reduced.resource_spans[0].resource == request.resource_spans[0].resource
    assert [span.span_id for span in reduced.resource_spans[0].scope_spans[0].spans] == [A, C]
    assert ingest.span_ids(request) == {A.hex(), B.hex(), C.hex()}, "the original is untouched"
