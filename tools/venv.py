"""The virtual environment `.venv`, exactly as requirements.lock says, made anew when the lock changes."""

import hashlib
import importlib.util
import os
import shutil
import sys
from pathlib import Path

from tools.console import Failure, Progress, capture, must_run
from tools.docker_engine import apt_install
from tools.layout import Layout

KEY_FILE = ".agentstack-lock"


def key(layout: Layout) -> str:
    """What makes an environment stale: the lock, the Python it is made by, where it lies."""
    digest = hashlib.sha256(layout.lock.read_bytes())
    digest.update(f"{sys.version_info[:3]} {layout.venv}".encode())
    return digest.hexdigest()


def is_current(layout: Layout) -> bool:
    """Whether `.venv` is what the lock asks for."""
    stamp = layout.venv / KEY_FILE
    return (
        (layout.venv / "bin" / "python").exists()
        and stamp.is_file()
        and stamp.read_text(encoding="utf-8") == key(layout)
    )


def connect_checkout(layout: Layout) -> None:
    """Make the checkout importable from anywhere, and `agentstack` a command, without installing the project."""
    python = layout.venv / "bin" / "python"
    site = Path(capture([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    (site / "agentstack-checkout.pth").write_text(f"{layout.root}\n", encoding="utf-8")
    script = layout.venv / "bin" / "agentstack"
    script.write_text(f"#!{python}\nfrom agentstack.cli import app\n\napp()\n", encoding="utf-8")
    script.chmod(0o755)


def pip_install(layout: Layout) -> list[str]:
    """`pip install` of the environment, taking only wheels whose hashes are locked."""
    return [
        *(str(layout.venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--no-input", "--require-hashes", "--only-binary", ":all:"),
    ]


def ensure_venv(layout: Layout, progress: Progress) -> None:
    """A virtual environment that matches the lock, hash by hash.

    Raises:
        Failure: when it can't be made.
    """
    if is_current(layout):
        return
    if importlib.util.find_spec("ensurepip") is None:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        apt_install(layout, progress, f"{version}-venv" if shutil.which(version) else "python3-venv")
    log = layout.logs / "venv.log"
    with progress.step("making the virtual environment .venv"):
        must_run(
            [sys.executable, "-m", "venv", "--clear", str(layout.venv)],
            log,
            "making the virtual environment",
            "install python3-venv, then run the same command again",
        )
        must_run(
            [*pip_install(layout), "--requirement", str(layout.lock)],
            log,
            "installing the locked packages",
            "is the package index reachable (`pip download pip`)? Then run the same command again",
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            timeout_seconds=1800,
        )
        connect_checkout(layout)
        (layout.venv / KEY_FILE).write_text(key(layout), encoding="utf-8")


def require(layout: Layout) -> Path:
    """The environment's Python.

    Raises:
        Failure: before `make setup`.
    """
    if not is_current(layout):
        raise Failure(".venv is missing or older than requirements.lock", "run `make setup`")
    return layout.venv / "bin" / "python"
