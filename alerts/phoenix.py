"""Phoenix: whether spans get into the database, and whether its background loops live."""

from alerts.model import Alert, Firing, RuleGroup, Silencer, Story, grown, selector
from components.settings import Settings

AT = {"job": "phoenix", "component": "phoenix", "instance": "phoenix:6006"}
DATABASE_DOWN = Silencer("PostgresDown")


def groups(settings: Settings) -> list[RuleGroup]:
    """Alerts about Phoenix."""
    limits = settings.alerting.thresholds
    return [
        RuleGroup(
            "phoenix",
            (
                queue_filling(limits.phoenix_queue_ratio, settings.phoenix.span_queue),
                not_acknowledging(),
                spans_lost(),
                storing_slow(),
                loop_lost(),
                loader_silent(),
                failing_requests(),
                retention_late(),
            ),
        )
    ]


def queue_filling(ratio: float, size: int) -> Alert:
    series = selector("phoenix_span_queue_size", **AT)
    bound = ratio * size
    return Alert(
        name="PhoenixQueueFilling",
        expr=f"min_over_time(phoenix_span_queue_size[2m]) > {bound:g}",
        hold="3m",
        severity="warning",
        summary="Phoenix stores more slowly than spans arrive",
        description='{{ $value | printf "%.0f" }} spans wait in the memory of {{ $labels.instance }} '
        f"(alert above {bound:g} of {size}). The Collector keeps what Phoenix does not take.",
        fires=Story(
            series={series: f"0x4 {bound + 10:g}x12 0x20"},
            silent=("4m", "7m", "20m"),
            firing=(
                Firing(
                    at="12m",
                    labels=AT,
                    summary="Phoenix stores more slowly than spans arrive",
                    description=f"{bound + 10:.0f} spans wait in the memory of phoenix:6006 (alert above {bound:g} "
                    f"of {size}). "
                    "The Collector keeps what Phoenix does not take.",
                ),
            ),
        ),
        # Full for a moment, then empty, is how it works.
        below=Story(series={series: f"{bound:g} {size} 0 {size} 0 {bound:g}x30"}, silent=("4m", "30m")),
        silenced_by=(DATABASE_DOWN,),
    )


def not_acknowledging() -> Alert:
    metric = "agentstack_phoenix_requests_unacknowledged_total"
    series = selector(metric, **AT, reason="slow")
    return Alert(
        name="PhoenixNotAcknowledging",
        expr=f"sum by (component, instance) (rate({metric}[5m])) > 0",
        hold="5m",
        severity="warning",
        summary="Phoenix sends spans back to the Collector",
        description='{{ $labels.instance }} answers {{ $value | printf "%.2f" }} requests per second with '
        '"try again": the spans '
        "did not get into the database in time. Nothing is lost; the Collector's queue grows.",
        fires=Story(
            series={series: "0x4 0+30x20 600x20"},
            silent=("4m", "8m", "35m"),
            firing=(
                Firing(
                    at="15m",
                    labels={"component": "phoenix", "instance": "phoenix:6006"},
                    summary="Phoenix sends spans back to the Collector",
                    description='phoenix:6006 answers 0.50 requests per second with "try again": the spans did not '
                    "get into the "
                    "database in time. Nothing is lost; the Collector's queue grows.",
                ),
            ),
        ),
        below=Story(series={series: "0x4 30x1 60x40"}, silent=("9m", "15m", "40m")),
        silenced_by=(DATABASE_DOWN,),
    )


def spans_lost() -> Alert:
    metric = "phoenix_span_ingestion_failed_spans_total"
    series = selector(metric, **AT, reason="span_error")
    return Alert(
        name="PhoenixSpansLost",
        expr=f"sum by (component, instance, reason) {grown(metric, '15m')} > 0",
        severity="critical",
        summary="Phoenix could not store spans",
        description='{{ $value | printf "%.0f" }} spans were given up within 15 minutes ({{ $labels.reason }}): the '
        "database "
        "refuses them whatever happens. Phoenix' log has their ids.",
        fires=Story(
            series={series: "0x4 3x50"},
            silent=("4m", "30m"),
            firing=(
                Firing(
                    at="15m",
                    labels={"component": "phoenix", "instance": "phoenix:6006", "reason": "span_error"},
                    summary="Phoenix could not store spans",
                    description="3 spans were given up within 15 minutes (span_error): the database refuses them "
                    "whatever "
                    "happens. Phoenix' log has their ids.",
                ),
            ),
        ),
        below=Story(series={series: "3x90"}, silent=("80m",)),
    )


def storing_slow() -> Alert:
    def bucket(le: str) -> str:
        return selector("agentstack_phoenix_store_seconds_bucket", **AT, le=le)

    return Alert(
        name="PhoenixStoringSlow",
        expr="histogram_quantile(0.95, sum by (component, instance, le) "
        "(rate(agentstack_phoenix_store_seconds_bucket[5m]))) > 15",
        hold="10m",
        severity="warning",
        summary="Spans take long into the database",
        description="5% of the batches need {{ $value | humanizeDuration }} or longer until {{ $labels.instance }} "
        "has stored them "
        "(alert above 15s; at 25s they are sent again).",
        fires=Story(
            series={
                bucket("10"): "0+0x5 0+16x40 640+20x20",
                bucket("20"): "0+0x5 0+20x40 800+20x20",
                bucket("+Inf"): "0+0x5 0+20x40 800+20x20",
            },
            silent=("5m", "12m", "60m"),
            firing=(
                Firing(
                    at="30m",
                    labels={"component": "phoenix", "instance": "phoenix:6006"},
                    summary="Spans take long into the database",
                    description="5% of the batches need 17.5s or longer until phoenix:6006 has stored them (alert "
                    "above 15s; at 25s "
                    "they are sent again).",
                ),
            ),
        ),
        below=Story(
            series={bucket("10"): "0+19x60", bucket("20"): "0+20x60", bucket("+Inf"): "0+20x60"}, silent=("30m", "60m")
        ),
        silenced_by=(DATABASE_DOWN, Silencer("PhoenixNotAcknowledging")),
    )


