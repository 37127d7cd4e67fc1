"""Ends a Phoenix whose background loops have died, so that the restart policy starts it again.

The loops that refresh Phoenix's tokens from the database have no error handling: one failed query (any restart of
PostgreSQL) ends them for good, without a word. From then on a deleted API key keeps working, while ``/healthz`` and
``/readyz`` are green. The loop that stores spans can end in the same way. Nothing short of a restart mends either.
(Phoenix's hook: PHOENIX_FASTAPI_MIDDLEWARE_PATHS. Runs inside the container.)
"""

import asyncio
import importlib
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from prometheus_client import Gauge
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger("phoenix.agentstack.watchdog")

LOOPS: Final = frozenset(
    {
        "_Store._run",
        "BulkInserter._bulk_insert",
        "TraceDataSweeper._run",
        "SpanCostCalculator._run",
        "GenerativeModelStore._run",
    }
)
"""Coroutines that run as long as Phoenix does: the four token stores, the span inserter, retention, costs, prices."""

INTERVAL_SECONDS: Final = 5.0
STALE_SECONDS: Final = 300.0
"""The inserter marks each round; a round of 1000 spans takes ten seconds on a slow core. This long means it hangs."""
DATABASE_SECONDS: Final = 5.0
STAGGER_SECONDS: Final = 60.0
"""After an outage every replica needs its restart: one after another."""

RUNNING = Gauge("agentstack_phoenix_loops_running", "Background loops of Phoenix that run", ["loop"])
LOST = Gauge("agentstack_phoenix_loops_lost", "Background loops of Phoenix that have died (a restart follows)")


def running_loops() -> Counter[str]:
    """How many tasks run each of LOOPS."""
    coroutines = (task.get_coro() for task in asyncio.all_tasks() if not task.done())
    names = (getattr(coroutine, "__qualname__", "") for coroutine in coroutines)
    return Counter(name for name in names if name in LOOPS)


def heartbeat() -> float:
    """Unix time of the inserter's last round; 0 before the first."""
    gauge = importlib.import_module("phoenix.server.prometheus").BULK_LOADER_LAST_ACTIVITY
    return float(gauge.collect()[0].samples[0].value)


def terminate() -> None:
    """Ask this process to end: the server finishes what it has, then the restart policy takes over."""
    os.kill(os.getpid(), signal.SIGTERM)


class Watch:
    """Compares what runs with what once ran."""

    def __init__(self, beat: Callable[[], float] = heartbeat, clock: Callable[[], float] = time.time) -> None:
        self._seen: Counter[str] = Counter()
        self._beat = beat
        self._clock = clock

    def faults(self, running: Counter[str]) -> list[str]:
        """What is wrong now; empty when all is well."""
        self._seen |= running
        lost = self._seen - running
        LOST.set(lost.total())
        for name in self._seen:
            RUNNING.labels(loop=name).set(running[name])
        found = [f"{count} of {self._seen[name]} loops {name} ended" for name, count in sorted(lost.items())]
        silent = self._clock() - (beat if (beat := self._beat()) else self._clock())
        if silent > STALE_SECONDS:
            found.append(f"the span inserter has not finished a round for {silent:.0f} s")
        return found


async def database_answers(app: Any) -> bool:
    """True when the database answers: restarting before that would only loop."""
    try:
        async with asyncio.timeout(DATABASE_SECONDS), app.state.db() as session:
            await (await session.connection()).exec_driver_sql("SELECT 1")
    except Exception:  # noqa: BLE001 - any failure is the answer
        return False
    return True


async def look(app: Any, watch: Watch, before: list[str]) -> tuple[list[str], bool]:
    """One look: the faults, and whether the process must end (seen twice in a row, and the database answers)."""
    faults = watch.faults(running_loops())
    return faults, bool(faults and before) and await database_answers(app)


async def keep_watch(app: Any, watch: Watch, end: Callable[[], None] = terminate) -> None:
    """Look every INTERVAL_SECONDS until the process must end."""
    faults: list[str] = []
    over = False
    while not over:
        await asyncio.sleep(INTERVAL_SECONDS)
        try:
            faults, over = await look(app, watch, faults)
        except Exception:
            logger.exception("could not look after Phoenix's loops; trying again")
    delay = STAGGER_SECONDS * (int(os.environ.get("AGENTSTACK_REPLICA", "1")) - 1)
    logger.error("Phoenix must restart: %s. Restarting in %.0f s.", "; ".join(faults), delay)
    await asyncio.sleep(delay)
    end()


class Watchdog(BaseHTTPMiddleware):
    """Keeps watch from the application's start to its end; requests pass untouched."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry: the lifespan call lasts as long as Phoenix runs."""
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return
        task = asyncio.create_task(keep_watch(scope["app"], Watch()))
        try:
            await self.app(scope, receive, send)
        finally:
            task.cancel()
