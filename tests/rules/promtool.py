"""Finds promtool, Prometheus' own checker; the tests here decide nothing without it.

In this order: AGENTSTACK_PROMTOOL, PATH, the cache (of the recipe of today's Prometheus image), that image in Docker's
engine (copied out of it, no container runs), and last a build from the Go module of the image's recipe (minutes).
What was copied or built is kept in the cache, so that the next run needs neither Docker nor Go.
"""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from images import BUILT_FILE
from images.golang import compile_programs
from images.recipes import GoStep, load_recipe, recipe_key
from images.shell import BuildError, Step

ROOT: Final = Path(__file__).resolve().parents[2]
MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
REMEDY: Final = (
    "put promtool of Prometheus 3 on PATH or name it in AGENTSTACK_PROMTOOL; or run `make images`; or install Go, from "
    "whose modules it is built"
)


def _architecture() -> str:
    machine = os.uname().machine
    return MACHINES.get(machine, machine)


def _cached() -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = recipe_key("prometheus", _architecture())[:16]
    return root / "agentstack" / "promtool" / key / "promtool"


def _from_image(target: Path) -> bool:
    """Copy it out of the local image, if the engine and the image are there."""
    if not BUILT_FILE.is_file() or shutil.which("docker") is None:
        return False
    image = json.loads(BUILT_FILE.read_text()).get("prometheus", {}).get("id", "")
    made = subprocess.run(["docker", "create", image], capture_output=True, text=True, check=False, timeout=60)
    if made.returncode:
        return False
    container = made.stdout.strip()
    draft = target.with_suffix(".new")
    copied = subprocess.run(
        ["docker", "cp", f"{container}:/bin/promtool", str(draft)], capture_output=True, check=False, timeout=60
    )
    subprocess.run(["docker", "rm", container], capture_output=True, check=False, timeout=60)
    if copied.returncode:
        return False
    draft.replace(target)
    return True


def _built(target: Path) -> None:
    """Compile it from the module that the image is made of."""
    recipe = load_recipe("prometheus").go
    assert recipe is not None
    only = GoStep(module=recipe.module, tags=recipe.tags, programs={"promtool": recipe.programs["promtool"]})
    log = ROOT / ".agentstack" / "logs" / "promtool.log"
    compile_programs("prometheus", only, target.parent, _architecture(), Step("promtool", log, print))


@cache
def promtool() -> Path:
    """The program. A run without it fails: it is no gap that may stay green."""
    named = os.environ.get("AGENTSTACK_PROMTOOL") or shutil.which("promtool")
    if named:
        return Path(named)
    kept = _cached()
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        try:
            if not _from_image(kept):
                _built(kept)
        except BuildError as error:
            pytest.fail(f"no promtool: {error}; {REMEDY}", pytrace=False)
    return kept


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run promtool in a folder; the caller looks at the exit code."""
    return subprocess.run(
        [str(promtool()), *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=900
    )
