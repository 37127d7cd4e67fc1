"""What a person sees: progress with elapsed time, failures that say what to do, commands whose output is kept."""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TextIO

HEARTBEAT_SECONDS: Final = 15
TAIL_LINES: Final = 25


class Failure(Exception):  # noqa: N818 - what a person reads, not a fault in the code
    """A step did not work: what happened, what to do, and the exit code (1 failed, 2 bad usage or settings)."""

    def __init__(self, what: str, todo: str = "", *, code: int = 1) -> None:
        super().__init__(what)
        self.what = what
        self.todo = todo
        self.code = code


def seconds(duration: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`."""
    if duration < 10:
        return f"{duration:.1f} s"
    minutes, rest = divmod(round(duration), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Progress:
    """Lines with the time since the start: `[  12 s] text`."""

    def __init__(self, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out or sys.stderr
        self._clock = clock
        self._start = clock()
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """One line."""
        with self._lock:
            print(f"[{self._clock() - self._start:5.0f} s] {text}", file=self._out, flush=True)

    @contextmanager
    def step(self, text: str, detail: Callable[[], str] | None = None) -> Iterator[None]:
        """A step that takes a while: said when it starts, every 15 s (with what it waits for), and when it is done."""
        self.say(f"{text} ...")
        began = self._clock()
        over = threading.Event()

        def beat() -> None:
            while not over.wait(HEARTBEAT_SECONDS):
                more = f": {said}" if detail and (said := detail()) else ""
                self.say(f"  still {text} ({seconds(self._clock() - began)}){more}")

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        self.say(f"  done in {seconds(self._clock() - began)}")


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log."""
    if not path.is_file():
        return ""
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def capture(
    command: Sequence[str],
    env: Mapping[str, str] | None = None,
    *,
    timeout_seconds: float = 60,
    cwd: Path | None = None,
) -> str:
    """Standard output of a short command.

    Raises:
        Failure: when it is missing, fails or does not end in time.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=timeout_seconds, env=env, cwd=cwd
        )
    except FileNotFoundError as error:
        raise Failure(f"the command {command[0]} was not found") from error
    except subprocess.TimeoutExpired as error:
        raise Failure(f"`{shlex.join(command)}` did not end within {timeout_seconds:.0f} s") from error
    if done.returncode:
        raise Failure(f"`{shlex.join(command)}` failed ({done.returncode}): {(done.stderr or done.stdout).strip()}")
    return done.stdout


def succeeds(command: Sequence[str], env: Mapping[str, str] | None = None, *, timeout_seconds: float = 60) -> bool:
    """Whether a short command ends well."""
    try:
        capture(command, env, timeout_seconds=timeout_seconds)
    except Failure:
        return False
    return True


def run(
    command: Sequence[str],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_seconds: float | None = None,
    on_line: Callable[[str], None] | None = None,
) -> int:
    """Run a long command, its output in ``log`` and line by line to ``on_line``; returns its exit code.

    An interrupt (Ctrl-C) goes to the command first, which gets a minute to end in order.

    Raises:
        Failure: when it is missing or does not end in time.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as out:
        out.write(f"$ {shlex.join(command)}\n")
        out.flush()
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise Failure(f"the command {command[0]} was not found") from error
        late = threading.Event()

        def expire() -> None:
            late.set()
            end(process)

        timer = threading.Timer(timeout_seconds, expire) if timeout_seconds else None
        if timer:
            timer.start()
        try:
            for line in process.stdout or ():
                out.write(line)
                out.flush()
                if on_line:
                    on_line(line.rstrip("\n"))
            code = process.wait()
        except KeyboardInterrupt:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            end(process, patience_seconds=60, first=None)
            raise
        finally:
            if timer:
                timer.cancel()
            if process.stdout:
                process.stdout.close()
    if late.is_set():
        raise Failure(f"`{shlex.join(command)}` did not end within {seconds(timeout_seconds or 0)}", f"see {log}")
    return code


def end(
    process: "subprocess.Popen[str]", patience_seconds: float = 5, first: signal.Signals | None = signal.SIGTERM
) -> None:
    """End a process and its children: politely, then not."""
    with suppress(ProcessLookupError):
        if first is not None:
            os.killpg(process.pid, first)
    try:
        process.wait(patience_seconds)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def must_run(
    command: Sequence[str],
    log: Path,
    what: str,
    todo: str = "",
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_seconds: float | None = None,
) -> None:
    """As :func:`run`, but an exit code other than 0 is a Failure with the end of the output."""
    code = run(command, log, env=env, cwd=cwd, timeout_seconds=timeout_seconds)
    if code:
        raise Failure(f"{what} failed ({code}); the end of {log}:\n{tail(log)}", todo)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main(work: Callable[[], int]) -> int:
    """Run a command's work; a Failure becomes two sentences and its exit code.

    A request to end (SIGTERM, a closed terminal) is an interrupt: what was started is ended in order.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return work()
    except Failure as failure:
        print(f"\nerror: {failure.what}", file=sys.stderr)
        if failure.todo:
            print(f"what to do: {failure.todo}", file=sys.stderr)
        return failure.code
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command again: it takes up where this one stopped", file=sys.stderr)
        return 130
