"""Running the programs that build images: progress while they run, their log kept, a clear error when they fail."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

Progress = Callable[[str], None]
"""Takes one line of progress."""

TICK_SECONDS: Final = 20
"""How often a running step says that it still runs."""
LOG_TAIL_LINES: Final = 12
"""How much of a failed step's log goes into its error."""


class BuildError(Exception):
    """A step failed: what happened, the end of its log, what to do about it."""

    def __init__(self, what: str, remedy: str, log: Path | None = None) -> None:
        """`log` is the file whose last lines are quoted."""
        lines = [what]
        if log is not None and log.is_file():
            tail = log.read_text(errors="replace").strip().splitlines()[-LOG_TAIL_LINES:]
            lines += [f"  | {line}" for line in tail]
            lines.append(f"  whole log: {log}")
        lines.append(f"  what to do: {remedy}")
        super().__init__("\n".join(lines))


def find_program(name: str, remedy: str) -> str:
    """Path of a program, or a BuildError that says how to get it."""
    path = shutil.which(name)
    if path is None:
        raise BuildError(f"The program `{name}` is not installed (or not on PATH).", remedy)
    return path


class Step:
    """One image's steps: they share a log file, a working environment and a name in the progress lines."""

    def __init__(self, name: str, log: Path, progress: Progress) -> None:
        """`log` is emptied."""
        self.name = name
        self.log = log
        self._progress = progress
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        log.write_text("")

    def say(self, text: str) -> None:
        """One line of progress about this image."""
        self._progress(f"{self.name}: {text}")

    def run(
        self,
        command: Sequence[str],
        *,
        what: str,
        remedy: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdout: Path | None = None,
        pipe_to: Sequence[str] | None = None,
    ) -> None:
        """Run one program to its end.

        `what` names the step in progress and errors ("compiling with go"), `remedy` is what a reader can do when it
        fails. Output goes into the log, or to the file `stdout`, or through the program `pipe_to` into `stdout`.

        Raises:
            BuildError: it could not be started or ended with an exit code other than 0.
        """
        started = time.monotonic()
        self.say(f"{what} ...")
        whole_env = {**os.environ, **(env or {})}
        with ExitStack() as stack, self.log.open("a") as log:
            log.write(f"$ {' '.join(command)}\n")
            log.flush()
            sink = stack.enter_context(stdout.open("wb")) if stdout else log
            try:
                if pipe_to is None:
                    programs = [self._start(command, sink, log, whole_env, cwd)]
                else:
                    first = self._start(command, subprocess.PIPE, log, whole_env, cwd)
                    programs = [first, self._start(pipe_to, sink, log, whole_env, cwd, stdin=first.stdout)]
                    if first.stdout is not None:
                        first.stdout.close()
            except OSError as error:
                raise BuildError(f"{self.name}: {what}: {command[0]} could not be started: {error}", remedy) from error
            for program in programs:
                self._wait(program, what, started)
        if any(program.returncode for program in programs):
            codes = ", ".join(str(program.returncode) for program in programs)
            raise BuildError(f"{self.name}: {what} failed (exit {codes}).", remedy, self.log)
        self.say(f"{what}: done in {time.monotonic() - started:.0f} s")

    @staticmethod
    def _start(
        command: Sequence[str],
        stdout: object,
        log: object,
        env: Mapping[str, str],
        cwd: Path | None,
        stdin: object = subprocess.DEVNULL,
    ) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            list(command), stdin=stdin, stdout=stdout, stderr=log, env=dict(env), cwd=cwd
        )

    def _wait(self, program: "subprocess.Popen[bytes]", what: str, started: float) -> None:
        try:
            while True:
                try:
                    program.wait(timeout=TICK_SECONDS)
                    return
                except subprocess.TimeoutExpired:
                    self.say(f"{what}: {time.monotonic() - started:.0f} s so far")
        except BaseException:
            program.terminate()
            program.wait()
            raise
