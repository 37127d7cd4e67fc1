"""Where the images come from: pulled by digest, built within this `up`, or the local builds.

``imageSource: registry`` pulls every reference of images/lock.json by digest (through ``registryMirror`` if set) and
builds the two images that are ours from a base pinned by digest. ``imageSource: local`` takes what
``make images`` built from package registries, by image id.
"""

import hashlib
import json
from pathlib import Path
from typing import Final

import pulumi
import pulumi_docker as docker

from components.settings import Settings
from images.lock import Entry, Lock

ROOT: Final = Path(__file__).resolve().parent.parent
BUILT: Final = Path(".agentstack") / "images.json"


class ImagesError(pulumi.RunError):
    """The images that the settings ask for are not there; the message says what to do."""


def recipe_hash(context: Path, base: str) -> str:
    """SHA-256 (16 hex digits) over a build context's names and contents and its base: what makes an image of ours anew.

    It names the image, so that stacks of one engine whose locks differ in the base never take each other's tag.
    """
    digest = hashlib.sha256(f"{base}\0".encode())
    for path in sorted(p for p in context.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(context)}\0".encode())
        digest.update(path.read_bytes())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def local_images(path: Path, lock: Lock) -> dict[str, dict[str, object]]:
    """The ids of the local builds, by key of the lock.

    Raises:
        ImagesError: when one is missing.
    """
    hint = "run `make images` (or set imageSource: registry) and try again"
    if not path.is_file():
        raise ImagesError(f"imageSource is local, but {path} does not exist: {hint}")
    found: dict[str, dict[str, object]] = json.loads(path.read_text())
    missing = sorted(set(lock.entries) - set(found))
    if missing:
        raise ImagesError(f"imageSource is local, but {path} lacks {', '.join(missing)}: {hint}")
    return found


def mirrored(reference: str, mirror: str | None) -> str:
    """The same reference at a mirror: its registry host is replaced, official images keep their ``library/``."""
    if mirror is None:
        return reference
    host, slash, path = reference.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return f"{mirror}/{path}"
    return f"{mirror}/{reference if slash else f'library/{reference}'}"


class ImageSet(pulumi.ComponentResource):
    """Every image of the lock; ``images[key]`` is an image id (``sha256:...``)."""

    def __init__(self, name: str, lock: Lock, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("agentstack:observability:ImageSet", name, {}, opts)
        self._stand_ins: set[str] = set()
        self._references: dict[str, pulumi.Input[str]] = {}
        if settings.image_source == "local":
            built = local_images(ROOT / BUILT, lock)
            for key in lock.entries:
                self._references[key] = str(built[key]["id"])
                if built[key].get("stand_in"):
                    self._stand_ins.add(key)
        else:
            for key, entry in lock.entries.items():
                self._references[key] = self._registry(key, entry, lock, settings.registry_mirror)
        self.register_outputs({"stand_ins": sorted(self._stand_ins)})

    def _registry(self, key: str, entry: Entry, lock: Lock, mirror: str | None) -> pulumi.Output[str]:
        options = pulumi.ResourceOptions(parent=self)
        if not entry.built:
            reference = mirrored(lock.reference(key), mirror)
            return docker.RemoteImage(f"image-{key}", name=reference, keep_locally=True, opts=options).image_id
        context = ROOT / str(entry.context)
        base = lock.base_reference(key)
        recipe = recipe_hash(context, base)
        return docker.RemoteImage(
            f"image-{key}",
            name=f"agentstack/{key}:{recipe}",
            keep_locally=True,
            # Relative to the project: the plugin runs there, wherever `pulumi` was called, and checkouts don't differ.
            build=docker.RemoteImageBuildArgs(
                context=str(entry.context), build_args={"BASE": mirrored(base, mirror)}, remove=True
            ),
            triggers={"recipe": recipe},
            opts=options,
        ).image_id

    def __getitem__(self, name: str) -> pulumi.Input[str]:
        return self._references[name]

    @property
    def stand_ins(self) -> list[str]:
        """Every key whose image is a stand-in."""
        return sorted(self._stand_ins)

    def is_stand_in(self, name: str) -> bool:
        """True where a stand-in runs in place of the real image."""
        return name in self._stand_ins
