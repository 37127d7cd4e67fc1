"""What the edge takes at most, from whom, and how it says no. Each number stands here once.

The answers are those that make SDKs send again, as measured with the Python, Go and Node exporters: a gRPC
RESOURCE_EXHAUSTED without RetryInfo, and a Retry-After above the SDK's own timeout of 10 s, lose the batch.
"""

import base64
from dataclasses import dataclass
from typing import Final

from components.settings.access import Application


@dataclass(frozen=True)
class Limits:
    """Limits of every edge, whatever its size."""

    body_bytes: int = 16 * 1024 * 1024
    """One OTLP request (gRPC message or HTTP body, as sent). The collector's own limit must not be below."""
    requests_in_flight: int = 200
    """Of one application, at once."""
    connections_per_source: int = 100
    new_connections_per_10_seconds: int = 200
    logins_per_minute: int = 10
    """Per source and interface; Phoenix has a limit of its own (12) that sees only the edge's address."""
    refused_passwords_per_minute: int = 20
    ui_body_bytes: int = 64 * 1024 * 1024
    """One request to an interface: Phoenix takes uploads of data sets."""
    hsts_seconds: int = 31_536_000


LIMITS: Final = Limits()

SMOKE_LIMITS: Final = Application.model_validate({"requestsPerSecond": 1000, "bytesPerSecond": 100_000_000})
"""The stack's own checks and demo: never what is limited first."""

RETRY_SECONDS: Final = 2


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field (short payloads)."""
    return bytes([number << 3 | 2, len(payload)]) + payload


@dataclass(frozen=True)
class Retry:
    """How a limited gRPC client is told to send again: values of two headers, base64 without padding."""

    seconds: int
    info: str
    """google.rpc.RetryInfo, in ``google.rpc.retryinfo-bin``: what the Python exporter reads."""
    status_details: str
    """google.rpc.Status with that RetryInfo, in ``grpc-status-details-bin``: what Go reads."""


def retry(seconds: int, message: str) -> Retry:
    """Both headers for a delay of ``seconds`` (below 128)."""
    info = _field(1, bytes([1 << 3, seconds]))
    packed = _field(1, b"type.googleapis.com/google.rpc.RetryInfo") + _field(2, info)
    status = bytes([1 << 3, 8]) + _field(2, message.encode()) + _field(3, packed)
    return Retry(seconds, _base64(info), _base64(status))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")
