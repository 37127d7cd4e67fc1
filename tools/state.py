"""What belongs to this machine: state backend, passphrase and the environment in which Pulumi finds them.

The passphrase encrypts every generated secret in the state. It is made once and never written again: losing it is
losing the secrets, so nothing here ever replaces it.
"""

import os
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path

from tools.console import Failure
from tools.layout import Layout, private


def stacks_in_state(state: Path) -> list[str]:
    """The stacks that a file backend holds."""
    return sorted(path.stem for path in (state / ".pulumi" / "stacks").glob("*/*.json"))


def ensure_passphrase(layout: Layout) -> None:
    """Make the passphrase if there is none, and no state that would need the old one.

    Raises:
        Failure: when state exists without its passphrase; nothing is made then.
    """
    path = layout.passphrase
    if path.is_file() and path.stat().st_size:
        path.chmod(0o600)
        return
    if stacks := stacks_in_state(layout.state):
        raise Failure(
            f"{path} is missing, but {layout.state} holds the stack(s) {', '.join(stacks)}, whose secrets only that "
            "passphrase opens",
            f"put the passphrase back into {path} from your backup. If it is lost, so are those stacks' generated "
            f"secrets: move {layout.state} away and start anew",
        )
    private(path.parent)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | (0 if path.exists() else os.O_EXCL), 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(secrets.token_urlsafe(32) + "\n")


def variables(
    layout: Layout, pulumi_bin: Path | None, pulumi_home: Path | None, docker_host: str | None
) -> dict[str, str]:
    """What a shell needs so that plain `pulumi` acts on the same stacks as `make`.

    ``pulumi_bin`` is the directory of the command line if it is not on PATH already, ``pulumi_home`` where its plugins
    are if not in the usual place.
    """
    found = {
        "PULUMI_BACKEND_URL": f"file://{layout.state}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(layout.passphrase),
        # Everything is there already, in the versions that the lock asks for.
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # The salt of the passphrase is kept in the state, so that the committed stack files need not carry it.
        "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
    }
    if pulumi_home:
        found["PULUMI_HOME"] = str(pulumi_home)
    if docker_host:
        found["DOCKER_HOST"] = docker_host
    if pulumi_bin:
        found["PATH"] = str(pulumi_bin)
    return found


def render_env(values: Mapping[str, str]) -> str:
    """The shell file `env`; PATH is put before the shell's own."""
    lines = ["# Written by `make`. Use it as:  . .agentstack/env && pulumi stack output"]
    # An empty passphrase variable would win over the file.
    lines.append("unset PULUMI_CONFIG_PASSPHRASE")
    for name, value in values.items():
        if name == "PATH":
            lines.append(f'case ":$PATH:" in *:{shlex.quote(value)}:*) ;; *) PATH={shlex.quote(value)}:"$PATH" ;; esac')
            lines.append("export PATH")
        else:
            lines.append(f"export {name}={shlex.quote(value)}")
    return "\n".join(lines) + "\n"


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, all of it or nothing; unchanged content is left alone."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        path.chmod(0o600)
        return
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
    scratch.replace(path)


def ensure_state(layout: Layout, values: Mapping[str, str]) -> None:
    """`.agentstack/` with its backend, passphrase, environment and logs."""
    private(layout.home)
    private(layout.local)
    private(layout.state)
    private(layout.logs)
    ensure_passphrase(layout)
    write_private(layout.env, render_env(values))


def read_env(text: str) -> dict[str, str]:
    """The variables of an `env` file (as :func:`render_env` writes it), PATH being the part to put in front."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("export ") and "=" in line:
            name, _, value = line.removeprefix("export ").partition("=")
            found[name] = shlex.split(value)[0] if value else ""
        elif line.startswith("case "):
            found["PATH"] = shlex.split(line.split(" PATH=", 1)[1].split(':"$PATH"', 1)[0])[0]
    return found


def environment(layout: Layout) -> dict[str, str]:
    """This process's environment with the state's variables: for `pulumi`, `docker` and the operator's command.

    Variables that would silently change what a command does (PULUMI_OPTION_*, a passphrase in the environment) are
    left out.

    Raises:
        Failure: before `make setup` has run.
    """
    if not layout.env.is_file():
        raise Failure(f"{layout.env} does not exist", "run `make setup`")
    values = read_env(layout.env.read_text(encoding="utf-8"))
    front = values.pop("PATH", None)
    base = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PULUMI_OPTION_") and name != "PULUMI_CONFIG_PASSPHRASE"
    }
    base.update(values)
    if front:
        base["PATH"] = f"{front}{os.pathsep}{base.get('PATH', os.defpath)}"
    return base
