"""The applications' tokens: one each, and the reserved one of the stack's own checks."""

import pulumi

from components.context import Context
from components.names import SMOKE_APPLICATION
from components.secrets import Password

TOKEN_LENGTH = 48


class IngestTokens(pulumi.ComponentResource):
    """Makes the tokens. Edges hold their digests, the collector (which checks again) the tokens themselves."""

    tokens: dict[str, Password]
    """Application -> its token."""

    def __init__(self, name: str, context: Context, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("agentstack:observability:IngestTokens", name, {}, opts)
        names = [*sorted(context.settings.applications), SMOKE_APPLICATION]
        self.tokens = {
            application: context.secrets.password(f"ingest-{application}", length=TOKEN_LENGTH) for application in names
        }
        self.register_outputs({"applications": names})

    @property
    def digests(self) -> dict[str, tuple[pulumi.Output[str], ...]]:
        """Application -> SHA-256 digests of every token of it that is valid."""
        return {application: (token.sha256,) for application, token in self.tokens.items()}
