"""Asks the backup's container: its answers are one JSON object, its progress goes to the terminal."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Final

from agentstack.errors import CommandError
from agentstack.outputs import StackOutputs
from components.backup.component import COMMAND
from components.names import Service

REPOSITORIES: Final = {"1": "local", "2": "s3", "local": "local", "s3": "s3"}


def repository_name(text: str) -> str:
    """``1`` or ``local``, ``2`` or ``s3``.

    Raises:
        CommandError: for anything else.
    """
    if text not in REPOSITORIES:
        raise CommandError(f"there is no repository {text!r}", "1 (local) or 2 (s3)")
    return REPOSITORIES[text]


@dataclass(frozen=True)
class Sidecar:
    """The backup's container of one stack."""

    container: str

    @classmethod
    def of(cls, outputs: StackOutputs) -> "Sidecar":
        """The one that the stack declares.

        Raises:
            CommandError: when the stack has none.
        """
        names = outputs.containers.get(Service.BACKUP.value)
        if not names:
            raise CommandError(f"stack {outputs.stack!r} has no backup service", "run `make up` with this checkout")
        return cls(names[0])

    def command(self, *words: str) -> list[str]:
        """The whole command line."""
        return ["docker", "exec", self.container, *COMMAND, *words]

    def ask(self, *words: str) -> dict[str, Any]:
        """Run a command there and return its answer. It may take hours: a restore has no deadline.

        Raises:
            CommandError: when it fails; the container has said why, and its last line is repeated.
        """
        last = ""
        with subprocess.Popen(
            self.command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        ) as running:
            if running.stdout is None or running.stderr is None:
                raise CommandError("docker could not be started")
            for line in running.stderr:
                last = line.strip() or last
                sys.stderr.write(line)
            answer = running.stdout.read()
        if running.returncode:
            raise CommandError(f"{self.container}: {last.partition('failed: ')[2] or last}", hint(last))
        found: dict[str, Any] = json.loads(answer)
        return found


def hint(last: str) -> str:
    """What helps, by what the container or the engine said."""
    if "No such container" in last or "is not running" in last:
        return "the backup's container does not run: `make up` (or `agentstack repair`) brings it back"
    if "no backup ended before" in last or "no usable backup" in last:
        return "`agentstack backup list` shows what there is"
    return ""
