"""`make lock`: renew requirements.lock from pyproject.toml, every package with the hashes of its wheels.

    python3 -m tools.lock [--upgrade]

By uv, which is taken from PyPI into a scratch environment: it resolves for every platform at once. The lock names no
index, so that each machine uses its own. Exit codes: 0 done, 1 a step failed.
"""

import argparse
import re
import sys
import tempfile
from pathlib import Path
from typing import Final

from tools.console import Failure, Progress, main, must_run
from tools.layout import layout

UV: Final = "uv==0.13.9"
COMPILE: Final = (
    *("pip", "compile", "pyproject.toml", "--group", "dev", "--universal", "--python-version", "3.11"),
    *("--only-binary", ":all:", "--generate-hashes", "--no-header", "--no-annotate"),
    *("--no-emit-index-url", "--no-emit-find-links", "--quiet", "--output-file", "requirements.lock"),
)
HEADER: Final = "# Every package with its hashes, for every platform. Written by `make lock` from pyproject.toml.\n"


def addresses(text: str) -> list[str]:
    """Lines of a lock that name an address: an index, a direct reference."""
    return [line for line in text.splitlines() if re.search(r"://|^\s*-(i|f)\b|--(extra-)?index-url", line)]


def work(*, upgrade: bool) -> int:
    """Compile the lock anew; what is pinned already stays unless ``upgrade``."""
    here = layout()
    with tempfile.TemporaryDirectory() as scratch, Progress().step("renewing requirements.lock"):
        log = here.logs / "lock.log"
        must_run([sys.executable, "-m", "venv", scratch], log, "making a scratch environment", "install python3-venv")
        binary = Path(scratch) / "bin"
        must_run([str(binary / "pip"), "install", "--quiet", UV], log, "getting uv", "is the package index reachable?")
        extra = ["--upgrade"] if upgrade else []
        must_run([str(binary / "uv"), *COMPILE, *extra], log, "resolving", "see the lines above", cwd=here.root)
    text = here.lock.read_text(encoding="utf-8")
    if found := addresses(text):
        raise Failure(f"requirements.lock names an address: {found[0]}", "find out which option of uv put it there")
    here.lock.write_text(HEADER + text.removeprefix(HEADER), encoding="utf-8")
    return 0


def cli() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.lock", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that pyproject.toml allows")
    given = parser.parse_args()
    return work(upgrade=given.upgrade)


if __name__ == "__main__":
    sys.exit(main(cli))
