"""Commands that hand the terminal over to another program."""

import os
import shutil
import sys
from collections.abc import Sequence
from typing import NoReturn

from agentstack.errors import CommandError


def replace_process(command: Sequence[str]) -> NoReturn:
    """Become ``command``: signals, terminal and exit code are its own from here on.

    Raises:
        CommandError: when the program is not there.
    """
    if shutil.which(command[0]) is None:
        raise CommandError(f"the {command[0]} command was not found", "install it, or run `make up`")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvp(command[0], list(command))  # noqa: S606 - our own words
