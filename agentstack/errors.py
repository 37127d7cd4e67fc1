"""What the commands return, and how they fail: what happened, and what to do."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILED = 1
    """Failed, or could not tell."""
    USAGE = 2
    """Bad usage or settings."""
    DRIFT = 7
    """The stack is not what was declared."""


class CommandError(Exception):
    """A command that can't go on.

    Args:
        what: what happened, and where.
        hint: what to do about it.
        code: the exit code.
    """

    def __init__(self, what: str, hint: str = "", code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.code = code

    def __str__(self) -> str:
        return f"{self.what}\n{self.hint}" if self.hint else self.what
