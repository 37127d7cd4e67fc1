"""A run that was killed, on a real engine: the next one removes what it left, keeps data, and goes on.

A project of its own with one network, one data volume and one container; `pulumi` is killed (SIGKILL, with its plugins)
while it waits for the container to become healthy.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.names import Label
from tools import heal
from tools.console import Failure, Progress, capture
from tools.driver import Stack
from tools.layout import ROOT, Layout, layout
from tools.state import environment, read_env, render_env

pytestmark = pytest.mark.engine

NAME = f"t{os.getpid():x}heal"
PROGRAM = f"""
import os
import pulumi
import pulumi_docker as docker

stack = pulumi.get_stack()
labels = [("{Label.STACK}", stack)]
def marked(role, kind):
    return [kind(label=name, value=value) for name, value in [*labels, ("{Label.ROLE}", role)]]
network = docker.Network(
    "net", name=f"agentstack-{{stack}}-net", internal=True, labels=marked("network", docker.NetworkLabelArgs))
data = docker.Volume("data", name=f"agentstack-{{stack}}-data", labels=marked("data", docker.VolumeLabelArgs))
docker.Container(
    "postgres", name=f"agentstack-{{stack}}-postgres", image=os.environ["IMAGE"],
    entrypoints=["sleep"], command=["600"], network_mode="bridge", destroy_grace_seconds=1,
    networks_advanced=[docker.ContainerNetworksAdvancedArgs(name=network.name)],
    labels=marked("service", docker.ContainerLabelArgs),
    volumes=[docker.ContainerVolumeArgs(volume_name=data.name, container_path="/data")],
    healthcheck=docker.ContainerHealthcheckArgs(
        tests=["CMD", os.environ["HEALTH"]], interval="1s", timeout="1s", retries=1),
    wait=True, wait_timeout=600,
    opts=pulumi.ResourceOptions(delete_before_replace=True),
)
"""


def docker(*arguments: str) -> str:
    return capture(["docker", *arguments])


def postgres_image() -> str:
    """An image that this machine has, with `sleep`, `true` and `false` in it."""
    built = ROOT / ".agentstack" / "images.json"
    if built.is_file():
        return str(json.loads(built.read_text())["postgres"]["id"])
    listed = docker("images", "--quiet", "agentstack/postgres").split()
    assert listed, "no PostgreSQL image here: run `make images`"
    return listed[0]


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A stack of its own: project, state, passphrase; what it made is removed afterwards."""
    values = read_env(layout().env.read_text())
    here = Layout(root=tmp_path, home=tmp_path / ".agentstack", cache=tmp_path / "cache")
    here.state.mkdir(parents=True)
    here.passphrase.write_text("for this test alone\n")
    values |= {
        "PULUMI_BACKEND_URL": f"file://{here.state}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(here.passphrase),
    }
    here.env.write_text(render_env(values))
    (tmp_path / "Pulumi.yaml").write_text(
        f"name: agentstack\nruntime: {{name: python, options: {{toolchain: pip, virtualenv: {layout().venv}}}}}\n"
    )
    (tmp_path / f"Pulumi.{NAME}.yaml").write_text("config: {}\n")
    (tmp_path / "__main__.py").write_text(PROGRAM)
    monkeypatch.setenv("IMAGE", postgres_image())
    made = Stack(here, NAME, Progress())
    assert made.env["PULUMI_BACKEND_URL"] == environment(here)["PULUMI_BACKEND_URL"]
    yield made
    found = heal.look(made.env, NAME)
    for thing in found.containers:
        docker("rm", "--force", thing.id)
    for thing in found.networks:
        docker("network", "rm", thing.id)
    for thing in found.volumes:
        docker("volume", "rm", "--force", thing.id)
    shutil.rmtree(here.home, ignore_errors=True)


def killed_up(stack: Stack) -> None:
    """Run `pulumi up` and kill it, with all it started, once Docker has the container."""
    env = {**stack.env, "HEALTH": "false"}
    with subprocess.Popen(
        ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", NAME],
        env=env,
        cwd=stack.layout.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 120
        while not docker("ps", "--quiet", "--filter", f"label={Label.STACK}={NAME}"):
            assert process.poll() is None, "pulumi ended before it was killed"
            assert time.monotonic() < deadline, "no container within two minutes"
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_killed_run_is_mended_and_the_next_one_goes_on(stack: Stack) -> None:
    stack.select()
    assert (stack.layout.root / f"Pulumi.{NAME}.yaml").read_text() == "config: {}\n"
    killed_up(stack)
    data = f"agentstack-{NAME}-data"
    left = heal.look(stack.env, NAME)
    assert [thing.role for thing in left.containers] == ["service"]
    marker = "kept through it all"
    docker("exec", left.containers[0].id, "sh", "-c", f"echo {marker} > /data/marker")

    # Before: the lock is in the way.
    assert list((stack.layout.state / ".pulumi" / "locks").rglob("*.json"))
    assert heal.remove_dead_locks(stack.layout.state, NAME) == 1
    assert heal.known_of(stack.export()).pending >= 1

    state = heal.heal(stack)
    assert heal.known_of(state).pending == heal.known_of(stack.export()).pending == 0
    after = heal.look(stack.env, NAME)
    assert after.containers == ()
    assert data in {thing.name for thing in after.volumes}

    stack.env["HEALTH"] = "true"
    stack.operation("up", "pulumi up", "--skip-preview")
    now = heal.look(stack.env, NAME)
    assert len(now.containers) == 1
    assert docker("exec", now.containers[0].id, "cat", "/data/marker").strip() == marker
    assert heal.heal(stack) == stack.export(), "a second look finds nothing to mend"
    assert heal.look(stack.env, NAME) == now

    # The same engine seen by a state that knows nothing of it: another checkout. Nothing is touched.
    stranger = Stack(stack.layout, NAME, Progress())
    foreign_home = Layout(root=stack.layout.root, home=stack.layout.root / "other", cache=stack.layout.cache)
    (foreign_home.state).mkdir(parents=True)
    stranger.env["PULUMI_BACKEND_URL"] = f"file://{foreign_home.state}"
    stranger.select()
    with pytest.raises(Failure, match="another checkout's"):
        heal.heal(stranger)
    assert heal.look(stack.env, NAME) == now

    stack.operation("destroy", "pulumi destroy", "--skip-preview")
    assert heal.look(stack.env, NAME) == heal.Found()
