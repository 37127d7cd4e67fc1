"""The escrow file: all that a restore on a new machine needs, encrypted with a passphrase that people keep.

It holds the stack's exported state (generated secrets, certificate authority, repository passphrases), the passphrase
of that state, the stack file, and the credentials of the second repository. Without it, or the machine, backups are
noise: keep it away from both.

The file: one line of JSON (how the key is made), then the ciphertext. The key is made by scrypt, the content sealed by
AES-256-GCM with that line as associated data.
"""

import base64
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from agentstack.errors import CommandError

FORMAT: Final = "agentstack-escrow-1"
MINIMUM_PASSPHRASE: Final = 12
_COST, _BLOCK, _PARALLEL = 2**16, 8, 1
"""scrypt: 64 MiB and about 0.3 s for each guess."""


@dataclass(frozen=True)
class Content:
    """What is in it."""

    stack: str
    created: int
    state: dict[str, Any]
    state_passphrase: str
    stack_file: str
    files: dict[str, str]
    """Credential files by the path that the stack file names."""


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=_COST, r=_BLOCK, p=_PARALLEL).derive(passphrase.encode())


def seal(content: Content, passphrase: str) -> bytes:
    """The file's bytes.

    Raises:
        CommandError: for a passphrase that is too short to keep anything.
    """
    if len(passphrase) < MINIMUM_PASSPHRASE:
        raise CommandError(
            f"the escrow passphrase is shorter than {MINIMUM_PASSPHRASE} characters", "choose a longer one"
        )
    salt, nonce = os.urandom(16), os.urandom(12)
    told = {"format": FORMAT, "kdf": "scrypt", "n": _COST, "r": _BLOCK, "p": _PARALLEL}
    told |= {"salt": base64.b64encode(salt).decode(), "nonce": base64.b64encode(nonce).decode()}
    header = json.dumps({**told, "stack": content.stack, "created": content.created}).encode()
    sealed = AESGCM(_key(passphrase, salt)).encrypt(nonce, json.dumps(vars(content)).encode(), header)
    return header + b"\n" + sealed


def unseal(data: bytes, passphrase: str) -> Content:
    """The content of a file.

    Raises:
        CommandError: when it is no escrow file, was changed, or the passphrase is another.
    """
    header, _, sealed = data.partition(b"\n")
    try:
        told = json.loads(header)
        salt, nonce = base64.b64decode(told["salt"]), base64.b64decode(told["nonce"])
        known = told["format"] == FORMAT
    except (ValueError, KeyError, TypeError):
        known, salt, nonce = False, b"", b""
    if not known:
        raise CommandError("this is no escrow file of this product", "write one with `agentstack escrow FILE`")
    try:
        plain = AESGCM(_key(passphrase, salt)).decrypt(nonce, sealed, header)
    except InvalidTag:
        raise CommandError("the passphrase is not that of this escrow file, or the file was changed") from None
    return Content(**json.loads(plain))


def read_passphrase_file(path: Path) -> str:
    """The first line of a file."""
    try:
        return path.read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, IndexError) as error:
        raise CommandError(f"{path} can't be read as a passphrase file: {error}") from error


def identity(state: dict[str, Any]) -> dict[str, Any]:
    """A state for a new machine: secrets, certificates and components stay, what was on the old engine goes.

    The next `up` then makes every container with the old secrets.
    """
    deployment = state["deployment"]
    kept = [r for r in deployment.get("resources", []) if not r["type"].startswith("docker:")]
    urns = {resource["urn"] for resource in kept}
    for resource in kept:
        resource["dependencies"] = [urn for urn in resource.get("dependencies") or [] if urn in urns]
        wanted = resource.get("propertyDependencies") or {}
        resource["propertyDependencies"] = {
            name: [urn for urn in found or [] if urn in urns] for name, found in wanted.items()
        }
    return {**state, "deployment": {**deployment, "resources": kept, "pending_operations": []}}


def credential_files(stack_file: dict[str, Any], root: Path) -> dict[str, str]:
    """The files that the settings of the second repository name, with their content."""
    stack = (stack_file.get("config") or {}).get("agentstack:stack") or {}
    s3 = (stack.get("backup") or {}).get("s3") or {}
    found = {}
    for key in ("keyFile", "secretFile", "caFile"):
        if s3.get(key):
            path = Path(s3[key]).expanduser()
            found[str(s3[key])] = (path if path.is_absolute() else root / path).read_text(encoding="utf-8")
    return found


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(data)
    draft.replace(path)


def age_days(content: Content) -> float:
    """Days since it was written."""
    return (time.time() - content.created) / 86400
