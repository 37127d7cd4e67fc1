"""What a service runs with: image, command, environment and the files of its configuration volumes, secrets taken out.

The files are read as the container sees them (`docker cp`), so that a container without a shell is no obstacle, and so
that what is shown is what runs, not what was meant to.
"""

import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from agentstack import engine
from agentstack.redact import MASK, redact, secret_file, tokens
from components.names import CONFIG_DIR, LIVE_DIR

LARGEST: Final = 256 * 1024
"""Files above this many bytes are named, not shown."""


@dataclass(frozen=True)
class File:
    """One file of a configuration volume."""

    path: str
    mode: str
    owner: str
    size: int
    text: str

    def as_json(self) -> dict[str, Any]:
        """As in `config --json`."""
        return asdict(self)


@dataclass(frozen=True)
class View:
    """Everything that is shown of one container."""

    container: str
    image: str
    user: str
    entrypoint: list[str]
    command: list[str]
    environment: dict[str, str]
    mounts: list[str]
    networks: list[str]
    files: list[File]

    def as_json(self) -> dict[str, Any]:
        """As in `config --json`."""
        return asdict(self)


def files_of(archive: bytes, base: str, secrets: Iterable[str]) -> list[File]:
    """The regular files of a tar made by `docker cp <container>:<base> -`, redacted.

    Args:
        base: where the directory lies in the container.
    """
    known = tuple(secrets)
    found = []
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            if not member.isfile():
                continue
            inner = member.name.split("/", 1)[1] if "/" in member.name else member.name
            path = f"{base}/{inner}"
            handle = tar.extractfile(member)
            content = handle.read(LARGEST + 1) if handle else b""
            found.append(
                File(
                    path=path,
                    mode=f"{member.mode & 0o7777:04o}",
                    owner=f"{member.uid}:{member.gid}",
                    size=member.size,
                    text=MASK if secret_file(path) else _shown(content, member.size, known),
                )
            )
    return sorted(found, key=lambda file: file.path)


def _shown(content: bytes, size: int, secrets: tuple[str, ...]) -> str:
    if size > LARGEST:
        return f"[{size} bytes, not shown]"
    try:
        return redact(content.decode(), secrets)
    except UnicodeDecodeError:
        return f"[{size} bytes, not text]"


def secrets_in(archive: bytes) -> list[str]:
    """What is taken out of whatever is shown: the lines of every file that is secret by its place, and what looks like
    a token in every file that its owner alone may read.
    """
    values: list[str] = []
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            private = secret_file(member.name) or not member.mode & 0o077
            handle = tar.extractfile(member) if member.isfile() and private else None
            if handle is None:
                continue
            text = handle.read(LARGEST).decode(errors="replace")
            values += tokens(text)
            if secret_file(member.name):
                values += [line.strip() for line in text.splitlines() if line.strip()]
    return values


def view(container: engine.Container, archives: Mapping[str, bytes], secrets: Iterable[str]) -> View:
    """Put together what is shown of a container.

    Args:
        archives: directory in the container -> tar of it.
    """
    raw = container.raw
    known = [*secrets, *(value for archive in archives.values() for value in secrets_in(archive))]

    def clean(text: str) -> str:
        return redact(text, known)

    environment = dict(pair.split("=", 1) for pair in raw["Config"].get("Env") or [] if "=" in pair)
    return View(
        container=container.name,
        image=f"{container.image} ({container.image_id})",
        user=raw["Config"].get("User", ""),
        entrypoint=[clean(word) for word in raw["Config"].get("Entrypoint") or []],
        command=[clean(word) for word in raw["Config"].get("Cmd") or []],
        environment={key: clean(value) for key, value in sorted(environment.items())},
        mounts=sorted(
            f"{mount['Destination']} <- {mount.get('Name') or mount.get('Source')}"
            f" ({'rw' if mount.get('RW') else 'ro'})"
            for mount in raw.get("Mounts") or []
        ),
        networks=sorted((raw.get("NetworkSettings") or {}).get("Networks") or {}),
        files=[file for base, archive in archives.items() for file in files_of(archive, base, known)],
    )


def archives_of(container: engine.Container) -> dict[str, bytes]:
    """The configuration directories that the container mounts, as tars."""
    mounted = {mount["Destination"] for mount in container.raw.get("Mounts") or []}
    return {
        base: engine.docker("cp", f"{container.name}:{base}", "-") for base in (CONFIG_DIR, LIVE_DIR) if base in mounted
    }
