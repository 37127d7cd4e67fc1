"""What the edge says when it refuses: one sentence each, with what to do. No quotes, percent signs or backslashes."""

from typing import Final

from components.edge.limits import LIMITS

_MIB: Final = 1024 * 1024

MESSAGES: Final[dict[str, str]] = {
    "token": "unknown or missing bearer token: send the header authorization: Bearer TOKEN with this application token",
    "limited": "rate limit of this application reached: send again later, or raise its limits in the stack file",
    "too_large": f"larger than {LIMITS.body_bytes // _MIB} MiB: send smaller batches",
    "no_logs": "logs are not taken here: only traces and metrics are; switch the log exporter off",
    "unknown_method": "unknown method: only traces and metrics are taken here",
    "unknown_path": "unknown path: POST to /v1/traces or /v1/metrics",
    "post_only": "only POST is taken here",
    "origin": "pages of this origin may not send here: name it in allowedOrigins of the stack file",
    "otlp_over_tls": "this port takes OTLP over TLS only: use an https endpoint, the CA certificate and a token",
    "only_traces_here": "only POST /v1/traces is served here: the interface of Phoenix is published on the host",
    "ui_over_tls": "this port speaks HTTPS only: use https in the address",
    "closed": "not served here",
    "admin": "administration over the network is switched off at the edge",
    "foreign_page": "a page of another origin may not do this: name it in allowedOrigins of the stack file",
    "too_many_logins": "too many attempts: wait a minute",
    "ui_too_large": f"larger than {LIMITS.ui_body_bytes // _MIB} MiB",
}
