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


_TOKEN: Final = re.compile(r"(?<![A-Za-z0-9_+/.-])[A-Za-z0-9_+/-]{32,}={0,2}(?![A-Za-z0-9_+/.-])")


def tokens(text: str) -> list[str]:
    """What looks like a token or key in a file that its owner alone may read: long words of base64 or hex digits."""
    return [word for word in _TOKEN.findall(text) if not word.startswith("/") and re.search(r"[0-9]", word)]


def secret_file(path: str) -> bool:
    """Whether a file is secret by where it lies or what it is called: nothing of it is shown."""
    parts = path.strip("/").split("/")
    name = parts[-1]
    return "secrets" in parts[:-1] or name.endswith((".key", ".token", ".password")) or name in {"pgpass", ".pgpass"}
