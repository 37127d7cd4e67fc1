"""Versions: which are asked for, which are enough."""

import re
from typing import Final

from tools.layout import Layout, locked_version

MINIMUM_PULUMI: Final = "3.259.0"
"""The oldest command line that the engine tests ran with; Pulumi.yaml says the same to Pulumi itself."""
PLUGINS: Final = {"docker": "pulumi-docker", "random": "pulumi-random", "tls": "pulumi-tls"}
"""Provider plugin -> the Python package whose version it must have."""

_NUMBERS = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


def parse(text: str) -> tuple[int, int, int] | None:
    """The first version number in a text (`v3.259.0`, `go version go1.26.8 linux/amd64`); None if there is none."""
    found = _NUMBERS.search(text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def at_least(text: str, minimum: str) -> bool:
    """Whether the version in a text is the minimum or newer, within the same major version."""
    have, want = parse(text), parse(minimum)
    return have is not None and want is not None and have[0] == want[0] and have >= want


def plugin_versions(layout: Layout) -> dict[str, str]:
    """Plugin -> version, as the locked Python packages ask for."""
    return {name: locked_version(layout.lock, package) for name, package in PLUGINS.items()}
