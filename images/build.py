"""Builds equivalents of the upstream images from package registries alone (Debian, PyPI, Go modules).

    python -m images.build [NAME ...] [--json] [--rebuild] [--list]

For machines that can't reach an image registry (`imageSource: local`). Each image is named by the hash of all
that it is built from; what the engine or the cache has under that name is used as it is.

Exit codes: 0 all images are there, 1 a step failed, 2 bad usage.
"""

import argparse
import fcntl
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from images import BUILT_FILE, debian, engine, golang, recipes, wheels
from images.lock import load_lock
from images.recipes import Recipe
from images.shell import BuildError, Progress, Step


@dataclass(frozen=True)
class BuiltImage:
    """One image in the engine: its id (sha256:...), the key of its recipe, its tag."""

    id: str
    key: str
    tag: str


def cache_dir() -> Path:
    """Where images are kept for engines that lose them."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "agentstack" / "images"


def default_names() -> list[str]:
    """The images that a stack runs, in the lock's order; bases and test helpers are built only as needed."""
    return [entry.recipe for entry in load_lock().entries.values()]


class Builder:
    """Brings images into the engine: from the engine itself, the cache, or a build, in this order."""

    def __init__(self, progress: Progress, *, rebuild: bool = False) -> None:
        """`rebuild` builds anew what is there already (newer Debian packages, same recipe)."""
        self.progress = progress
        self.rebuild = rebuild
        self.arch = engine.architecture()
        self.cache = cache_dir()
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()
        self._done: dict[str, BuiltImage | BuildError] = {}

    def have(self, names: Iterable[str]) -> dict[str, BuiltImage]:
        """Those of `names` that the engine has under the key of today's recipe."""
        keys = {name: recipes.recipe_key(name, self.arch) for name in names}
        tags = {name: recipes.tag(name, key) for name, key in keys.items()}
        ids = engine.image_ids(tags.values())
        return {name: BuiltImage(ids[tag], keys[name], tag) for name, tag in tags.items() if tag in ids}

    def get(self, name: str) -> BuiltImage:
        """Bring one image into the engine. Threads that need the same one wait for each other."""
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            if name not in self._done:
                try:
                    self._done[name] = self._make(name)
                except BuildError as error:
                    self._done[name] = error
            result = self._done[name]
        if isinstance(result, BuildError):
            raise result
        return result

    def _make(self, name: str) -> BuiltImage:
        started = time.monotonic()
        if not self.rebuild and name in (found := self.have([name])):
            return found[name]
        key = recipes.recipe_key(name, self.arch)
        tag = recipes.tag(name, key)
        self.cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        step = Step(name, BUILT_FILE.parent / "logs" / "images" / f"{name}.log", self.progress)
        debian.ensure_packages(step)
        kept = self.cache / f"{name}-{key[: recipes.KEY_TAG_LENGTH]}-{self.arch}.tar.zst"
        if kept.is_file() and not self.rebuild:
            engine.load(kept, step)
        else:
            self._build(name, recipes.load_recipe(name), tag, step)
            engine.save(tag, kept, step)
            self._forget_older(name, kept)
        ids = engine.image_ids([tag])
        if tag not in ids:
            raise BuildError(f"{name}: the engine does not know {tag} after its build.", f"see {step.log}", step.log)
        step.say(f"ready as {tag} after {time.monotonic() - started:.0f} s")
        return BuiltImage(ids[tag], key, tag)

    def _build(self, name: str, recipe: Recipe, tag: str, step: Step) -> None:
        base = self.get(recipe.base).tag if recipe.base else None
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=self.cache) as scratch_name:
            scratch = Path(scratch_name)
            if recipe.debian is not None:
                root = scratch / "root.tar"
                debian.make_root(recipe.debian, root, self.arch, step)
                engine.import_root(root, tag, step)
                return
            context = scratch / "context"
            for path in recipes.context_files(name):
                target = context / path.relative_to(recipes.LOCAL_DIR / name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
            if recipe.go is not None:
                golang.compile_programs(name, recipe.go, context / "bin", self.arch, step)
            if recipe.wheels is not None:
                wheels.unpack_wheels(name, recipe.wheels, context / "site-packages", self.arch, scratch, step)
            args = {**({"BASE": base} if base else {}), **recipe.args}
            engine.build(context, tag, args, step, fresh=self.rebuild)

    def _forget_older(self, name: str, newest: Path) -> None:
        """Keep one older copy: another checkout may stand at the recipe before this one."""
        pattern = f"{name}-{'?' * recipes.KEY_TAG_LENGTH}-{self.arch}.tar.zst"
        older = sorted(
            (path for path in self.cache.glob(pattern) if path != newest), key=lambda path: path.stat().st_mtime
        )
        for path in older[:-1]:
            path.unlink(missing_ok=True)


def build_all(
    names: Iterable[str] | None,
    progress: Progress,
    *,
    rebuild: bool = False,
    jobs: int = 2,
) -> dict[str, BuiltImage]:
    """Bring the images `names` (None: all that a stack runs) into the engine and write `.agentstack/images.json`.

    Raises:
        BuildError: of the first image that failed; what was built until then is kept and written down.
    """
    wanted = list(names) if names is not None else default_names()
    for name in wanted:
        recipes.load_recipe(name)
    BUILT_FILE.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    builder = Builder(progress, rebuild=rebuild)
    if not rebuild:
        found = builder.have(wanted)
        if len(found) == len(wanted):
            record(found)
            return {name: found[name] for name in wanted}
    built: dict[str, BuiltImage] = {}
    failure: BuildError | None = None
    with _alone(progress), ThreadPoolExecutor(max_workers=jobs) as pool:
        futures: dict[Future[BuiltImage], str] = {pool.submit(builder.get, name): name for name in wanted}
        for future in as_completed(futures):
            if future.cancelled():
                continue
            try:
                built[futures[future]] = future.result()
            except BuildError as error:
                failure = failure or error
                for other in futures:
                    other.cancel()
                continue
            # One by one: what is built can be used while the rest still builds.
            record({futures[future]: built[futures[future]]})
    if failure is not None:
        raise failure
    return {name: built[name] for name in wanted}


def record(built: dict[str, BuiltImage]) -> None:
    """Add images to `.agentstack/images.json`, in one step and for this user alone."""
    lock = load_lock()
    try:
        known = json.loads(BUILT_FILE.read_text())
    except (OSError, ValueError):
        known = {}
    names = set(recipes.recipe_names())
    content = {name: value for name, value in known.items() if name in names}
    for name, image in built.items():
        stand_in = name in lock.entries and lock.entries[name].stand_in
        content[name] = {"id": image.id, "recipe": image.key, "tag": image.tag, "stand_in": stand_in}
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    if BUILT_FILE.is_file() and BUILT_FILE.read_text() == text:
        return
    handle, draft = tempfile.mkstemp(prefix=".images-", dir=BUILT_FILE.parent)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    Path(draft).replace(BUILT_FILE)


@contextmanager
def _alone(progress: Progress) -> Iterator[None]:
    """One build at a time on this cache: a second one waits, then finds everything built."""
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (cache / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            progress("another build of images is running: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m images.build", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="images to build (default: all that a stack runs)")
    parser.add_argument("--json", action="store_true", help="print {name: {id, recipe, tag}} on standard output")
    parser.add_argument("--rebuild", action="store_true", help="build anew what is there already")
    parser.add_argument("--list", action="store_true", help="print the names of all recipes")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(recipes.recipe_names()))
        return 0
    unknown = sorted(set(options.names) - set(recipes.recipe_names()))
    if unknown:
        parser.error(f"no such image: {', '.join(unknown)}; choose from: {', '.join(recipes.recipe_names())}")
    started = time.monotonic()

    def progress(line: str) -> None:
        print(f"[{time.monotonic() - started:5.0f} s] {line}", file=sys.stderr, flush=True)

    try:
        built = build_all(options.names or None, progress, rebuild=options.rebuild)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps({name: {"id": i.id, "recipe": i.key, "tag": i.tag} for name, i in built.items()}, indent=2))
    else:
        for name, image in built.items():
            print(f"{name:18} {image.tag}  {image.id}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
