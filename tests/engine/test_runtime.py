"""The runtime on a real engine: what fails stays failed until it is mended, and a change touches only what must change.

One project whose program declares what a scene says, through the product's own ContainerRuntime; each test is a scene.
The containers run shell scripts in the PostgreSQL image.
"""

import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from components.names import Label
from tests.e2e.stack import docker, inspect, poll
from tests.engine.mini import Project, project

pytestmark = pytest.mark.engine

PROGRAM = """
import json
from pathlib import Path

import pulumi

from components.engine import inspect_engine
from components.foundation import lay_foundation
from components.names import NetworkName, Service
from components.settings import load_settings
from components.workload import Attachment, ConfigFile, DataVolume, Health, Job, Resources, Workload

here = Path(__file__).parent
settings = load_settings(json.loads((here / "settings.json").read_text()))
scene = json.loads((here / "scene.json").read_text())
stack = pulumi.get_stack()
context, _ = lay_foundation(stack, settings, inspect_engine(stack))
runtime = context.runtime
image = context.images["postgres"]
on = (Attachment(NetworkName.PHOENIX),)
volume = DataVolume(name="kept", target="/data", mode="0777")
options = pulumi.ResourceOptions(parent=runtime)
files = lambda texts: {path: ConfigFile(text) for path, text in texts.items()}
holder = runtime.run(Workload(
    service=Service.POSTGRES, image=image, resources=Resources(0.5, 32), networks=on, uid=999, gid=999,
    health=None, exceptions={"no-healthcheck": "holds the volume"}, entrypoint=("/bin/sleep",), command=("7200",),
    volumes=(volume,), stop_grace_seconds=1,
), options)
after = holder.containers
shared = DataVolume(name="kept", target="/data", shared=True)
if "job" in scene:
    after = (runtime.run_job(Job(
        name="reconcile", service=Service.POSTGRES, image=image, entrypoint=("/bin/sh", "-c"),
        command=(scene["job"],), uid=999, gid=999, volumes=(shared,), start_after=after,
    ), options),)
for name, wanted in scene["services"].items():
    runtime.run(Workload(
        service=Service(name), image=image, resources=Resources(0.5, 32),
        networks=on if wanted.get("network") else (), uid=999, gid=999,
        health=Health(
            probe=("exec", "--", "/bin/sh", "-c", wanted["probe"]), interval_seconds=1, timeout_seconds=5, retries=2,
            start_period_seconds=1, wait_timeout_seconds=wanted.get("wait", 60),
            restart_after=wanted.get("restart_after", 0), reload_signal=wanted.get("reload_signal"),
        ),
        entrypoint=("/bin/sh", "-c"), command=(wanted["script"],), stop_grace_seconds=1, tmpfs={"/tmp": 1},
        files=files(wanted.get("files", {})), live_files=files(wanted.get("live", {})), volumes=(shared,),
        start_after=after,
    ), options)
"""

