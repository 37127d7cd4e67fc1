"""The lock: which image every service runs, pinned by digest, and what a local build of it lacks."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from images import LOCK_FILE

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
"""A registry digest: exactly 64 lower-case hex digits (copies that lost a character are in circulation)."""
Repository = Annotated[str, Field(pattern=r"^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*$")]
Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")]


class LockError(Exception):
    """The lock file can't be used; the message says what is wrong in it and what is allowed."""


class Reference(BaseModel):
    """An image in a registry: repository, tag for the reader, digest for the engine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Repository
    tag: Tag
    digest: Digest

    def __str__(self) -> str:
        """repository:tag@sha256:..."""
        return f"{self.name}:{self.tag}@{self.digest}"


class Entry(BaseModel):
    """One image of the stack."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Repository
    tag: Tag
    digest: Digest | None
    """Index digest (all architectures); null where the stack builds the image itself."""
    upstream: Annotated[str, Field(pattern=r"^https://")]
    """The project's own page."""
    version: str
    built: bool = False
    """True: built within `pulumi up` from `context` on `base`."""
    base: Reference | None = None
    context: str | None = None
    """Folder of the Dockerfile, relative to the project."""
    recipe: str
    """Folder below images/local/ that builds an equivalent without an image registry."""
    stand_in: bool = False
    """True: the local build is not the upstream program but a stand-in for it."""
    differences: tuple[str, ...] = ()
    """What the local build lacks against upstream, or does otherwise: one sentence each."""

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.built and (self.base is None or self.context is None):
            raise ValueError("an image with `built` needs `base` and `context`")
        if self.built and self.digest is not None:
            raise ValueError("an image with `built` has no digest of its own: pin its `base`")
        if not self.built and self.digest is None:
            raise ValueError("`digest` is missing: a reference without one can change under the same name")
        return self


class Lock(BaseModel):
    """All images by the name that the stack uses for them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entries: Mapping[str, Entry]

    def reference(self, name: str) -> str:
        """`repository:tag@sha256:...` of an image that is pulled.

        Raises:
            LockError: there is none of that name, or the stack builds it (then `base_reference` is what is pulled).
        """
        entry = self._entry(name)
        if entry.digest is None:
            raise LockError(f"images/lock.json: {name} is built from {entry.context}, not pulled; its base is pinned")
        return str(Reference(name=entry.name, tag=entry.tag, digest=entry.digest))

    def base_reference(self, name: str) -> str:
        """`repository:tag@sha256:...` that a built image starts from."""
        entry = self._entry(name)
        if entry.base is None:
            raise LockError(f"images/lock.json: {name} is pulled, it has no base")
        return str(entry.base)

    def pulled(self) -> dict[str, Reference]:
        """What comes from registries, by name; bases appear as `<name> (base)`."""
        found: dict[str, Reference] = {}
        for name, entry in self.entries.items():
            if entry.digest is not None:
                found[name] = Reference(name=entry.name, tag=entry.tag, digest=entry.digest)
            elif entry.base is not None:
                found[f"{name} (base)"] = entry.base
        return found

    def _entry(self, name: str) -> Entry:
        if name not in self.entries:
            raise LockError(f"images/lock.json has no image {name!r}; it has: {', '.join(self.entries)}")
        return self.entries[name]


def load_lock(path: Path = LOCK_FILE) -> Lock:
    """Read the lock.

    Raises:
        LockError: it can't be read or holds something that is not allowed; every finding is named with its path.
    """
    try:
        return Lock.model_validate(json.loads(path.read_text()))
    except OSError as error:
        raise LockError(f"{path} can't be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise LockError(f"{path}: line {error.lineno}: {error.msg}") from error
    except ValidationError as error:
        findings = [
            f"  {'.'.join(str(part) for part in one['loc'])}: {one['msg']} (found {_shown(one['input'])})"
            for one in error.errors()
        ]
        raise LockError("\n".join([f"{path} is not a valid lock:", *findings])) from error


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else type(value).__name__
    return text if len(text) <= 100 else f"{text[:97]}..."
