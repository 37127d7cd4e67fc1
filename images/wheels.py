"""Python packages for an image's Python, unpacked on the host: wheels only, every file checked against its hash."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from images.recipes import LOCAL_DIR, WheelStep
from images.shell import BuildError, Step

_MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
# Newest first; the image's libc (Debian trixie, 2.41) satisfies them all.
_MANYLINUX: Final = (
    "manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17", "manylinux2014",
    "manylinux_2_12", "manylinux2010", "manylinux_2_5", "manylinux1", "linux",
)  # fmt: skip


def _pip(scratch: Path, step: Step) -> list[str]:
    """A pip command: this interpreter's, the system's, or one in a fresh virtual environment."""
    for command in ([sys.executable, "-m", "pip"], ["python3", "-m", "pip"], ["pip3"]):
        if shutil.which(command[0]) is None:
            continue
        if subprocess.run([*command, "--version"], capture_output=True, check=False).returncode == 0:
            return command
    step.run(
        [sys.executable, "-m", "venv", str(scratch / "pip")],
        what="making an environment for pip",
        remedy="install pip (Debian: apt-get install python3-pip)",
    )
    return [str(scratch / "pip" / "bin" / "python"), "-m", "pip"]


def unpack_wheels(name: str, wheels: WheelStep, target: Path, arch: str, scratch: Path, step: Step) -> None:
    """Unpack every package of the recipe's requirements file into the folder `target`.

    pip runs on the host, so the host's certificate settings hold; the image's own Python (`wheels.python`) need not
    be installed here: only wheels are taken, and they are only unpacked.
    """
    machine = _MACHINES.get(arch)
    if machine is None:
        raise BuildError(f"{name}: no wheels are known for the architecture {arch}.", "build on amd64 or arm64")
    tags = [f"--platform={libc}_{machine}" for libc in _MANYLINUX]
    digits = wheels.python.replace(".", "")
    step.run(
        [
            *_pip(scratch, step),
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
            "--no-deps",
            "--require-hashes",
            "--only-binary=:all:",
            "--no-compile",
            # Resolved for the image's Python when the file was locked; pip would compare with the host's.
            "--ignore-requires-python",
            f"--python-version={wheels.python}",
            "--implementation=cp",
            f"--abi=cp{digits}",
            "--abi=abi3",
            "--abi=none",
            *tags,
            "--platform=any",
            f"--target={target}",
            f"--requirement={LOCAL_DIR / name / wheels.requirements}",
        ],
        what=f"fetching and unpacking {wheels.requirements}",
        remedy="check that pip reaches its package index (`pip download arize-phoenix` on this host)",
    )
    # Console scripts would name the host's interpreter.
    shutil.rmtree(target / "bin", ignore_errors=True)
