"""Where things lie: the checkout, what belongs to this machine, the cache."""

import os
from dataclasses import dataclass
from pathlib import Path

from tools.console import Failure

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Layout:
    """Paths. ``home`` holds state, passphrase, env and logs; tests move it by AGENTSTACK_HOME.

    What the program itself reads (`<stack>/local.json`, `images.json`) always lies in the checkout's `.agentstack`.
    """

    root: Path
    home: Path
    cache: Path

    @property
    def local(self) -> Path:
        return self.root / ".agentstack"

    def stack(self, stack: str) -> Path:
        return self.local / stack

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def passphrase(self) -> Path:
        return self.home / "passphrase"

    @property
    def env(self) -> Path:
        return self.home / "env"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def lock(self) -> Path:
        return self.root / "requirements.lock"


def layout(root: Path = ROOT) -> Layout:
    """The layout of this checkout on this machine."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    home = os.environ.get("AGENTSTACK_HOME")
    return Layout(
        root=root,
        home=(root / home).resolve() if home else root / ".agentstack",
        cache=Path(cache) / "agentstack",
    )


def private(directory: Path) -> Path:
    """A directory that only its owner can enter."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory.chmod(0o700)
    return directory


def locked_version(lock: Path, package: str) -> str:
    """The version of a package in requirements.lock.

    Raises:
        Failure: when it is not in there.
    """
    for line in lock.read_text(encoding="utf-8").splitlines():
        name, _, rest = line.partition("==")
        if rest and name.strip() == package:
            return rest.split()[0]
    raise Failure(
        f"{lock.name} has no {package}", "restore the file (`git checkout requirements.lock`) or run `make lock`"
    )


def stack_name(given: str | None) -> str:
    """The stack that is meant: the one named, then PULUMI_STACK, then dev."""
    return given or os.environ.get("PULUMI_STACK") or "dev"
