"""Every generated secret of the stack. None is ever typed, none has a default.

Protected, so that `make down` keeps them in (encrypted) state and the next `up` opens the old data with the old logins.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass

import pulumi
import pulumi_random as random


@dataclass(frozen=True)
class Password:
    """One secret; all three forms are secret outputs."""

    value: pulumi.Output[str]
    bcrypt: pulumi.Output[str]
    sha256: pulumi.Output[str]
    """Hex digest of ``value``: what a service holds that only has to recognise it."""


@dataclass(frozen=True)
class Derived:
    """A secret made from another: one of many of a kind, which come and go with the settings."""

    value: pulumi.Output[str]
    sha256: pulumi.Output[str]


def derive(key: str, purpose: str) -> str:
    """43 URL-safe characters: HMAC-SHA256 of ``purpose`` under ``key``, in base64."""
    digest = hmac.new(key.encode(), purpose.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _sha256(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


class Secrets(pulumi.ComponentResource):
    """Makes and remembers secrets by purpose; ``passwords`` lists them all."""

    passwords: dict[str, Password]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("agentstack:observability:Secrets", name, {}, opts)
        self.passwords = {}

    def password(self, name: str, length: int = 40, special: bool = False, strong: bool = False) -> Password:
        """The secret for one purpose; asking twice gives the same one.

        Args:
            length: characters.
            special: also characters other than letters and digits (never quotes, backslashes, spaces or ``$``).
            strong: at least two of each class, special ones included.
        """
        if name not in self.passwords:
            made = random.RandomPassword(
                name,
                length=length,
                special=special or strong,
                override_special="!@#%^&*()_+",
                min_lower=2,
                min_upper=2,
                min_numeric=2,
                min_special=2 if strong else 0,
                opts=pulumi.ResourceOptions(parent=self, protect=True),
            )
            self.passwords[name] = Password(
                value=made.result, bcrypt=made.bcrypt_hash, sha256=made.result.apply(_sha256)
            )
        return self.passwords[name]

    def derived(self, family: str, name: str, generation: int = 1) -> Derived:
        """One of a family of secrets that come and go with the settings (an application's token).

        A protected resource for each would make every removal from the stack file fail. So only the family's key
        is one; its members are derived from it, and a higher generation is a new secret.
        """
        value = self.password(f"{family}-key", length=64).value.apply(lambda key: derive(key, f"{name}/{generation}"))
        return Derived(value=value, sha256=value.apply(_sha256))
