"""What the stack tells about itself (`pulumi stack output`), typed."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agentstack import project
from agentstack.errors import CommandError, ExitCode

TIMEOUT_SECONDS: Final = 120
HIDDEN: Final = "[secret]"


@dataclass(frozen=True)
class Login:
    """How a person gets in: a user name (Phoenix: an e-mail address) and a password."""

    username: str
    password: str


@dataclass(frozen=True)
class StackOutputs:
    """The outputs of one stack, secrets included: never print ``raw`` as it is."""

    stack: str
    raw: Mapping[str, Any]

    @property
    def containers(self) -> dict[str, tuple[str, ...]]:
        """Service -> the names of its containers on the engine."""
        declared = self._object("containers")
        return {
            service: (names,) if isinstance(names, str) else tuple(str(name) for name in names)
            for service, names in declared.items()
        }

    @property
    def endpoints(self) -> dict[str, str]:
        """Endpoint -> URL as seen from the host, without a path."""
        return {key: str(value) for key, value in self._object("endpoints").items()}

    @property
    def endpoints_internal(self) -> dict[str, str]:
        """Endpoint -> URL as seen from application-network."""
        return {key: str(value) for key, value in self._object("endpoints_internal").items()}

    @property
    def networks(self) -> dict[str, str]:
        """phoenix, monitoring, application -> Docker's name."""
        return {key: str(value) for key, value in self._object("networks").items()}

    @property
    def stand_ins(self) -> frozenset[str]:
        """Services that a stand-in serves in place of the real image."""
        return frozenset(str(name) for name in self.raw.get("stand_ins", []))

    @property
    def ca_certificate(self) -> str:
        """PEM text of the stack's certificate authority."""
        return str(self._value("ca_certificate"))

    @property
    def ingest_tokens(self) -> dict[str, str]:
        """Application -> its token."""
        return {name: str(token) for name, token in self._object("credentials").get("ingest_tokens", {}).items()}

    @property
    def phoenix_admin_secret(self) -> str:
        """The bearer that opens Phoenix's API."""
        return str(self._credential("phoenix")["admin_secret"])

    def login(self, service: str) -> Login:
        """The login of phoenix, grafana, prometheus or alertmanager.

        Raises:
            CommandError: when the stack has none for it.
        """
        found = self._credential(service)
        return Login(username=str(found.get("username") or found.get("email")), password=str(found["password"]))

    def endpoint(self, *names: str) -> str:
        """The endpoint of the first of ``names`` that the stack has.

        Raises:
            CommandError: when it has none of them.
        """
        return pick(self.endpoints, names, self.stack, "endpoints")

    def secrets(self) -> tuple[str, ...]:
        """Every secret value, longest first."""
        return tuple(sorted(set(_strings(self._object("credentials"))), key=len, reverse=True))

    def shown(self, show_secrets: bool) -> dict[str, Any]:
        """The outputs as they may be printed."""
        if show_secrets:
            return dict(self.raw)
        return {key: _hidden(value) if key == "credentials" else value for key, value in self.raw.items()}

    def _credential(self, service: str) -> dict[str, Any]:
        found = self._object("credentials").get(service)
        if not isinstance(found, dict):
            raise CommandError(
                f"stack {self.stack!r} has no credentials of {service!r} in its outputs", "run `make up` once more"
            )
        return found

    def _value(self, key: str) -> Any:
        if key not in self.raw:
            raise CommandError(
                f"stack {self.stack!r} has no output {key!r}: it is not up, or its last `up` did not finish",
                "run `make up` (or `pulumi up`) and try again",
            )
        return self.raw[key]

    def _object(self, key: str) -> dict[str, Any]:
        value = self._value(key)
        if not isinstance(value, dict):
            raise CommandError(
                f"output {key!r} of stack {self.stack!r} is not an object", "run `make up` with this checkout"
            )
        return value


