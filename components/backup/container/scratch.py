"""A server of our own over a restored directory: no network, its own socket, to replay the log and to look inside."""

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from components.backup.container.shell import JobError, Server, last_lines, run

PORT = 5433
START_SECONDS = 24 * 3600
_LIBRARIES = "pg_stat_statements,pgaudit"


def settings(socket: Path, *, durable: bool, archive: bool) -> dict[str, str]:
    """Command-line settings of such a server.

    Args:
        socket: the directory of its socket.
        durable: False for a throw-away copy, which may be lost at any moment.
        archive: True for a copy that will be the data directory: what it writes waits to be archived, the history of
            its new timeline above all. With an empty command nothing is sent from here.
    """
    return {
        "port": str(PORT),
        "listen_addresses": "",
        "unix_socket_directories": str(socket),
        "unix_socket_permissions": "0700",
        "hba_file": str(socket / "pg_hba.conf"),
        "ssl": "off",
        # Without hot standby, recovery does not compare its limits with those of the server that wrote the log.
        "hot_standby": "off",
        "archive_mode": "on" if archive else "off",
        "archive_command": "",
        "shared_buffers": "16MB",
        "max_connections": "20",
        "huge_pages": "off",
        "jit": "off",
        "autovacuum": "off",
        "fsync": "on" if durable else "off",
        "full_page_writes": "on" if durable else "off",
        # The audit's event triggers are in the database: without its library no DDL would work.
        "shared_preload_libraries": _LIBRARIES,
        "pgaudit.log": "none",
        "logging_collector": "off",
        "log_destination": "stderr",
    }


def fatal_lines(log: Path) -> str:
    """Why a server stopped, from its log."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return "its log can't be read"
    wanted = [line for line in lines if "FATAL" in line or "PANIC" in line]
    return last_lines("\n".join(wanted or lines))


@contextmanager
def running(
    data: Path, work: Path, *, durable: bool, archive: bool, extra: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """The server over ``data`` once its recovery is through and it is a primary; stopped at the end.

    Args:
        data: a restored directory.
        work: a directory for its socket and log.
        durable: see `settings`.
        archive: see `settings`.
        extra: further settings.

    Raises:
        JobError: when recovery fails, with the server's own words.
    """
    socket = work / "socket"
    shutil.rmtree(socket, ignore_errors=True)
    socket.mkdir(parents=True, mode=0o700)
    (socket / "pg_hba.conf").write_text("local all postgres peer\n")
    log = work / "server.log"
    log.unlink(missing_ok=True)
    values = {**settings(socket, durable=durable, archive=archive), **(extra or {})}
    options = " ".join(f"-c {name}='{value}'" for name, value in values.items())
    control: list[str | Path] = ["pg_ctl", "-D", data, "-w", "-s"]
    try:
        run([*control, "-l", log, "-t", str(START_SECONDS), "-o", options, "start"])
    except JobError as error:
        raise JobError(f"recovery failed: {fatal_lines(log)}") from error
    try:
        server = Server(socket, PORT)
        _await_recovered(server, data, log)
        yield server
    finally:
        if _alive(data):
            run([*control, "-m", "fast" if durable else "immediate", "-t", "600", "stop"])


def _alive(data: Path) -> bool:
    try:
        run(["pg_ctl", "-D", data, "-s", "status"])
    except JobError:
        return False
    return True


def _await_recovered(server: Server, data: Path, log: Path) -> None:
    """pg_ctl is content once recovery is consistent; wait until it is through."""
    deadline = time.monotonic() + START_SECONDS
    while not server.answers():
        if not _alive(data):
            raise JobError(f"recovery failed: {fatal_lines(log)}")
        if time.monotonic() > deadline:
            raise JobError(f"recovery did not end within {START_SECONDS} s")
        time.sleep(0.5)
    if server.query("SELECT pg_is_in_recovery()") != "f":
        raise JobError("the server answers but has not left recovery")
