"""Takes secrets out of text before it is shown. Pure."""

import re
from collections.abc import Iterable
from typing import Final

MASK: Final = "[redacted]"
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_BCRYPT: Final = re.compile(r"\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}")
_SCRAM: Final = re.compile(r"SCRAM-SHA-256\$\d+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+")
_URL_PASSWORD: Final = re.compile(r"(?P<head>[a-z][a-z0-9+.-]*://[^/\s:@]+:)[^@\s/]+(?=@)")
SHORTEST: Final = 6
"""Values below this length are not looked for: they would blot out ordinary text."""


def redact(text: str, secrets: Iterable[str]) -> str:
    """``text`` without private keys, password hashes and verifiers, passwords in URLs, and any of ``secrets``."""
    text = _PRIVATE_KEY.sub(f"{MASK} (private key)", text)
    text = _BCRYPT.sub(f"{MASK} (bcrypt hash)", text)
    text = _SCRAM.sub(f"{MASK} (SCRAM verifier)", text)
    text = _URL_PASSWORD.sub(rf"\g<head>{MASK}", text)
    for secret in sorted({value for value in secrets if len(value) >= SHORTEST}, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def secret_file(path: str, mode: int = 0o444) -> bool:
    """Whether a file is secret by where it lies, what it is called, or because its owner alone may read it."""
    if not mode & 0o077:
        return True
    parts = path.strip("/").split("/")
    name = parts[-1]
    return "secrets" in parts[:-1] or name.endswith((".key", ".token", ".password")) or name in {"pgpass", ".pgpass"}
