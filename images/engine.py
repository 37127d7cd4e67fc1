"""The Docker engine, through its command: what the image builds need of it."""

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from images.shell import BuildError, Step, find_program

_REMEDY: Final = "start Docker, and check that `docker version` shows a server for this user"
# The classic builder is in every engine and needs no plugin; BuildKit's client is missing on many machines.
BUILD_ENV: Final = {"DOCKER_BUILDKIT": "0"}
_PROXY_VARIABLES: Final = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def _docker(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = find_program("docker", "install Docker's command (Debian: apt-get install docker.io)")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def architecture() -> str:
    """The engine's architecture, in Go's spelling (amd64, arm64).

    Raises:
        BuildError: the engine does not answer.
    """
    answer = _docker("version", "--format", "{{.Server.Arch}}")
    if answer.returncode != 0 or not answer.stdout.strip():
        raise BuildError(f"The Docker engine does not answer: {answer.stderr.strip()}", _REMEDY)
    return answer.stdout.strip()


def image_ids(tags: Iterable[str]) -> dict[str, str]:
    """{tag: image id} of those tags that the engine has."""
    wanted = list(tags)
    if not wanted:
        return {}
    answer = _docker("image", "inspect", *wanted)
    if answer.returncode != 0 and "no such image" not in answer.stderr.lower():
        raise BuildError(f"The Docker engine does not list images: {answer.stderr.strip()}", _REMEDY)
    found: dict[str, str] = {}
    for image in json.loads(answer.stdout or "[]"):
        for tag in image.get("RepoTags") or []:
            found[str(tag)] = str(image["Id"])
    return {tag: found[tag] for tag in wanted if tag in found}


def import_root(tar: Path, tag: str, step: Step) -> None:
    """Make an image of one layer from the tar file of a root file system."""
    step.run(
        ["docker", "import", "--change", 'CMD ["bash"]', str(tar), tag],
        what="importing into Docker",
        remedy="see Docker's message; `docker system df` shows the space it has",
    )


def build(context: Path, tag: str, args: dict[str, str], step: Step, *, fresh: bool) -> None:
    """Build `context` with its Dockerfile. `fresh` leaves out the engine's layer cache."""
    proxies = [f"--build-arg={name}" for name in _PROXY_VARIABLES if os.environ.get(name)]
    step.run(
        [
            "docker",
            "build",
            "--quiet",
            "--force-rm",
            *(["--no-cache"] if fresh else []),
            *proxies,
            *(f"--build-arg={name}={value}" for name, value in args.items()),
            f"--tag={tag}",
            str(context),
        ],
        what="building the image",
        remedy="if packages could not be fetched: check that containers reach the Debian archive "
        "(`docker run --rm BASE apt-get update`); otherwise see the log",
        env=BUILD_ENV,
    )


def save(tag: str, target: Path, step: Step) -> None:
    """Keep the image as the file `target`, compressed by zstd, in one step: a broken save leaves no file."""
    draft = target.with_suffix(".part")
    step.run(
        ["docker", "save", tag],
        what="keeping a copy in the cache",
        remedy=f"free some space below {target.parent}",
        stdout=draft,
        pipe_to=["zstd", "-q", "-3", "-T2", "-c"],
    )
    draft.replace(target)


def load(source: Path, step: Step) -> None:
    """Give the engine an image that it lost."""
    step.run(
        ["zstd", "-q", "-d", "-c", str(source)],
        what="loading from the cache",
        remedy=f"delete {source} and run again: it is built anew then",
        stdout=Path(os.devnull),
        pipe_to=["docker", "load", "--quiet"],
    )
