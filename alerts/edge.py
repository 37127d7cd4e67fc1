"""The edges: who is limited, what is behind them, how full they are."""

from alerts.model import Alert, Firing, RuleGroup, Silencer, Story, selector
from components.names import SMOKE_APPLICATION
from components.settings import Settings

APPLICATION = {
    "job": "edge-otlp-applications",
    "component": "edge-otlp",
    "instance": "edge-otlp:8405",
    "application": "shop",
}
AT = {"job": "edge-otlp", "component": "edge-otlp", "instance": "edge-otlp:8405"}
BACKENDS = "otlp_http|otlp_grpc|phoenix|grafana|prometheus|alertmanager"
"""HAProxy's backends with a service of ours behind (components/edge/templates)."""


def groups(_settings: Settings) -> list[RuleGroup]:
    """Alerts about the edges."""
    return [
        RuleGroup(
            "edge", (limited(), backend_down(), collector_errors(), connections_high(), logs_dropped(), requests_odd())
        )
    ]


def limited() -> Alert:
    metric = "edge_application_limited_total"
    series = selector(metric, **APPLICATION, reason="requests")
    return Alert(
        name="ApplicationRateLimited",
        expr=f'sum by (application, reason) (increase({metric}{{application!="{SMOKE_APPLICATION}"}}[5m])) > 20',
        hold="5m",
        severity="warning",
        summary="The application {{ $labels.application }} runs into its limit",
        description='{{ $value | printf "%.0f" }} requests of {{ $labels.application }} were refused within 5 minutes '
        "({{ $labels.reason }}). Its SDK tries again, but not for ever.",
        fires=Story(
            series={series: "0x4 0+10x30 300x20"},
            silent=("4m", "8m", "45m"),
            firing=(
                Firing(
                    at="20m",
                    labels={"application": "shop", "reason": "requests"},
                    summary="The application shop runs into its limit",
                    description="50 requests of shop were refused within 5 minutes (requests). Its SDK tries again, "
                    "but not for "
                    "ever.",
                ),
            ),
        ),
        below=Story(series={series: "0+4x50"}, silent=("20m", "50m")),
    )


def backend_down() -> Alert:
    series = selector("haproxy_backend_active_servers", **AT, proxy="otlp_http")
    return Alert(
        name="EdgeBackendDown",
        expr=f'haproxy_backend_active_servers{{proxy=~"{BACKENDS}"}} == 0',
        # Longer than ServiceDown's, which holds it back: a consequence must never be told before its cause.
        hold="2m",
        severity="critical",
        summary="{{ $labels.component }} finds nobody behind {{ $labels.proxy }}",
        description="No server of the backend {{ $labels.proxy }} of {{ $labels.component }} passes its check: "
        "requests to it are "
        "answered 503.",
        fires=Story(
            series={series: "1x4 0x10 1x20"},
            silent=("4m", "5m", "16m"),
            firing=(
                Firing(
                    at="8m",
                    labels={**AT, "proxy": "otlp_http"},
                    summary="edge-otlp finds nobody behind otlp_http",
                    description="No server of the backend otlp_http of edge-otlp passes its check: requests to it "
                    "are answered "
                    "503.",
                ),
            ),
        ),
        # A table of client addresses is a backend for HAProxy too.
        below=Story(
            series={series: "1x40", selector("haproxy_backend_active_servers", **AT, proxy="st_src"): "0x40"},
            silent=("10m", "40m"),
        ),
        silenced_by=tuple(
            Silencer("ServiceDown", when={"component": name})
            for name in ("collector", "phoenix", "grafana", "prometheus", "alertmanager")
        ),
    )


