"""Driving `pulumi` on one stack: environment, the stack file kept as it is, output to a log, failures explained."""

import json
import re
import subprocess
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from tools.console import Failure, Progress, capture, run, seconds
from tools.layout import Layout
from tools.state import environment

_LINE: Final = re.compile(
    r"^\s*(?:[+~@-]{1,2}|\+-|-\+|)\s*(?P<type>[\w./@-]+:[\w./@-]+:[\w]+) (?P<name>\S+) (?P<what>.*)$"
)
_CONTAINER: Final = re.compile(r"docker:index(?:/container)?:Container \(([\w.-]+)\):")
_NOISE: Final = re.compile(r"^\s*$|^\s*[@.]+\s*(updating|destroying|previewing)|^Please visit")


class Stack:
    """One stack of this checkout."""

    def __init__(self, layout: Layout, name: str, progress: Progress) -> None:
        self.layout = layout
        self.name = name
        self.progress = progress
        self.env = environment(layout)
        self.file = layout.root / f"Pulumi.{name}.yaml"

    def pulumi(self, *arguments: str, timeout_seconds: float = 120) -> str:
        """Standard output of a short `pulumi` command.

        Raises:
            Failure: when it fails.
        """
        return capture(
            ["pulumi", *arguments, "--non-interactive"], self.env, timeout_seconds=timeout_seconds, cwd=self.layout.root
        )

    def select(self) -> None:
        """Select the stack; make it if it is new."""
        with untouched(self.file):
            self.pulumi("stack", "select", "--create", self.name)

    def export(self) -> dict[str, Any]:
        """The state, its secrets encrypted as they are."""
        found: dict[str, Any] = json.loads(self.pulumi("stack", "export", "--stack", self.name))
        return found

    def exists(self) -> bool:
        """Whether the state backend has this stack."""
        listed = json.loads(self.pulumi("stack", "ls", "--json"))
        return any(entry["name"].rsplit("/", 1)[-1] == self.name for entry in listed)

    def outputs(self) -> dict[str, Any]:
        """The outputs; secret ones are not shown."""
        found: dict[str, Any] = json.loads(self.pulumi("stack", "output", "--json", "--stack", self.name))
        return found

    def operation(self, verb: str, text: str, *arguments: str) -> None:
        """A long operation (`up`, `destroy`), told as it goes; the whole output is in the log.

        Raises:
            Failure: when it fails; with Pulumi's own diagnostics.
        """
        log = self.layout.logs / f"{verb}-{time.strftime('%Y%m%d-%H%M%S')}.log"
        watch = Watch()
        began = time.monotonic()
        command = ["pulumi", verb, *arguments, "--stack", self.name, "--yes", "--non-interactive", "--color", "never"]
        with untouched(self.file), self.progress.step(text, watch.waiting_for):
            code = run(command, log, env=self.env, cwd=self.layout.root, on_line=watch.line)
        if code:
            said = watch.diagnostics()
            raise Failure(
                f"`pulumi {verb}` failed after {seconds(time.monotonic() - began)}:\n{said}\n{self.last_words(said)}"
                f"(all of it: {log})",
                advice(said, self.name),
            )
        self.progress.say(watch.summary() or "nothing to do")

    def last_words(self, diagnostics: str) -> str:
        """The end of the log of every container that is complained about."""
        lines: list[str] = []
        for name in dict.fromkeys(_CONTAINER.findall(diagnostics)):
            container = f"agentstack-{self.name}-{name}"
            log = subprocess.run(
                ["docker", "logs", "--tail", "12", container],
                env=self.env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
            )
            if not log.returncode and log.stdout.strip():
                lines += [f"the end of {container}'s log:", *(f"    {line}" for line in log.stdout.splitlines())]
        return "".join(f"{line}\n" for line in lines)


