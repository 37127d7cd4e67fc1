"""A check of our own against misspelt keys.

Components built on the Collector's HTTP client and server settings ignore keys that they do not know, and `validate`
passes: `sending_queuee` starts a Collector that acknowledges spans and keeps none of them, `max_elapsed_timee` brings
back the drop after five minutes. So what is rendered for those components is held against the keys that exist.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final

_AUTH: Final = frozenset({"authenticator"})
_TLS: Final = frozenset({
    "ca_file", "ca_pem", "cert_file", "cert_pem", "key_file", "key_pem", "cipher_suites", "curve_preferences",
    "include_system_ca_certs_pool", "min_version", "max_version", "reload_interval",
})  # fmt: skip
_TLS_SERVER: Final = _TLS | {"client_ca_file", "client_ca_file_reload"}
_TLS_CLIENT: Final = _TLS | {"insecure", "server_name_override"}
"""`insecure_skip_verify` exists and is left out on purpose: every hop of ours is verified."""
_BATCH: Final = frozenset({"flush_timeout", "sizer", "min_size", "max_size", "partition"})
_QUEUE: Final[Mapping[str, Any]] = {
    "enabled": None, "wait_for_result": None, "sizer": None, "queue_size": None, "block_on_overflow": None,
    "storage": None, "num_consumers": None, "batch": _BATCH,
}  # fmt: skip
_RETRY: Final = frozenset({
    "enabled", "initial_interval", "max_elapsed_time", "max_interval", "multiplier", "randomization_factor",
})  # fmt: skip
_SERVER: Final[Mapping[str, Any]] = {
    "endpoint": None, "transport": None, "dialer": None, "tls": _TLS_SERVER, "cors": None,
    "auth": _AUTH | {"request_params"}, "max_request_body_size": None, "include_metadata": None,
    "response_headers": None, "compression_algorithms": None, "read_timeout": None, "read_header_timeout": None,
    "write_timeout": None, "middlewares": None, "keepalive": None, "idle_timeout": None, "keep_alives_enabled": None,
}  # fmt: skip
_CLIENT: Final[Mapping[str, Any]] = {
    "endpoint": None, "proxy_url": None, "tls": _TLS_CLIENT, "read_buffer_size": None, "write_buffer_size": None,
    "timeout": None, "headers": None, "auth": _AUTH, "compression": None, "compression_params": frozenset({"level"}),
    "max_conns_per_host": None, "http2_read_idle_timeout": None, "http2_ping_timeout": None, "cookies": None,
    "force_attempt_http2": None, "middlewares": None, "keepalive": None, "idle_conn_timeout": None,
    "max_idle_conns": None, "max_idle_conns_per_host": None, "disable_keep_alives": None,
}  # fmt: skip

KNOWN: Final[Mapping[tuple[str, str], Mapping[str, Any]]] = MappingProxyType({
    ("exporters", "otlp_http"): {
        **_CLIENT, "sending_queue": _QUEUE, "retry_on_failure": _RETRY, "traces_endpoint": None,
        "metrics_endpoint": None, "logs_endpoint": None, "profiles_endpoint": None, "encoding": None,
    },
    ("exporters", "prometheus"): {
        **_SERVER, "sending_queue": _QUEUE, "namespace": None, "const_labels": None, "send_timestamps": None,
        "metric_expiration": None, "resource_constant_labels": None, "enable_open_metrics": None,
        "without_scope_info": None, "translation_strategy": None,
    },
    ("extensions", "health_check"): {**_SERVER, "path": None, "response_body": None},
    ("receivers", "otlp"): {
        "protocols": {
            "grpc": None,
            "http": {**_SERVER, "traces_url_path": None, "metrics_url_path": None, "logs_url_path": None},
        }
    },
})  # fmt: skip
"""(section, component type) -> the keys that it has in Collector 0.161. None: nothing below is checked here (the
Collector's own check covers it, or it is free)."""


class UnknownKeyError(ValueError):
    """A key that the Collector would silently ignore; the message says where it stands and what was likely meant."""


def check(config: Mapping[str, Any]) -> None:
    """Hold every component that ignores unknown keys against those it has.

    Raises:
        UnknownKeyError: for the first key that does not exist.
    """
    for (section, kind), known in KNOWN.items():
        for name, settings in config.get(section, {}).items():
            if name.partition("/")[0] == kind:
                _compare(settings or {}, known, f"{section}::{name}")


def _compare(node: Any, known: Any, path: str) -> None:
    if known is None or not isinstance(node, Mapping):
        return
    for key, value in node.items():
        if key not in known:
            near = get_close_matches(str(key), list(known), n=1)
            meant = f"; {near[0]!r} was likely meant" if near else ""
            raise UnknownKeyError(
                f"{path}::{key} is not a setting of the Collector, which would ignore it without a word{meant}"
            )
        if isinstance(known, Mapping):
            _compare(value, known[key], f"{path}::{key}")
