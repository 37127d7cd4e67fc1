"""The edge's map files: who may send, how much, and who may read metrics.

Digests only, never a token or password. What is in LIVE_FILES changes without a restart of the edge: rewritten in
the live volume, taken up by a reload (``reload.py``).
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from components.names import CONFIG_DIR, LIVE_DIR, SMOKE_APPLICATION
from components.settings.access import Application

APPLICATIONS_MAP: Final = "maps/apps.map"
REQUESTS_MAP: Final = "maps/rps.map"
BYTES_MAP: Final = "maps/bps.map"
SCRAPERS_MAP: Final = "maps/scrapers.map"

UNKNOWN: Final = "-unknown-"
"""Key of requests without a known token in the table of applications (no application can have that name)."""

PAGE_BYTES: Final = 15 * 1024
"""HAProxy does not start with a page of metrics that is longer than its buffer of 16 KiB; the answer is shorter."""

_SERIES: Final[Sequence[tuple[str, str, str, Sequence[tuple[str, str]]]]] = (
    (
        "requests_total",
        "counter",
        "Requests with a known token, accepted or not.",
        (("", "table_http_req_cnt(st_app)"),),
    ),
    ("accepted_total", "counter", "Requests passed on to a collector.", (("", "table_gpc(0,st_app)"),)),
    ("errors_total", "counter", "Requests a collector answered with an error.", (("", "table_gpc(4,st_app)"),)),
    ("received_kilobytes_total", "counter", "KiB received.", (("", "table_kbytes_in(st_app)"),)),
    ("in_flight", "gauge", "Requests in flight.", (("", "table_conn_cur(st_app)"),)),
    (
        "limited_total",
        "counter",
        "Requests refused by a limit.",
        (
            ("requests", "table_gpc(1,st_app)"),
            ("bytes", "table_gpc(2,st_app)"),
            ("too_large", "table_gpc(3,st_app)"),
            ("in_flight", "table_gpc(5,st_app)"),
        ),
    ),
)


def config_path(file: str) -> str:
    """Where a file of the configuration volume stands in the container."""
    return f"{CONFIG_DIR}/{file}"


def live_path(file: str) -> str:
    """Where a live file stands in the container."""
    return f"{LIVE_DIR}/{file}"


def token_digest(token: str) -> str:
    """What the edge keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def scraper_digest(username: str, password: str) -> str:
    """What the edge keeps of a scraper's basic auth: the digest of the whole Authorization value."""
    value = base64.b64encode(f"{username}:{password}".encode()).decode()
    return hashlib.sha256(f"Basic {value}".encode()).hexdigest()


def applications_map(digests: Mapping[str, Sequence[str]]) -> str:
    """Digest of a token -> application. Several digests of one application are all valid (rotation).

    Raises:
        ValueError: when two applications have the same token, or a digest is none.
    """
    owners: dict[str, str] = {}
    for application, own in sorted(digests.items()):
        for digest in own:
            if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
                raise ValueError(f"application {application}: {digest!r} is not a SHA-256 digest in lower-case hex")
            if owners.setdefault(digest, application) != application:
                raise ValueError(f"applications {owners[digest]} and {application} have the same token")
    return _lines(f"{digest} {application}" for digest, application in owners.items())


def requests_map(applications: Mapping[str, Application]) -> str:
    """Application -> requests per second."""
    return _lines(f"{name} {limits.requests_per_second}" for name, limits in sorted(applications.items()))


def bytes_map(applications: Mapping[str, Application]) -> str:
    """Application -> bytes per second."""
    return _lines(f"{name} {limits.bytes_per_second}" for name, limits in sorted(applications.items()))


def scrapers_map(username: str, password: str) -> str:
    """Digest of an Authorization value -> who reads metrics."""
    return _lines([f"{scraper_digest(username, password)} {username}"])


def metrics_pages(applications: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Path on the metrics port -> (live file, its text): the series per application that HAProxy's exporter lacks.

    The first page also counts the requests without a known token.
    """
    split: list[list[str]] = [[]]
    for name in sorted(applications):
        if len(_page([*split[-1], name], first=True)) > PAGE_BYTES:
            split.append([])
        split[-1].append(name)
    pages = {}
    for number, names in enumerate(split, start=1):
        path = "/metrics/applications" if number == 1 else f"/metrics/applications/{number}"
        file = "maps/app-metrics.lf" if number == 1 else f"maps/app-metrics-{number}.lf"
        pages[path] = (file, _page(names, first=number == 1))
    return pages


def _page(names: Sequence[str], first: bool) -> str:
    lines = []
    for name, kind, text, values in _SERIES:
        metric = f"edge_application_{name}"
        lines += [f"# HELP {metric} {text}", f"# TYPE {metric} {kind}"]
        for reason, converter in values:
            label = f',reason="{reason}"' if reason else ""
            lines += [f'{metric}{{application="{app}"{label}}} %[str({app}),{converter}]' for app in names]
    if first:
        metric = "edge_unknown_token_requests_total"
        lines += [
            f"# HELP {metric} Requests without a known token.",
            f"# TYPE {metric} counter",
            f"{metric} %[str({UNKNOWN}),table_http_req_cnt(st_app)]",
        ]
    return _lines(lines)


def with_smoke(applications: Mapping[str, Application], smoke: Application) -> dict[str, Application]:
    """The applications of the stack file and the reserved one."""
    return {**applications, SMOKE_APPLICATION: smoke}


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