def loop_lost() -> Alert:
    series = selector("agentstack_phoenix_loops_lost", **AT)
    return Alert(
        name="PhoenixLoopLost",
        expr="agentstack_phoenix_loops_lost > 0",
        hold="2m",
        severity="critical",
        summary="Phoenix runs without one of its background loops",
        description="{{ $value }} background loops of {{ $labels.instance }} have died, as happens after an outage "
        "of the database: "
        "tokens are no longer refreshed, new logins or API keys don't work. A restart should have followed by itself.",
        fires=Story(
            series={series: "0x4 1x10 0x20"},
            silent=("4m", "6m", "16m"),
            firing=(
                Firing(
                    at="10m",
                    labels=AT,
                    summary="Phoenix runs without one of its background loops",
                    description="1 background loops of phoenix:6006 have died, as happens after an outage of the "
                    "database: tokens "
                    "are no longer refreshed, new logins or API keys don't work. A restart should have followed by "
                    "itself.",
                ),
            ),
        ),
        below=Story(series={series: "0x4 1 0x20"}, silent=("5m", "8m", "20m")),
        silenced_by=(DATABASE_DOWN,),
    )


def loader_silent() -> Alert:
    series = selector("phoenix_bulk_loader_last_activity_timestamp_seconds", **AT)
    return Alert(
        name="PhoenixLoaderSilent",
        expr="time() - (phoenix_bulk_loader_last_activity_timestamp_seconds > 0) > 120",
        hold="2m",
        severity="critical",
        summary="Phoenix' loader stands still",
        description="The loop of {{ $labels.instance }} that writes spans has given no sign of life for "
        "{{ $value | humanizeDuration }}; it gives one every few seconds even without traffic.",
        fires=Story(
            series={series: "1+60x5 301x10 960+60x20"},
            silent=("5m", "8m", "20m"),
            firing=(
                Firing(
                    at="12m",
                    labels=AT,
                    summary="Phoenix' loader stands still",
                    description="The loop of phoenix:6006 that writes spans has given no sign of life for 6m 59s; it "
                    "gives one every "
                    "few seconds even without traffic.",
                ),
            ),
        ),
        below=Story(series={series: "1 1 1 181+60x40"}, silent=("3m", "20m")),
        silenced_by=(DATABASE_DOWN,),
    )


def failing_requests() -> Alert:
    metric = "starlette_exceptions_total"
    series = selector(metric, **AT, method="POST", path="/graphql", exception_type="KeyError")
    return Alert(
        name="PhoenixRequestsFailing",
        expr=f"sum by (component, path, exception_type) {grown(metric, '10m')} > 4",
        severity="warning",
        summary="Phoenix answers requests with errors of its own",
        description='{{ $value | printf "%.0f" }} requests to {{ $labels.path }} ended with '
        "{{ $labels.exception_type }} within 10 "
        "minutes: people see an error page.",
        fires=Story(
            series={series: "_x5 6x40"},
            silent=("4m", "20m"),
            firing=(
                Firing(
                    at="6m",
                    labels={"component": "phoenix", "path": "/graphql", "exception_type": "KeyError"},
                    summary="Phoenix answers requests with errors of its own",
                    description="6 requests to /graphql ended with KeyError within 10 minutes: people see an error "
                    "page.",
                ),
            ),
        ),
        below=Story(series={series: "_x5 4x40"}, silent=("6m", "20m")),
        silenced_by=(DATABASE_DOWN,),
    )


def retention_late() -> Alert:
    series = selector("phoenix_retention_sweeper_last_run_seconds", **AT)
    start = selector("process_start_time_seconds", **AT)
    return Alert(
        name="PhoenixRetentionLate",
        # It runs every hour; before its first run the figure is 0, and the process' start counts.
        expr="time() - ((phoenix_retention_sweeper_last_run_seconds > 0)"
        ' or process_start_time_seconds{job="phoenix"}) > 3 * 3600',
        hold="10m",
        severity="warning",
        summary="Old traces are not removed",
        description="The retention of {{ $labels.instance }} should run every hour and has not for "
        "{{ $value | humanizeDuration }}: "
        "the database grows, and what should be forgotten is kept.",
        fires=Story(
            series={series: "0x12 3600x42 16200x30", start: "0x100"},
            interval="5m",
            silent=("1h", "4h5m", "5h"),
            firing=(
                Firing(
                    at="4h30m",
                    labels=AT,
                    summary="Old traces are not removed",
                    description="The retention of phoenix:6006 should run every hour and has not for 3h 30m 0s: the "
                    "database grows, "
                    "and what should be forgotten is kept.",
                ),
            ),
        ),
        below=Story(series={series: "0x12 3600x36 14400x30", start: "0x100"}, interval="5m", silent=("3h55m", "5h")),
    )
