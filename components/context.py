"""What every component is given: the stack's name and settings, and the shared parts that it builds on."""

from dataclasses import dataclass
from typing import Protocol

import pulumi

from components.contributions import ScrapeCredential
from components.runtime import Runtime
from components.secrets import Secrets
from components.settings import Settings
from components.trust import CertificateAuthority


class Images(Protocol):
    """Image references by key of images/lock.json."""

    def __getitem__(self, name: str) -> pulumi.Input[str]: ...

    @property
    def stand_ins(self) -> list[str]:
        """Every key whose image is a stand-in."""
        ...

    def is_stand_in(self, name: str) -> bool:
        """True where a stand-in runs in place of the real image."""
        ...


@dataclass(frozen=True)
class Context:
    """The shared parts of one stack."""

    stack: str
    settings: Settings
    runtime: Runtime
    ca: CertificateAuthority
    secrets: Secrets
    images: Images
    scrape: ScrapeCredential