def pick(found: Mapping[str, str], names: tuple[str, ...], stack: str, where: str) -> str:
    """The value of the first of ``names`` that is in ``found``."""
    for name in names:
        if name in found:
            return found[name]
    raise CommandError(
        f"stack {stack!r} has no {names[0]!r} in its {where}", f"known there: {', '.join(sorted(found)) or 'nothing'}"
    )


def _strings(value: Any) -> Iterator[str]:
    """The secret strings of the credentials; user names and addresses are not secret."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in {"username", "email"}:
                yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str) and value:
        yield value


def _hidden(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: item if key in {"username", "email"} else _hidden(item) for key, item in value.items()}
    return HIDDEN


_EXPLANATIONS: Final = (
    ("no stack named", "there is no such stack", "`make up` makes it (STACK=prod for the other one)", ExitCode.USAGE),
    (
        "passphrase must be set",
        "Pulumi has no passphrase for this stack's secrets",
        "set PULUMI_CONFIG_PASSPHRASE_FILE (`. .agentstack/env` does, after `make up`)",
        ExitCode.FAILED,
    ),
    (
        "incorrect passphrase",
        "the passphrase is not the one that this stack was made with",
        "use the passphrase file of the stack (`. .agentstack/env` sets the one of `make up`); "
        "a PULUMI_CONFIG_PASSPHRASE in this shell wins over it: unset it",
        ExitCode.FAILED,
    ),
    (
        "unable to read PULUMI_CONFIG_PASSPHRASE_FILE",
        "the file that PULUMI_CONFIG_PASSPHRASE_FILE names can't be read",
        "name the passphrase file of the stack; `. .agentstack/env` sets the one of `make up`",
        ExitCode.FAILED,
    ),
    (
        "unable to open state directory",
        "the state directory that PULUMI_BACKEND_URL names is not there",
        "`. .agentstack/env` sets the one of `make up`; `pulumi login` sets your own",
        ExitCode.FAILED,
    ),
    (
        "must be set for login",
        "Pulumi is not logged in to a state backend",
        "run `. .agentstack/env` after `make up`, or `pulumi login` to your own backend",
        ExitCode.FAILED,
    ),
    (
        "no Pulumi.yaml project file",
        "this is not the project's directory",
        "change into the directory that holds Pulumi.yaml",
        ExitCode.USAGE,
    ),
)


def explain(stack: str, message: str) -> CommandError:
    """Pulumi's message as ours: what it means, and what to do."""
    for needle, what, hint, code in _EXPLANATIONS:
        if needle in message:
            return CommandError(f"stack {stack!r}: {what}", hint, code)
    return CommandError(f"stack {stack!r}: pulumi failed: {message.strip()}", "see the message above")


def run_pulumi(*arguments: str, checkout: Path, stack: str, timeout_seconds: int = TIMEOUT_SECONDS) -> str:
    """Standard output of a `pulumi` command in the checkout.

    Raises:
        CommandError: when pulumi is missing or fails.
    """
    try:
        done = subprocess.run(
            ["pulumi", *arguments, "--stack", stack, "--non-interactive", "--color", "never"],
            capture_output=True,
            text=True,
            check=False,
            cwd=checkout,
            env=project.environment(checkout),
            timeout=timeout_seconds,
        )
    except FileNotFoundError as error:
        raise CommandError(
            "the pulumi command was not found",
            "run `make up` (it gets Pulumi), or `. .agentstack/env` if it has run before",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(
            f"`pulumi {arguments[0]}` did not answer within {timeout_seconds} s", "is the state backend reachable?"
        ) from error
    if done.returncode:
        raise explain(stack, done.stderr or done.stdout)
    return done.stdout


def read_outputs(stack: str, checkout: Path | None = None) -> StackOutputs:
    """The outputs of a stack.

    Raises:
        CommandError: when pulumi can't tell them; the message says what to do.
    """
    where = checkout or project.root()
    text = run_pulumi("stack", "output", "--json", "--show-secrets", checkout=where, stack=stack)
    raw = json.loads(text)
    if not raw:
        raise CommandError(f"stack {stack!r} is there but nothing of it is up", "run `make up` (or `pulumi up`)")
    return StackOutputs(stack=stack, raw=raw)