LOCAL = {"imageSource": "local"}
SLEEP = "exec sleep 7200"
ALIVE = "true"
CALM: Mapping[str, Any] = {
    "node-exporter": {"script": SLEEP, "probe": ALIVE, "files": {"a.conf": "first"}},
    "blackbox-exporter": {"script": SLEEP, "probe": ALIVE, "files": {"b.conf": "constant"}},
}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project, with two calm services up."""
    with project(tmp_path_factory.mktemp("runtime") / "project", f"t{os.getpid():x}run", PROGRAM, LOCAL) as made:
        show(made, CALM)
        made.up()
        yield made


def show(runtime: Project, services: Mapping[str, Any], **more: Any) -> None:
    """Set the scene."""
    runtime.scene({"services": services, **more})


def in_volume(runtime: Project, script: str) -> str:
    """Run a script where the data volume is."""
    return docker("exec", runtime.name("postgres"), "sh", "-c", script).strip()


def host_pid(container: str) -> int:
    """The service's process as the host numbers it: docker-init's child."""
    top = int(inspect(container)["State"]["Pid"])
    return int(Path(f"/proc/{top}/task/{top}/children").read_text().split()[0])


def attempt(container: str) -> str:
    return str(inspect(container)["Config"]["Labels"][Label.ATTEMPT])


def test_a_failed_one_shot_fails_every_up_until_its_cause_is_mended(runtime: Project) -> None:
    job = runtime.name("reconcile")
    in_volume(runtime, "rm -f /data/cause-mended")
    before = runtime.started()
    show(runtime, {**CALM, "grafana": {"script": SLEEP, "probe": ALIVE}}, job="test -e /data/cause-mended || exit 3")
    for number in ("1", "2"):
        told = runtime.refused()
        assert f"the one-shot {job} ended with exit code 3" in told
        assert f"`docker logs {job}`" in told
        assert attempt(job) == number
        assert runtime.name("grafana") not in runtime.started(), "it starts after the one-shot, which did not succeed"
        assert {name: runtime.started()[name] for name in before} == before
    in_volume(runtime, "touch /data/cause-mended")
    runtime.up()
    assert attempt(job) == "3"
    assert inspect(job)["State"]["ExitCode"] == 0
    settled = runtime.started()
    assert runtime.name("grafana") in settled
    runtime.up()
    assert runtime.started() == settled, "what succeeded is not run again"


@pytest.mark.parametrize("network", [False, True], ids=["without a network", "on a network"])
def test_an_unhealthy_service_fails_every_up_until_it_is_mended(runtime: Project, network: bool) -> None:
    sick = runtime.name("alertmanager")
    in_volume(runtime, "rm -f /data/well")
    scene = {**CALM, "alertmanager": {"script": SLEEP, "probe": "test -e /data/well", "wait": 5, "network": network}}
    show(runtime, scene)
    for _ in range(2):
        assert "healthy" in runtime.refused()
    in_volume(runtime, "touch /data/well")
    runtime.up()
    assert inspect(sick)["State"]["Health"]["Status"] == "healthy"


def test_a_changed_file_replaces_its_own_service_alone(runtime: Project) -> None:
    show(runtime, CALM)
    runtime.up()
    changed, other = runtime.name("node-exporter"), runtime.name("blackbox-exporter")
    before, volumes = runtime.started(), runtime.volumes()
    show(runtime, {**CALM, "node-exporter": {**CALM["node-exporter"], "files": {"a.conf": "second"}}})
    runtime.up()
    after = runtime.started()
    assert after[changed] != before[changed]
    assert docker("exec", changed, "cat", "/etc/agentstack/a.conf") == "second"
    assert after[other] == before[other]
    gone, come = volumes - runtime.volumes(), runtime.volumes() - volumes
    config = runtime.name("node-exporter-config-")
    assert [name.startswith(config) for name in (*gone, *come)] == [True, True]
    assert {name for name in before if after.get(name) != before[name]} == {changed, *gone}


def test_a_changed_live_file_is_taken_up_without_a_restart(runtime: Project) -> None:
    def scene(text: str) -> dict[str, Any]:
        return {
            name: {
                "script": f"trap 'echo took {sent}: $(cat /etc/agentstack-live/map)' {sent}; "
                "while :; do sleep 60 & wait $!; kill $!; done",
                "probe": ALIVE,
                "live": {"map": text},
                "reload_signal": sent,
            }
            for name, sent in (("edge-otlp", "USR2"), ("collector", "HUP"))
        }

    show(runtime, scene("before"))
    runtime.up()
    names = {"USR2": runtime.name("edge-otlp"), "HUP": runtime.name("collector")}
    # The probe notes what is there at its first look: only then can it see a change.
    for name in names.values():
        poll(lambda n=name: len(inspect(n)["State"]["Health"]["Log"]) > 0, 30, f"{name} was probed")  # type: ignore[misc]
    before = runtime.started()
    show(runtime, scene("after"))
    runtime.up()
    for sent, name in names.items():
        poll(
            lambda n=name, s=sent: f"took {s}: after" in docker("logs", n, check=False),  # type: ignore[misc]
            30,
            f"{name} was sent {sent}",
        )
        assert runtime.started()[name] == before[name]
        assert inspect(name)["RestartCount"] == 0


def test_a_frozen_process_is_restarted_from_inside(runtime: Project) -> None:
    beating = {
        "script": "while :; do date +%s > /tmp/beat; sleep 0.5; done",
        "probe": "test $(( $(date +%s) - $(cat /tmp/beat) )) -lt 4",
        "restart_after": 2,
    }
    show(runtime, {"pgbouncer": beating})
    runtime.up()
    name = runtime.name("pgbouncer")
    identity, started = runtime.started()[name]
    os.kill(host_pid(name), signal.SIGSTOP)
    poll(lambda: inspect(name)["State"]["StartedAt"] != started, 60, "restarted by its own probe")
    poll(lambda: inspect(name)["State"]["Health"]["Status"] == "healthy", 30, "healthy again")
    assert runtime.started()[name][0] == identity, "the same container"
    assert inspect(name)["RestartCount"] == 1


def test_a_data_volume_survives_everything_but_its_name_being_said(runtime: Project) -> None:
    show(runtime, {})
    runtime.up()
    in_volume(runtime, "echo precious > /data/marker")
    volume = runtime.name("kept")
    assert volume in runtime.volumes()
    refused = runtime.pulumi("destroy", "--yes", "--skip-preview", check=False)
    assert refused.returncode != 0
    assert "protected" in refused.stdout
    runtime.pulumi("destroy", "--yes", "--skip-preview", "--exclude-protected")
    assert runtime.started() == {}
    assert runtime.volumes() == {volume}
    runtime.up()
    assert in_volume(runtime, "cat /data/marker") == "precious"