def advice(diagnostics: str, stack: str) -> str:
    """What helps against a failed operation, by what it said."""
    again = "then run the same command again"
    port = f"another program has that port: stop it, or choose another under `ports` in Pulumi.{stack}.yaml"
    salt = (
        f"Pulumi.{stack}.yaml carries the `encryptionsalt` of another passphrase: remove that line, or use the backend"
    )
    known = (
        (
            "active endpoints",
            "containers that are not the stack's are still on one of its networks (`docker network inspect "
            f"agentstack-{stack}-application-network` names them): stop or disconnect them, {again}",
        ),
        ("incorrect passphrase", f"{salt} and passphrase that it was made with (plain `pulumi up`)"),
        (
            "is already in use by container",
            f"that container is not this stack's: `docker rm` it if nobody needs it, {again}",
        ),
        ("port is already allocated", port),
        ("address already in use", port),
        ("no space left on device", f"free some disk (`docker system df` shows what Docker holds), {again}"),
        ("healthy state", f"`make logs SERVICE=<name> STACK={stack}` shows why it is not healthy; mend that, {again}"),
    )
    found = next((todo for sign, todo in known if sign in diagnostics), None)
    return found or "mend what the lines above say and run the same command again: it goes on where it stopped"


class Watch:
    """Reads an operation's output as it comes: what is being worked on, what went wrong, what was done."""

    def __init__(self) -> None:
        self._busy: dict[str, float] = {}
        self._tail: deque[str] = deque(maxlen=40)
        self._diagnostics: list[str] = []
        self._summary: list[str] = []
        self._section = ""

    def line(self, text: str) -> None:
        """Take one line."""
        if text.rstrip() in ("Diagnostics:", "Resources:", "Outputs:", "Policies:"):
            self._section = text.rstrip()
            return
        if self._section == "Diagnostics:":
            self._diagnostics.append(text)
        elif self._section == "Resources:" and text.strip():
            self._summary.append(text.strip())
        found = _LINE.match(text)
        if found and not found["type"].startswith(("agentstack:", "pulumi:")):  # those only hold others
            name, what = found["name"], found["what"]
            if re.match(r"(creating|updating|deleting|replacing|refreshing|reading)\b", what):
                self._busy.setdefault(name, time.monotonic())
            elif re.match(r"(created|updated|deleted|replaced|refreshed|read|\*\*)", what):
                self._busy.pop(name, None)
        if not _NOISE.match(text):
            self._tail.append(text)

    def waiting_for(self) -> str:
        """The three that take longest right now."""
        longest = sorted(self._busy.items(), key=lambda item: item[1])[:3]
        now = time.monotonic()
        return (
            "waiting for " + ", ".join(f"{name} ({seconds(now - since)})" for name, since in longest) if longest else ""
        )

    def diagnostics(self) -> str:
        """What Pulumi says went wrong, or the last lines where it says nothing."""
        lines = [line for line in self._diagnostics if line.strip()]
        return "\n".join(lines or self._tail)

    def summary(self) -> str:
        """`+ 47 created, 3 unchanged`."""
        return ", ".join(line for line in self._summary if not line.startswith("Duration"))


def without_salt(text: str) -> Any:
    """A stack file's content, the passphrase's salt left out."""
    document = yaml.safe_load(text) if text else None
    if isinstance(document, dict):
        document.pop("encryptionsalt", None)
        if not document.get("config"):
            document.pop("config", None)  # Pulumi writes an empty one as nothing
    return document or None


@contextmanager
def untouched(path: Path) -> Iterator[None]:
    """Keep a committed stack file as it is: Pulumi writes the salt of this machine's passphrase into it.

    The salt is in the state too, from where Pulumi takes it again. A file that holds secrets of its own (`secure:`)
    keeps its salt; so does one that says something new.
    """
    before = path.read_bytes() if path.is_file() else None
    try:
        yield
    finally:
        restore(path, before)


def restore(path: Path, before: bytes | None) -> None:
    """Undo what Pulumi wrote, if the salt is all that it added."""
    if not path.is_file():
        return
    after = path.read_bytes()
    if after == before or b"secure:" in after:
        return
    if without_salt(after.decode()) == without_salt((before or b"").decode()):
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)


def forget_salt(path: Path, salt: str | None) -> None:
    """Take out the line that a plain `pulumi up` left, if it is the salt of this machine's own state."""
    if not salt or not path.is_file():
        return
    text = path.read_text(encoding="utf-8")
    line = f"encryptionsalt: {salt}\n"
    if line in text and "secure:" not in text:
        path.write_text(text.replace(line, ""), encoding="utf-8")


def salt_of(export: dict[str, Any]) -> str | None:
    """The salt in a state."""
    providers = export.get("deployment", {}).get("secrets_providers") or {}
    salt = (providers.get("state") or {}).get("salt")
    return str(salt) if salt else None
