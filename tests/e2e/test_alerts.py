"""Alerts on the living stack: none while all is well; each that is provoked is told, by a real webhook, and taken back.

The healthy traffic must run before anything is broken on purpose (this is the first file after birth). It takes as many
minutes as AGENTSTACK_HEALTHY_MINUTES says, 3 without it; a release is proven with 10.
"""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import StackUnderTest, docker, inspect, poll
from tests.e2e.test_demo import demo, ended

pytestmark = [pytest.mark.e2e, pytest.mark.alerts]

MINUTES = int(os.environ.get("AGENTSTACK_HEALTHY_MINUTES", "3"))
RATE = 1
"""Traces per second."""
SERVER = """
import http.server
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers["content-length"])).decode(), flush=True)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *arguments):
        pass
http.server.HTTPServer(("", 8080), Hook).serve_forever()
"""
"""Prints what it is told, one JSON document a line."""


def test_healthy_traffic_raises_no_alert(stack: StackUnderTest) -> None:
    poll(lambda: firing(stack) == {"Watchdog"}, 300, "nothing but Watchdog fires before", every=5)
    began = time.time()
    totals = ended(demo(stack, traces=MINUTES * 60 * RATE, rate=RATE), MINUTES * 60 + 180)
    assert totals["errors"] > 0, "a few calls fail, as they do"
    took = int(time.time() - began)
    fired = stack.query(f'max by (alertname) (max_over_time(ALERTS{{alertstate="firing"}}[{took}s]))')
    assert {row["metric"]["alertname"] for row in fired} == {"Watchdog"}


def firing(stack: StackUnderTest) -> set[str]:
    """Names of the alerts that fire now."""
    return {row["metric"]["alertname"] for row in stack.query('ALERTS{alertstate="firing"}')}


@dataclass(frozen=True)
class Hook:
    """A webhook on the stack's way out, and what it was told."""

    container: str

    def told(self, status: str, **labels: str) -> list[dict[str, Any]]:
        """Alerts with this status and these labels, as they were posted."""
        found: list[dict[str, Any]] = []
        for line in docker("logs", self.container).splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                alerts: list[dict[str, Any]] = json.loads(line)["alerts"]
                found += [a for a in alerts if a["status"] == status and labels.items() <= a["labels"].items()]
        return found

    def hears(self, status: str, seconds: float, **labels: str) -> dict[str, Any]:
        """The first alert that is told with this status and these labels, within ``seconds``."""
        return poll(lambda: self.told(status, **labels), seconds, f"{status} {labels} at the webhook", every=2)[0]


@pytest.fixture(scope="module")
def hook(stack: StackUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hook]:
    """The stack with a webhook, small budgets, and thresholds that a test can cross; as it was afterwards."""
    folder = tmp_path_factory.mktemp("hook")
    name = f"agentstack-{stack.name}-test-hook"
    url = folder / "url"
    url.write_text(f"http://{name}:8080/\n")
    stack.write_settings(
        {
            "alerting": {
                "receivers": {"test": {"type": "webhook", "urlFile": str(url)}},
                "deadMansSwitch": {"urlFile": str(url), "intervalSeconds": 20},
                "groupWaitSeconds": 0,
                "groupIntervalSeconds": 5,
                "budget": {"perHourUsd": 0.01},
                # Every certificate of ours lives 365 days.
                "thresholds": {"certificateDays": 365, "silentMinutes": 5},
                "alwaysSending": ["support-chat"],
            }
        }
    )
    docker("rm", "--force", name, check=False)
    try:
        stack.up()
        image = inspect(stack.container("phoenix"))["Image"]
        network = f"agentstack-{stack.name}-egress-network"
        place = ("--name", name, "--network", network)
        docker("run", "--detach", *place, "--entrypoint", "/usr/bin/python3", image, "-c", SERVER)
        yield Hook(name)
    finally:
        docker("rm", "--force", name, check=False)
        stack.settings.pop("alerting", None)
        stack.write_settings()
        stack.up()


def in_alertmanager(stack: StackUnderTest, name: str) -> list[dict[str, Any]]:
    """The alerts of a name that Alertmanager holds."""
    answer = stack.alertmanager.get("/api/v2/alerts", params={"filter": f'alertname="{name}"'})
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()
    return found


def test_the_dead_mans_switch_hears_again_and_again(stack: StackUnderTest, hook: Hook) -> None:
    poll(lambda: len(hook.told("firing", alertname="Watchdog")) >= 3, 180, "Watchdog told three times", every=2)


