"""Starts Phoenix with its secrets read from files: Phoenix has no ``*_FILE`` variables of its own.

Runs inside the container, by the image's own interpreter, with the standard library alone. Phoenix then runs in this
very process, so that signals reach it. A variable set here shows in neither ``docker inspect`` nor ``/proc/1/environ``.

    launcher.py serve             what Phoenix's own image does by default
    launcher.py migrate           bring the schema up to this version, once, before any replica starts
"""

import os
import runpy
import socket
import subprocess
import sys
import time
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

SECRETS: Final = Path("/etc/agentstack/secrets")
SECRET_FILES: Final = {
    "phoenix-secret": "PHOENIX_SECRET",
    "admin-secret": "PHOENIX_ADMIN_SECRET",
    "admin-password": "PHOENIX_DEFAULT_ADMIN_INITIAL_PASSWORD",
}
"""File below SECRETS -> the variable that Phoenix reads."""

PHOENIX: Final = "phoenix.server.main"
DATABASE_WAIT_SECONDS: Final = 120.0
MIGRATION_ATTEMPTS: Final = 5
RETRY_SECONDS: Final = 5.0


class LauncherError(RuntimeError):
    """Phoenix can't be started; the message says what to do."""


def load_secrets(directory: Path, environment: MutableMapping[str, str]) -> None:
    """Put every secret file of SECRET_FILES into ``environment``.

    Raises:
        LauncherError: when one is missing or empty. Phoenix would start with its well-known default password.
    """
    for name, variable in SECRET_FILES.items():
        path = directory / name
        try:
            value = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            reason = error.strerror
            raise LauncherError(f"secret file {path} can't be read ({reason}): run `pulumi up` again") from error
        if not value:
            raise LauncherError(f"secret file {path} is empty: run `pulumi up` again")
        environment[variable] = value


def database_address(url: str) -> tuple[str, int]:
    """Host and port of a database URL."""
    parts = urlsplit(url)
    return parts.hostname or "localhost", parts.port or 5432


def wait_for_database(address: tuple[str, int], deadline_seconds: float = DATABASE_WAIT_SECONDS) -> bool:
    """Wait until something accepts connections there. False when the deadline passed: Phoenix then says why itself.

    Phoenix does not wait: without PostgreSQL it ends with exit code 1, after ten seconds of imports.
    """
    end = time.monotonic() + deadline_seconds
    while True:
        try:
            with socket.create_connection(address, timeout=2):
                return True
        except OSError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.5)


def migrate(
    run: Callable[[Sequence[str]], int], attempts: int = MIGRATION_ATTEMPTS, pause_seconds: float = RETRY_SECONDS
) -> int:
    """Run Phoenix's migrations; try again while PostgreSQL is still starting. Returns the exit code."""
    code = 1
    for attempt in range(1, attempts + 1):
        code = run([sys.executable, "-P", "-m", PHOENIX, "db", "migrate"])
        if code == 0:
            return 0
        _say(f"migration attempt {attempt} of {attempts} ended with exit code {code}")
        if attempt < attempts:
            time.sleep(pause_seconds)
    return code


def serve(arguments: Sequence[str]) -> None:
    """Become Phoenix: returns (or raises SystemExit) when Phoenix ends."""
    sys.argv = [PHOENIX, "serve", *arguments]
    runpy.run_module(PHOENIX, run_name="__main__", alter_sys=True)


def _say(text: str) -> None:
    sys.stderr.write(f"launcher: {text}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str]) -> int:
    """Start what ``arguments`` ask for."""
    mode, rest = (arguments[0], arguments[1:]) if arguments else ("serve", [])
    if mode not in {"serve", "migrate"}:
        _say(f"unknown mode {mode!r}: serve or migrate")
        return 2
    address = database_address(os.environ.get("PHOENIX_SQL_DATABASE_URL", ""))
    if not wait_for_database(address):
        host, port = address
        _say(f"no answer from PostgreSQL at {host}:{port} for {DATABASE_WAIT_SECONDS:.0f} s; starting anyway")
    if mode == "migrate":
        return migrate(lambda command: subprocess.run(command, check=False).returncode)
    try:
        load_secrets(SECRETS, os.environ)
    except LauncherError as error:
        _say(str(error))
        return 1
    serve(rest)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
