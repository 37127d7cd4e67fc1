"""Where the commands write: results to standard output, everything else to standard error."""

import json
import sys
from typing import Any, Final

from rich.console import Console

WIDE: Final = 200
err = Console(stderr=True, highlight=False, soft_wrap=True)


def out() -> Console:
    """Standard output, as it is now (tests replace it); wide where it is no terminal, so that tables stay whole."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)


def print_json(value: Any) -> None:
    """JSON on standard output, for programs."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def print_plain(text: str) -> None:
    """Text on standard output exactly as it is: no markup, no wrapping."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
