"""Every generated secret of the stack. None is ever typed, none has a default.

Protected, so that `make down` keeps them in (encrypted) state and the next `up` opens the old data with the old logins.
"""

import hashlib
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
