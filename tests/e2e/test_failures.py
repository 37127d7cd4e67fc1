"""Pulled plugs: frozen, killed, gone for a while. All comes back by itself; what was acknowledged is not lost."""

import contextlib
import os
import signal
import time

import httpx
import pytest

from tests.e2e.stack import StackUnderTest, docker, inspect, poll
from tests.e2e.telemetry import Sender, ids, llm_span, request, send_http

pytestmark = pytest.mark.e2e

EVERY_SERVICE = [
    "backup",
    "alertmanager",
    "blackbox-exporter",
    "collector",
    "docker-proxy",
    "edge-otlp",
    "edge-ui",
    "grafana",
    "node-exporter",
    "pgbouncer",
    "phoenix",
    "postgres",
    "postgres-exporter",
    "prometheus",
]


def project_of(test: str) -> str:
    return f"{test}-{os.urandom(3).hex()}"


def all_healthy(stack: StackUnderTest) -> bool:
    return all(inspect(name)["State"].get("Health", {}).get("Status") == "healthy" for name in stack.containers())


def kill(stack: StackUnderTest, service: str) -> None:
    """SIGKILL by the host's pid: `docker kill` would disarm the restart policy."""
    os.kill(stack.host_pid(service), signal.SIGKILL)


def wait_for_recovery(stack: StackUnderTest, seconds: float = 240) -> None:
    poll(lambda: all_healthy(stack), seconds, "every container healthy again")


def test_every_killed_service_comes_back_and_nothing_acknowledged_is_lost(stack: StackUnderTest) -> None:
    """Phoenix stores before it acknowledges (our middleware), so it is no exception."""
    project = project_of("killed")
    wait_for_recovery(stack)
    with Sender(stack, project, stack.token("chat"), spans_per_second=15) as sender:
        poll(lambda: len(sender.acknowledged) > 30, 60, "spans acknowledged before the first kill")
        for service in EVERY_SERVICE:
            before = inspect(stack.container(service))["State"]["StartedAt"]
            kill(stack, service)
            poll(
                lambda s=service, b=before: inspect(stack.container(s))["State"]["StartedAt"] != b,  # type: ignore[misc]
                90,
                f"{service} restarted",
            )
            if service in {"collector", "phoenix", "postgres", "edge-otlp"}:
                count = len(sender.acknowledged)
                poll(lambda c=count: len(sender.acknowledged) > c + 15, 120, f"acknowledged after {service}")  # type: ignore[misc]
        wait_for_recovery(stack)
    acknowledged = set(sender.acknowledged)
    assert len(acknowledged) > 150
    poll(lambda: acknowledged <= stack.span_ids(project), 180, "every acknowledged span in Phoenix", every=3)


def test_without_the_disk_queue_the_same_check_finds_the_loss(stack: StackUnderTest) -> None:
    """The check above can fail: what is only in the memory of a killed collector is lost.

    The collector's queue is wiped while it is dead, which is what a memory queue amounts to.
    """
    project = project_of("wiped")
    wait_for_recovery(stack)
    phoenix = stack.container("phoenix")
    docker("pause", phoenix)
    try:
        sent = [llm_span() for _ in range(20)]
        poll(
            lambda: send_http(stack, request(project, sent), stack.token("chat")).status_code == httpx.codes.OK,
            60,
            "acknowledged while Phoenix is paused",
        )
        collector = stack.container("collector")
        docker("stop", "--time", "0", collector, timeout=120)
        volume = f"agentstack-{stack.name}-collector-queue"
        mounts = [m["Name"] for m in inspect(collector)["Mounts"] if m.get("Name", "").startswith(volume)]
        assert mounts, "the collector has a queue volume"
        image = inspect(stack.container("postgres"))["Image"]
        docker(
            *("run", "--rm", "--network", "none", "--user", "0", "--entrypoint", "/bin/sh"),
            *("--volume", f"{mounts[0]}:/queue", image, "-c", "rm -rf /queue/*"),
            timeout=180,
        )
        docker("start", collector, timeout=120)
    finally:
        docker("unpause", phoenix)
    wait_for_recovery(stack)
    marker = [llm_span()]
    assert send_http(stack, request(project, marker), stack.token("chat")).status_code == httpx.codes.OK
    poll(lambda: ids(marker) <= stack.span_ids(project), 90, "a later span in Phoenix")
    assert not ids(sent) & stack.span_ids(project)


def test_frozen_services_go_unhealthy_and_restart_by_themselves(stack: StackUnderTest) -> None:
    """All at once, which is one wait instead of thirteen: each is judged by its own probe alone."""
    wait_for_recovery(stack, 300)
    before = {service: inspect(stack.container(service))["State"]["StartedAt"] for service in EVERY_SERVICE}
    frozen = [pid for service in EVERY_SERVICE for pid in stack.host_pids(service)]
    seen_unhealthy: set[str] = set()

    def restarted() -> set[str]:
        for service in EVERY_SERVICE:
            state = inspect(stack.container(service))["State"]
            if state["Health"]["Status"] == "unhealthy":
                seen_unhealthy.add(service)
        return {s for s, at in before.items() if inspect(stack.container(s))["State"]["StartedAt"] != at}

    for pid in frozen:
        with contextlib.suppress(ProcessLookupError):  # a child that came and went
            os.kill(pid, signal.SIGSTOP)
    try:
        poll(lambda: restarted() == set(EVERY_SERVICE), 300, "every service restarted by its own probe", every=1)
    finally:
        for pid in frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    assert seen_unhealthy == set(EVERY_SERVICE)
    wait_for_recovery(stack, 300)


def test_postgresql_down_for_a_minute_delays_spans_and_loses_none(stack: StackUnderTest) -> None:
    project = project_of("database-down")
    wait_for_recovery(stack, 300)
    docker("stop", stack.container("postgres"), timeout=180)
    stopped = time.monotonic()
    try:
        with Sender(stack, project, stack.token("chat"), spans_per_second=10) as sender:
            poll(lambda: time.monotonic() - stopped > 60, 90, "a minute")
    finally:
        docker("start", stack.container("postgres"), timeout=120)
    acknowledged = set(sender.acknowledged)
    assert len(acknowledged) > 200
    wait_for_recovery(stack, 300)
    poll(lambda: acknowledged <= stack.span_ids(project), 240, "every acknowledged span in Phoenix", every=3)
