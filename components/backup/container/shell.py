"""Runs pgbackrest, psql and the like, and says what went wrong in one sentence."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path


class JobError(RuntimeError):
    """A step that failed: what, and what was said."""


def say(message: str) -> None:
    """One line of the container's log."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {message}\n")
    sys.stderr.flush()


def last_lines(text: str, count: int = 3) -> str:
    """The end of what a command said, on one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-count:])


def run(
    words: Sequence[str | Path], *, seconds: float | None = None, stdin: str | None = None, stream: bool = False
) -> str:
    """What the command wrote to stdout.

    Args:
        words: the command; never a secret, process lists are public within the container.
        seconds: it is killed after this long.
        stdin: text for its stdin.
        stream: let its stderr through to the log as it runs.

    Raises:
        JobError: when it fails or takes too long.
    """
    try:
        done = subprocess.run(
            [str(word) for word in words],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=None if stream else subprocess.PIPE,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise JobError(f"{words[0]} did not end within {seconds:.0f} s") from None
    except OSError as error:
        raise JobError(f"{words[0]} can't be run: {error}") from error
    if done.returncode != 0:
        said = last_lines((done.stderr or "") + "\n" + done.stdout) if not stream else last_lines(done.stdout)
        raise JobError(f"{words[0]} ended with {done.returncode}: {said}")
    return done.stdout


class Server:
    """SQL as the superuser on a unix socket."""

    def __init__(self, socket: Path, port: int = 5432) -> None:
        self.socket = socket
        self.port = port

    def connection(self, database: str) -> list[str]:
        """Arguments of PostgreSQL's client programs."""
        return ["-h", str(self.socket), "-p", str(self.port), "-U", "postgres", "-d", database]

    def query(self, sql: str, database: str = "postgres", seconds: float = 60) -> str:
        """What the statements return, one row a line, columns separated by ``|``.

        Raises:
            JobError: when the server does not answer or refuses.
        """
        words = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", *self.connection(database)]
        return run(words, stdin=sql, seconds=seconds).strip()

    def answers(self) -> bool:
        """True when the server takes queries."""
        try:
            return self.query("SELECT 1", seconds=5) == "1"
        except JobError:
            return False
