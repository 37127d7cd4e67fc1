"""Starts Phoenix with its secrets read from files: Phoenix has no ``*_FILE`` variables of its own.

Runs inside the container, by the image's own interpreter, with the standard library alone. Phoenix then runs in this
very process, so that signals reach it. A variable set here shows in neither ``docker inspect`` nor ``/proc/1/environ``.

    launcher.py serve             what Phoenix's own image does by default
    launcher.py migrate           bring the schema up to this version, once, before any replica starts
"""

import asyncio
import importlib
import importlib.util
import os
import runpy
import socket
import sys
import time
import traceback
import types
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


def bare_package(name: str) -> None:
    """Let submodules of a package be imported without its ``__init__``.

    Phoenix's imports the whole server: 9 seconds of CPU for a migration that needs 2 (measured).
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise LauncherError(f"the image holds no package {name!r}: is it the Phoenix image of images/lock.json?")
    package = types.ModuleType(name)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[name] = package


def migrate_schema(url: str) -> None:
    """What ``phoenix db migrate`` does, without echoing every statement. Raises whatever goes wrong."""
    if "phoenix" not in sys.modules:
        bare_package("phoenix")
    engines = importlib.import_module("phoenix.db.engines")
    engine = engines.create_engine(connection_str=url, migrate=True, log_to_stdout=False, log_migrations=False)
    asyncio.run(engine.dispose())


def migrate(run: Callable[[], None], attempts: int = MIGRATION_ATTEMPTS, pause_seconds: float = RETRY_SECONDS) -> int:
    """Run the migrations; try again while PostgreSQL is still starting. Returns the exit code."""
    for attempt in range(1, attempts + 1):
        try:
            run()
        except Exception as error:  # noqa: BLE001 - whatever it was, it is shown and tried again
            cause = error.__cause__ or error
            _say(f"migration attempt {attempt} of {attempts} failed: {type(cause).__name__}: {cause}")
            if attempt == attempts:
                traceback.print_exc()
                return 1
            time.sleep(pause_seconds)
        else:
            break
    _say("the schema is that of this version")
    return 0


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
    url = os.environ.get("PHOENIX_SQL_DATABASE_URL", "")
    address = database_address(url)
    if not wait_for_database(address):
        host, port = address
        _say(f"no answer from PostgreSQL at {host}:{port} for {DATABASE_WAIT_SECONDS:.0f} s; starting anyway")
    if mode == "migrate":
        return migrate(lambda: migrate_schema(url))
    try:
        load_secrets(SECRETS, os.environ)
    except LauncherError as error:
        _say(str(error))
        return 1
    serve(rest)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
