"""Finding a Docker engine, or installing and starting one where there is none.

An engine that answers is used as it is. One is installed and started only if nothing answers *and* no dockerd runs; one
that somebody else started is never stopped, and neither is ours: it serves what runs on it.
"""

import json
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tools.console import Failure, Progress, capture, must_run, succeeds, tail
from tools.layout import Layout

START_SECONDS: Final = 90
APT_SECONDS: Final = 900
NOFILE: Final = 1_048_576
"""What Docker's own unit file asks for; a machine's hard limit may be lower."""

_STARTED: Final[list["subprocess.Popen[bytes]"]] = []
"""The engine that this run started: it outlives us, so nobody waits for it."""


def answers(env: Mapping[str, str] | None = None) -> bool:
    """Whether the engine that `docker` is pointed at answers."""
    return succeeds(["docker", "version", "--format", "{{.Server.Version}}"], env, timeout_seconds=20)


def dockerd_runs(proc: Path = Path("/proc")) -> bool:
    """Whether any dockerd process exists on this machine."""
    for comm in proc.glob("[0-9]*/comm"):
        try:
            if comm.read_text(encoding="utf-8").strip() == "dockerd":
                return True
        except OSError:
            continue
    return False


def host_of_context() -> str | None:
    """DOCKER_HOST for what only reads that variable, where the endpoint comes from a docker context.

    None where the default socket is meant, where DOCKER_HOST is set already, or where the context needs more than a
    host (TLS material).
    """
    if os.environ.get("DOCKER_HOST"):
        return os.environ["DOCKER_HOST"]
    try:
        contexts = json.loads(capture(["docker", "context", "inspect"]))
    except (Failure, json.JSONDecodeError):
        return None
    endpoint = contexts[0].get("Endpoints", {}).get("docker", {}) if contexts else {}
    host = str(endpoint.get("Host") or "")
    if not contexts or contexts[0].get("Name") == "default" or not host or contexts[0].get("TLSMaterial"):
        return None
    return host


def become_root_hint(what: str) -> str:
    return f"run it as root (`sudo make ...`), or {what} yourself and run the same command again"


def client_package() -> str:
    """The Debian package that holds the `docker` command: newer releases have one for it alone."""
    shown = subprocess.run(["apt-cache", "show", "docker-cli"], capture_output=True, check=False)
    return "docker-cli" if shown.returncode == 0 else "docker.io"


def apt_install(layout: Layout, progress: Progress, *packages: str) -> None:
    """Install Debian packages.

    Raises:
        Failure: without apt or root, or when apt fails.
    """
    names = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise Failure(f"{names} is missing and this machine has no apt-get", f"install {names} by your system's means")
    if os.geteuid() != 0:
        raise Failure(
            f"{names} is missing and installing it needs root", become_root_hint(f"`apt-get install {names}`")
        )
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    log = layout.logs / "apt.log"
    with progress.step(f"installing {names} by apt"):
        must_run(
            ["apt-get", "update"],
            log,
            "apt-get update",
            "is the package mirror reachable?",
            env=env,
            timeout_seconds=APT_SECONDS,
        )
        must_run(
            ["apt-get", "install", "--yes", "--no-install-recommends", *packages],
            log,
            f"apt-get install {names}",
            "see the lines above; then run the same command again",
            env=env,
            timeout_seconds=APT_SECONDS,
        )


def raise_file_limit() -> None:
    """As many open files as the machine allows, at most what Docker asks for. Runs in the child before dockerd."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = NOFILE if hard == resource.RLIM_INFINITY else min(NOFILE, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def start(layout: Layout, progress: Progress) -> None:
    """Start dockerd: by systemd where it runs, otherwise as a process of its own with log and pid file.

    Raises:
        Failure: when it does not answer within 90 s; with the end of its log.
    """
    log = layout.logs / "dockerd.log"
    process: subprocess.Popen[bytes] | None = None
    if Path("/run/systemd/system").is_dir():
        must_run(
            ["systemctl", "start", "docker"],
            log,
            "systemctl start docker",
            "see `journalctl -u docker`",
            timeout_seconds=START_SECONDS,
        )
    else:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            process = subprocess.Popen(
                ["dockerd"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=raise_file_limit,  # noqa: PLW1509 - no threads yet, and the limit is the child's alone
            )
        _STARTED.append(process)
        (layout.home / "dockerd.pid").write_text(f"{process.pid}\n", encoding="utf-8")
    with progress.step("starting the Docker engine"):
        wait(lambda: process is not None and process.poll() is not None, log)


def wait(gone: Callable[[], bool], log: Path, seconds: float = START_SECONDS) -> None:
    """Until the engine answers.

    Raises:
        Failure: when it ended or does not answer in time.
    """
    deadline = time.monotonic() + seconds
    while not answers():
        if gone():
            raise Failure(
                f"the Docker engine ended while starting; the end of {log}:\n{tail(log)}",
                "mend what the log says (cgroups? iptables? an old docker.pid?), then run the same command again",
            )
        if time.monotonic() > deadline:
            raise Failure(
                f"the Docker engine does not answer after {seconds:.0f} s; the end of {log}:\n{tail(log)}",
                "run the same command again, or start Docker by hand and look at its log",
            )
        time.sleep(0.3)


def ensure_engine(layout: Layout, progress: Progress, *, runs: Callable[[], bool] = dockerd_runs) -> None:
    """A Docker engine that answers.

    Raises:
        Failure: with what stands in the way.
    """
    if shutil.which("docker") is not None and answers():
        return
    if os.environ.get("DOCKER_HOST") or os.environ.get("DOCKER_CONTEXT"):
        asked = os.environ.get("DOCKER_HOST") or f"context {os.environ['DOCKER_CONTEXT']}"
        raise Failure(
            f"the Docker engine that you asked for ({asked}) does not answer",
            "start it, or unset DOCKER_HOST and DOCKER_CONTEXT",
        )
    if runs():
        if shutil.which("docker") is None:
            apt_install(layout, progress, client_package())
        with progress.step("waiting for the Docker engine that is running"):
            deadline = time.monotonic() + START_SECONDS
            while not answers():
                if time.monotonic() > deadline:
                    raise Failure(
                        "a dockerd runs on this machine but does not answer this user",
                        "may you use its socket (`id -nG` should list docker, or be root)? Does its context point "
                        "elsewhere (`docker context ls`)? It was not touched",
                    )
                time.sleep(0.5)
        return
    if shutil.which("dockerd") is None or shutil.which("docker") is None:
        apt_install(layout, progress, "docker.io", "iptables", "ca-certificates")
        if shutil.which("docker") is None:  # newer Debian has the client in a package of its own
            apt_install(layout, progress, "docker-cli")
        if answers():  # the package's own service
            return
    elif os.geteuid() != 0:
        raise Failure("no Docker engine runs, and starting one needs root", become_root_hint("start Docker"))
    start(layout, progress)