def test_money_that_is_spent_is_told(stack: StackUnderTest, hook: Hook) -> None:
    ended(demo(stack, traces=40, rate=0, seed=11), 180)
    alert = hook.hears("firing", 180, alertname="LlmCostPerHourHigh")
    assert alert["labels"]["severity"] == "critical"
    assert "budget 0.01 USD" in alert["annotations"]["description"]
    assert alert["annotations"]["runbook_url"].endswith("LlmCostPerHourHigh.md")
    assert in_alertmanager(stack, "LlmCostPerHourHigh")


def test_a_certificate_that_ends_is_told(stack: StackUnderTest, hook: Hook) -> None:
    hook.hears("firing", 240, alertname="CertificateExpiresSoon", component="phoenix")


def test_phoenix_down_is_told_alone_and_taken_back(stack: StackUnderTest, hook: Hook) -> None:
    """Its consequences are held back: the edge that finds nobody, the probes that fail."""
    phoenix = stack.container("phoenix")
    docker("stop", phoenix, timeout=120)
    try:
        hook.hears("firing", 240, alertname="ServiceDown", component="phoenix")
        poll(lambda: {"EdgeBackendDown", "ServiceUnreachable"} <= firing(stack), 240, "the consequences fire", every=2)
        assert [alert["status"]["state"] for alert in in_alertmanager(stack, "EdgeBackendDown")] == ["suppressed"]
        for name in ("EdgeBackendDown", "ServiceUnreachable"):
            assert not hook.told("firing", alertname=name), f"{name} is a consequence"
    finally:
        docker("start", phoenix)
    hook.hears("resolved", 300, alertname="ServiceDown", component="phoenix")
    poll(lambda: not in_alertmanager(stack, "ServiceDown"), 60, "and gone from Alertmanager", every=2)


def test_memory_that_fills_is_told_and_taken_back(stack: StackUnderTest, hook: Hook) -> None:
    phoenix = stack.container("phoenix")
    limit = inspect(phoenix)["HostConfig"]["Memory"]
    used = float(stack.query('container_memory_usage_total{service="phoenix"}')[0]["value"][1])
    filling = int(0.93 * limit - used)
    program = f"import time; block = bytearray({filling}); block[::4096] = b'x' * len(block[::4096]); time.sleep(600)"
    with subprocess.Popen(["docker", "exec", phoenix, "/usr/bin/python3", "-c", program]) as running:
        try:
            hook.hears("firing", 300, alertname="ContainerMemoryHigh", service="phoenix")
        finally:
            running.terminate()
            # The client's end does not end what it started in there.
            docker("exec", phoenix, "/usr/bin/python3", "-c", KILL, check=False)
    hook.hears("resolved", 240, alertname="ContainerMemoryHigh", service="phoenix")


KILL = """
import os, pathlib, signal
for entry in pathlib.Path("/proc").iterdir():
    if entry.name.isdigit() and int(entry.name) != os.getpid():
        try:
            if b"block = bytearray" in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            pass
"""
"""Ends the process that fills the memory, from inside of its container."""


def test_a_sender_that_stops_is_told(stack: StackUnderTest, hook: Hook) -> None:
    """`support-chat` must always send, the settings say; the last of its traffic was minutes ago."""
    hook.hears("firing", 600, alertname="LlmTrafficStopped", service="support-chat")
    ended(demo(stack, traces=30, rate=0, seed=13), 180)
    hook.hears("resolved", 240, alertname="LlmTrafficStopped", service="support-chat")


def test_alertmanager_checks_its_own_configuration(stack: StackUnderTest, hook: Hook) -> None:
    """With every kind of receiver that the settings of this test have: amtool finds no fault in what runs."""
    out = docker("exec", stack.container("alertmanager"), "amtool", "check-config", "/etc/agentstack/alertmanager.yml")
    assert "SUCCESS" in out


def test_a_silence_holds_an_alert_back(stack: StackUnderTest, hook: Hook, tmp_path: Path) -> None:
    """The runbooks' way: amtool inside the container, with the login that stands there."""
    amtool = (
        "exec", stack.container("alertmanager"), "amtool", "--http.config.file=/etc/agentstack/amtool.yml",
        "--alertmanager.url=https://alertmanager:9093",
    )  # fmt: skip
    words = ("alertname=Watchdog", "--duration=10m", "--comment=test", "--author=test")
    identity = docker(*amtool, "silence", "add", *words).strip()
    try:
        poll(
            lambda: [alert["status"]["state"] for alert in in_alertmanager(stack, "Watchdog")] == ["suppressed"],
            60,
            "Watchdog is silenced",
        )
    finally:
        docker(*amtool, "silence", "expire", identity)
