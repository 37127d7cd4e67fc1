"""The two edges: TLS, tokens, limits and balancing in front of everything that is published.

``EdgeOtlp`` takes telemetry (application-network and the host's OTLP ports), ``EdgeUi`` serves the user interfaces on
the host. ``IngestTokens`` are the applications' tokens. docs/decisions/0003-edge.md says what was decided, and why.
"""

from components.edge.component import EdgeOtlp, EdgeUi
from components.edge.tokens import IngestTokens

__all__ = ["EdgeOtlp", "EdgeUi", "IngestTokens"]
