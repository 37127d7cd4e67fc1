"""The applications' tokens: each its own, and the reserved one of the stack's own checks."""

import pulumi

from components.context import Context
from components.names import SMOKE_APPLICATION
from components.secrets import Derived
from components.settings.access import Application

FAMILY = "ingest"


class IngestTokens(pulumi.ComponentResource):
    """Makes the tokens. Edges hold their digests, the collector (which checks again) the tokens themselves.

    An application's token is renewed by raising its ``tokenGeneration``; with ``acceptPreviousToken`` the one before
    stays valid until that is taken back. Both edges and collector take up a change without a restart.
    """

    tokens: dict[str, Derived]
    """Application -> its token, the newest."""
    valid: dict[str, tuple[Derived, ...]]
    """Application -> every token of it that is valid, the newest first."""

    def __init__(self, name: str, context: Context, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("agentstack:observability:IngestTokens", name, {}, opts)
        applications = {**context.settings.applications, SMOKE_APPLICATION: Application()}
        self.valid = {
            application: tuple(
                context.secrets.derived(FAMILY, application, generation)
                for generation in settings.valid_token_generations
            )
            for application, settings in sorted(applications.items())
        }
        self.tokens = {application: valid[0] for application, valid in self.valid.items()}
        self.register_outputs({"applications": list(self.valid)})

    @property
    def digests(self) -> dict[str, tuple[pulumi.Output[str], ...]]:
        """Application -> SHA-256 digests of every token of it that is valid."""
        return {application: tuple(token.sha256 for token in valid) for application, valid in self.valid.items()}