def collector_errors() -> Alert:
    errors, accepted = (
        selector("edge_application_errors_total", **APPLICATION),
        selector("edge_application_accepted_total", **APPLICATION),
    )
    return Alert(
        name="IngestErrorsHigh",
        expr="sum by (application) (rate(edge_application_errors_total[5m]))"
        " / (sum by (application) (rate(edge_application_accepted_total[5m])) > 0) > 0.05",
        hold="5m",
        severity="warning",
        summary="The Collector answers {{ $labels.application }} with errors",
        description="{{ $value | humanizePercentage }} of the requests of {{ $labels.application }} that the edge "
        "passed on were "
        "answered with an error (alert above 5%).",
        fires=Story(
            series={accepted: "0+100x50", errors: "0x4 0+25x20 500x30"},
            silent=("4m", "8m", "35m"),
            firing=(
                Firing(
                    at="18m",
                    labels={"application": "shop"},
                    summary="The Collector answers shop with errors",
                    description="25% of the requests of shop that the edge passed on were answered with an error "
                    "(alert above "
                    "5%).",
                ),
            ),
        ),
        below=Story(series={accepted: "0+100x50", errors: "0+5x50"}, silent=("18m", "50m")),
        silenced_by=(Silencer("ServiceDown", when={"component": "collector"}), Silencer("CollectorSpansRefused")),
    )


def connections_high() -> Alert:
    used, most = (
        selector("haproxy_process_current_connections", **AT),
        selector("haproxy_process_max_connections", **AT),
    )
    return Alert(
        name="EdgeConnectionsHigh",
        expr="haproxy_process_current_connections / (haproxy_process_max_connections > 0) > 0.8",
        hold="2m",
        severity="warning",
        summary="{{ $labels.component }} is short of connections",
        description="{{ $labels.component }} holds {{ $value | humanizePercentage }} of the connections that it may: "
        "at 100% clients "
        "wait.",
        fires=Story(
            series={used: "10x4 900x10 10x20", most: "1000x40"},
            silent=("4m", "6m", "18m"),
            firing=(
                Firing(
                    at="10m",
                    labels=AT,
                    summary="edge-otlp is short of connections",
                    description="edge-otlp holds 90% of the connections that it may: at 100% clients wait.",
                ),
            ),
        ),
        below=Story(series={used: "800x40", most: "1000x40"}, silent=("10m", "40m")),
    )


def logs_dropped() -> Alert:
    series = selector("haproxy_process_dropped_logs_total", **AT)
    return Alert(
        name="EdgeLogsDropped",
        expr="increase(haproxy_process_dropped_logs_total[10m]) > 10",
        severity="warning",
        summary="{{ $labels.component }} loses lines of its log",
        description='{{ $value | printf "%.0f" }} lines of the log of {{ $labels.component }} were dropped within 10 '
        "minutes: who came "
        "in is not on record.",
        fires=Story(
            series={series: "0x4 50x40"},
            silent=("4m", "20m"),
            firing=(
                Firing(
                    at="10m",
                    labels=AT,
                    summary="edge-otlp loses lines of its log",
                    description="50 lines of the log of edge-otlp were dropped within 10 minutes: who came in is not "
                    "on record.",
                ),
            ),
        ),
        below=Story(series={series: "0x4 10x40"}, silent=("10m", "20m")),
    )


def requests_odd() -> Alert:
    series = selector("haproxy_frontend_request_errors_total", **AT, proxy="otlp_http")
    return Alert(
        name="EdgeBrokenRequests",
        expr="sum by (component) (increase(haproxy_frontend_request_errors_total[10m])) > 100",
        hold="5m",
        severity="info",
        summary="{{ $labels.component }} gets broken requests",
        description='{{ $value | printf "%.0f" }} requests to {{ $labels.component }} within 10 minutes were broken '
        "off or no HTTP: a "
        "client with a fault, a scanner, or a proxy in between.",
        fires=Story(
            series={series: "0x4 0+30x20 600x30"},
            silent=("4m", "10m", "40m"),
            firing=(
                Firing(
                    at="24m",
                    labels={"component": "edge-otlp"},
                    summary="edge-otlp gets broken requests",
                    description="300 requests to edge-otlp within 10 minutes were broken off or no HTTP: a client "
                    "with a fault, a "
                    "scanner, or a proxy in between.",
                ),
            ),
        ),
        below=Story(series={series: "0+9.9x50"}, silent=("24m", "50m")),
    )
