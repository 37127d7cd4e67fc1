"""Where the images come from on this machine: the registries, or local builds where none answers.

The stack file's own `imageSource` wins. Otherwise the first `make up` asks the registries, and what it found is kept in
`.agentstack/<stack>/local.json`, which the program reads: a plain `pulumi up` sees the same stack, and a registry
that is down for a minute does not exchange every image.
"""

import ipaddress
import json
import ssl
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal, cast

import yaml

from tools.console import Failure, Progress
from tools.layout import Layout, private
from tools.state import write_private

Source = Literal["registry", "local"]
PROBE_SECONDS: Final = 10
DEFAULT_REGISTRY: Final = "registry-1.docker.io"
"""What references without a host mean to Docker."""


def stack_settings(path: Path) -> dict[str, Any]:
    """The object `agentstack:stack` of a stack file; empty if it has none.

    Raises:
        Failure: when the file is no YAML.
    """
    if not path.is_file():
        return {}
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise Failure(f"{path.name} can't be read: {error}", "mend the file", code=2) from error
    config = document.get("config") if isinstance(document, dict) else None
    found = config.get("agentstack:stack") if isinstance(config, dict) else None
    return found if isinstance(found, dict) else {}


def registry_of(repository: str) -> str:
    """The host that serves a repository, as Docker reads references."""
    first, slash, _ = repository.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return DEFAULT_REGISTRY if first == "docker.io" else first
    return DEFAULT_REGISTRY


def is_loopback(host: str) -> bool:
    """Docker speaks plain http to registries on loopback."""
    name = host.rsplit(":", 1)[0].strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def answers(host: str, seconds: float = PROBE_SECONDS) -> bool:
    """Whether a registry serves the distribution API: 200, or 401 for those that want a token first."""
    for scheme in ("https", "http") if is_loopback(host) else ("https",):
        try:
            with urllib.request.urlopen(f"{scheme}://{host}/v2/", timeout=seconds):  # noqa: S310 - scheme is ours
                return True
        except urllib.error.HTTPError as error:
            return error.code == 401
        except (urllib.error.URLError, TimeoutError, OSError, ssl.SSLError, ValueError):
            continue
    return False


def silent(hosts: list[str]) -> list[str]:
    """Those that do not answer; all are asked at the same time."""
    with ThreadPoolExecutor(max_workers=max(1, len(hosts))) as pool:
        return [host for host, good in zip(hosts, pool.map(answers, hosts), strict=True) if not good]


def hosts_needed(repositories: list[str], mirror: str | None) -> list[str]:
    """The registries that a stack's images come from: the mirror alone where one is set."""
    return [mirror] if mirror else sorted({registry_of(name) for name in repositories})


def kept_choice(path: Path) -> Source | None:
    """What an earlier run chose.

    Raises:
        Failure: when the file says something else.
    """
    if not path.is_file():
        return None
    try:
        chosen = json.loads(path.read_text(encoding="utf-8")).get("imageSource")
    except (json.JSONDecodeError, AttributeError) as error:
        raise Failure(
            f"{path} can't be read: {error}", "remove the file: the next run asks the registries anew"
        ) from error
    if chosen is None or chosen in ("registry", "local"):
        return cast("Source | None", chosen)
    raise Failure(f"{path}: imageSource is {chosen!r}, not registry or local", "remove the file")


def choose(layout: Layout, stack: str, progress: Progress, repositories: list[str]) -> Source:
    """Where this stack's images come from, kept for the next run.

    Raises:
        Failure: when the stack file or the kept choice can't be read.
    """
    settings = stack_settings(layout.root / f"Pulumi.{stack}.yaml")
    if settings.get("imageSource") in ("registry", "local"):
        return "local" if settings["imageSource"] == "local" else "registry"
    path = layout.stack(stack) / "local.json"
    kept = kept_choice(path)
    if kept:
        return kept
    hosts = hosts_needed(repositories, settings.get("registryMirror"))
    with progress.step(f"asking the image registries ({', '.join(hosts)})"):
        missing = silent(hosts)
    source: Source = "local" if missing else "registry"
    private(layout.stack(stack))
    write_private(path, json.dumps({"imageSource": source}) + "\n")
    if missing:
        progress.say(
            f"no answer from {', '.join(missing)} within {PROBE_SECONDS} s: the images are built here, from package"
        )
        progress.say(
            f"registries alone. To ask again: remove {path}; to decide yourself: imageSource in Pulumi.{stack}.yaml"
        )
    return source
