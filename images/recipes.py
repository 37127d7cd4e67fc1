"""Recipes: how each image is built locally, and the key that names one exact build of it."""

import hashlib
import json
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from images import IMAGES_DIR
from images.shell import BuildError

LOCAL_DIR: Final = IMAGES_DIR / "local"
RECIPE_FILE: Final = "recipe.json"
KEY_VERSION: Final = b"agentstack-image/1\n"
"""Raise it when the build code changes what comes out of an unchanged recipe."""
KEY_TAG_LENGTH: Final = 16
NOT_IN_KEY: Final = ("__pycache__", ".pyc", "_test.go", "_test.py", "README.md", "generate.sh")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DebianStep(_Strict):
    """A root file system made by mmdebstrap from the host's own Debian sources."""

    suite: str
    include: tuple[str, ...] = ()
    apt_options: tuple[str, ...] = ()
    dpkg_options: tuple[str, ...] = ()
    """Both hold while the root is made, and stay in the image for what is installed on top of it."""
    hooks: tuple[str, ...] = ()
    """Shell commands run when all is installed; "$1" is the root."""


class GoStep(_Strict):
    """Static programs, compiled on the host from pinned modules; they land in `bin/` of the context."""

    module: str = "."
    tags: tuple[str, ...] = ()
    ldflags: str = ""
    programs: dict[str, str]
    """Name of the program -> its package."""


class WheelStep(_Strict):
    """Python packages unpacked on the host for the image's Python; they land in `site-packages/` of the context."""

    requirements: str
    python: str


class Recipe(_Strict):
    """recipe.json of one folder below images/local/."""

    base: str | None = "base"
    """The recipe whose image is the build argument BASE; None: this one starts from nothing."""
    repository: str | None = None
    """Where the image's name is not its folder's."""
    debian: DebianStep | None = None
    go: GoStep | None = None
    wheels: WheelStep | None = None
    sources: tuple[str, ...] = ()
    """Folders outside of the recipe's own (relative to images/) that it is built from."""
    args: dict[str, str] = Field(default_factory=dict)
    """Build arguments."""


def recipe_names() -> list[str]:
    """Every recipe's name, bases included."""
    return sorted(path.parent.name for path in LOCAL_DIR.glob(f"*/{RECIPE_FILE}"))


def load_recipe(name: str) -> Recipe:
    """Read one recipe.

    Raises:
        BuildError: there is none of that name, or it does not fit the model.
    """
    path = LOCAL_DIR / name / RECIPE_FILE
    if not path.is_file():
        raise BuildError(f"There is no image recipe {name!r}.", f"choose from: {', '.join(recipe_names())}")
    try:
        return Recipe.model_validate(json.loads(path.read_text()))
    except (ValueError, ValidationError) as error:
        raise BuildError(f"{path}: {error}", "correct the recipe") from error


def recipe_key(name: str, arch: str) -> str:
    """The sha256 (hex) of what a build of this recipe rests on: its files, its base's key, the architecture."""
    recipe = load_recipe(name)
    digest = hashlib.sha256(KEY_VERSION)
    digest.update(f"{arch}\n{recipe_key(recipe.base, arch) if recipe.base else ''}\n".encode())
    for folder in (f"local/{name}", *recipe.sources):
        for path in sorted((IMAGES_DIR / folder).rglob("*")):
            if not path.is_file() or any(part in path.as_posix() for part in NOT_IN_KEY):
                continue
            content = path.read_bytes()
            executable = int(bool(path.stat().st_mode & 0o100))
            entry = f"{folder}/{path.relative_to(IMAGES_DIR / folder).as_posix()} {executable} {len(content)}\n"
            digest.update(entry.encode() + content)
    return digest.hexdigest()


def repository(name: str) -> str:
    """The repository of a local image: agentstack/<name>."""
    return f"agentstack/{load_recipe(name).repository or name}"


def tag(name: str, key: str) -> str:
    """repository:key, the key cut to what tells builds apart."""
    return f"{repository(name)}:{key[:KEY_TAG_LENGTH]}"


def context_files(name: str) -> list[Path]:
    """The recipe's own files that go into the build context."""
    folder = LOCAL_DIR / name
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != RECIPE_FILE and not any(part in path.as_posix() for part in NOT_IN_KEY)
    ]
