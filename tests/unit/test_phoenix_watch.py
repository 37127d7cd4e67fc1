"""What else runs inside Phoenix: metrics behind a token on the TLS port, and the watch over its background loops."""

import asyncio
import hashlib
import sys
import types
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from components.phoenix.container import metrics, watchdog

pytestmark = pytest.mark.unit
TOKEN = "scrape-token"


@pytest.fixture
def phoenix_metrics(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A stand-in for Phoenix's metrics module; the list holds the paths that were timed."""
    timed: list[str] = []

    class PrometheusMiddleware:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            timed.append(scope["path"])
            await self.app(scope, receive, send)

    module = types.ModuleType("phoenix.server.prometheus")
    module.PrometheusMiddleware = PrometheusMiddleware  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "phoenix.server.prometheus", module)
    return timed


@pytest.fixture
def digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "metrics-token.sha256"
    path.write_text(hashlib.sha256(TOKEN.encode()).hexdigest() + "\n")
    monkeypatch.setattr(metrics, "TOKEN_SHA256", path)
    return path


async def _app(scope: Any, _receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"<html>Phoenix</html>"})


def ask(path: str, token: str | None, method: str = "GET") -> tuple[int, dict[bytes, bytes], bytes]:
    """One request to the middleware in front of a stand-in for Phoenix."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    headers = [] if token is None else [(b"authorization", token.encode())]
    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    asyncio.run(metrics.Metrics(_app)(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


@pytest.mark.usefixtures("phoenix_metrics", "digest")
class TestMetrics:
    def test_the_registry_is_served_to_whoever_has_the_token(self) -> None:
        status, headers, body = ask("/metrics", f"Bearer {TOKEN}")
        assert status == 200
        assert headers[b"content-type"].startswith(b"text/plain")
        assert b"agentstack_phoenix_loops_lost " in body

    @pytest.mark.parametrize("shown", [None, "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer ", "Bearer \xff"])
    def test_and_to_nobody_else(self, shown: str | None) -> None:
        status, headers, body = ask("/metrics", shown)
        assert status == 401
        assert headers[b"www-authenticate"] == b"Bearer"
        assert b"agentstack" not in body

    def test_the_digest_itself_is_no_token(self, digest: Path) -> None:
        assert ask("/metrics", f"Bearer {digest.read_text().strip()}")[0] == 401

    def test_head_has_no_body_and_nothing_is_posted(self) -> None:
        assert ask("/metrics", f"Bearer {TOKEN}", "HEAD")[2] == b""
        assert ask("/metrics", f"Bearer {TOKEN}", "POST")[0] == 405

    def test_everything_else_is_phoenix_s_and_timed(self, phoenix_metrics: list[str]) -> None:
        assert ask("/projects", None)[2] == b"<html>Phoenix</html>"
        assert phoenix_metrics == ["/projects"]

    @pytest.mark.parametrize("content", ["", "not hex", "abcd"])
    def test_phoenix_does_not_start_without_a_digest(self, digest: Path, content: str) -> None:
        digest.write_text(content)
        with pytest.raises(ValueError):  # noqa: PT011 - two messages, one outcome
            metrics.Metrics(_app)


# ---- the watch


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what no event tells of."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the condition belongs to the code under test
            await asyncio.sleep(0.001)


class _Store:
    """Phoenix's name of the loop that has no error handling."""

    def __init__(self) -> None:
        self.fail = asyncio.Event()

    async def _run(self) -> None:
        await self.fail.wait()
        raise OSError("the database went away")


class _App:
    """As much of the application as the watch needs."""

    def __init__(self) -> None:
        self.answers = True
        self.state = types.SimpleNamespace(db=self.db)

    @asynccontextmanager
    async def db(self) -> AsyncIterator[Any]:
        if not self.answers:
            raise OSError("connection refused")

        async def query(_sql: str) -> None:
            return None

        async def connection() -> Any:
            return types.SimpleNamespace(exec_driver_sql=query)

        yield types.SimpleNamespace(connection=connection)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "INTERVAL_SECONDS", 0.005)
    monkeypatch.setattr(watchdog, "STAGGER_SECONDS", 0.0)


async def _watched(app: _App, ended: asyncio.Event) -> tuple[_Store, list[asyncio.Task[None]]]:
    """Two stores and a watch over them that has seen both."""
    store, other = _Store(), _Store()
    watch = watchdog.Watch(beat=lambda: 0.0)
    tasks = [asyncio.create_task(store._run()), asyncio.create_task(other._run())]
    tasks.append(asyncio.create_task(watchdog.keep_watch(app, watch, ended.set)))
    await until(lambda: bool(watch._seen))
    return store, tasks


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.usefixtures("quick")
def test_a_dead_loop_ends_the_process(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        ended = asyncio.Event()
        store, tasks = await _watched(_App(), ended)
        store.fail.set()
        await asyncio.wait_for(ended.wait(), 5)
        await _cancel(tasks)

    asyncio.run(story())
    assert "1 of 2 loops _Store._run ended" in caplog.text


@pytest.mark.usefixtures("quick")
def test_it_waits_for_the_database_to_be_back() -> None:
    async def story() -> None:
        ended, app = asyncio.Event(), _App()
        store, tasks = await _watched(app, ended)
        app.answers = False
        store.fail.set()
        await asyncio.sleep(0.1)
        assert not ended.is_set(), "it would come back to a database that is away"
        app.answers = True
        await asyncio.wait_for(ended.wait(), 5)
        await _cancel(tasks)

    asyncio.run(story())


@pytest.mark.usefixtures("quick")
def test_living_loops_are_left_alone() -> None:
    async def story() -> None:
        ended = asyncio.Event()
        _, tasks = await _watched(_App(), ended)
        await asyncio.sleep(0.1)
        assert not ended.is_set()
        await _cancel(tasks)

    asyncio.run(story())


@pytest.mark.usefixtures("quick")
def test_a_watch_that_stumbles_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    beats = iter([RuntimeError("no metric yet")])

    def beat() -> float:
        for error in beats:
            raise error
        return 0.0

    async def story() -> None:
        ended, store = asyncio.Event(), _Store()
        watch = watchdog.Watch(beat=beat)
        tasks = [asyncio.create_task(store._run())]
        tasks.append(asyncio.create_task(watchdog.keep_watch(_App(), watch, ended.set)))
        await until(lambda: "trying again" in caplog.text)
        store.fail.set()
        await asyncio.wait_for(ended.wait(), 5)
        await _cancel(tasks)

    asyncio.run(story())


def test_an_inserter_that_hangs_is_a_fault() -> None:
    now = 1000.0
    watch = watchdog.Watch(beat=lambda: 1000.0, clock=lambda: now)
    running: Counter[str] = Counter({"BulkInserter._bulk_insert": 1})
    now = 1000.0 + watchdog.STALE_SECONDS
    assert watch.faults(running) == []
    now += 1
    assert len(watch.faults(running)) == 1


def test_before_its_first_round_the_inserter_is_not_late() -> None:
    assert watchdog.Watch(beat=lambda: 0.0, clock=lambda: 1e9).faults(Counter()) == []
