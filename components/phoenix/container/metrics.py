"""Phoenix's metrics on its TLS port, behind a token (Phoenix's hook: PHOENIX_FASTAPI_MIDDLEWARE_PATHS).

Phoenix's own metrics server speaks plaintext, asks for nothing, and listens on all addresses at a fixed port; it stays
off. The same registry is served here at ``/metrics`` on 6006. Runs inside the container; the token itself is not there,
only its SHA-256.
"""

import hashlib
import hmac
import importlib
import os
from pathlib import Path
from typing import Final

from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

TOKEN_SHA256: Final = Path("/etc/agentstack/secrets/metrics-token.sha256")
PATH: Final = "/metrics"
HTTP_TIMES: Final = "phoenix.server.prometheus"


def header(scope: Scope, name: bytes) -> str:
    """The first value of a request header; empty without one."""
    found: bytes = next((value for key, value in scope["headers"] if key == name), b"")
    return found.decode("latin-1")


class Metrics(BaseHTTPMiddleware):
    """Answers ``GET /metrics``; everything else passes, timed as Phoenix itself would time it."""

    def __init__(self, app: ASGIApp) -> None:
        """Raises OSError or ValueError without a digest: Phoenix then does not start, rather than tell anyone."""
        super().__init__(app)
        digest = TOKEN_SHA256.read_text(encoding="ascii").strip()
        if len(bytes.fromhex(digest)) != hashlib.sha256().digest_size:
            raise ValueError(f"{TOKEN_SHA256} does not hold a SHA-256 in hex")
        self._digest = digest
        self._timed: ASGIApp = importlib.import_module(HTTP_TIMES).PrometheusMiddleware(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry: plain ASGI instead of ``dispatch``, which would wrap every streamed answer."""
        if scope["type"] == "lifespan":
            # Phoenix fills some gauges (token stores, rate limiter) only with this on. The server on 9090 was decided
            # about before the application came to life: it stays closed.
            os.environ["PHOENIX_ENABLE_PROMETHEUS"] = "true"
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["path"] == PATH:
            await self._answer(scope, send)
        else:
            await self._timed(scope, receive, send)

    def _allowed(self, scope: Scope) -> bool:
        scheme, _, token = header(scope, b"authorization").partition(" ")
        shown = hashlib.sha256(token.strip().encode("latin-1")).hexdigest()
        return hmac.compare_digest(shown, self._digest) and scheme.lower() == "bearer"

    async def _answer(self, scope: Scope, send: Send) -> None:
        status, kind, extra, body = 200, "text/plain; charset=utf-8", [], b""
        if scope["method"] not in {"GET", "HEAD"}:
            status, extra, body = 405, [(b"allow", b"GET, HEAD")], b"only GET\n"
        elif not self._allowed(scope):
            status, extra, body = 401, [(b"www-authenticate", b"Bearer")], b"the scrape token is needed\n"
        else:
            encoder, kind = choose_encoder(header(scope, b"accept"))
            body = encoder(REGISTRY)
        headers = [(b"content-type", kind.encode("ascii")), (b"content-length", str(len(body)).encode("ascii")), *extra]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
