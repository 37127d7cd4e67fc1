"""The Collector: its queue on disk, what it refuses, what it loses, what it can't count any more."""

from alerts import names
from alerts.model import Alert, Firing, RuleGroup, Silencer, Story, grown, percent, selector
from components.settings import Settings

AT = {"job": "collector", "component": "collector", "instance": "collector:8888"}
OWN = {**AT, "service_name": "agentstack-otel-collector-1"}
EXPORTER = "otlp_http/phoenix"
TO_PHOENIX = {**OWN, "exporter": EXPORTER}
CAPACITY = 1_000_000_000
PHOENIX_DOWN = Silencer("ServiceDown", when={"component": "phoenix"})
NEARLY_FULL = 0.9


def groups(settings: Settings) -> list[RuleGroup]:
    """Alerts about the Collector."""
    limits = settings.alerting.thresholds
    return [
        RuleGroup(
            "collector",
            (
                queue("CollectorQueueFilling", limits.collector_queue_ratio, "5m", "warning"),
                queue("CollectorQueueNearlyFull", NEARLY_FULL, "1m", "critical"),
                not_delivering(),
                spans_dropped(),
                spans_not_queued(),
                spans_refused(),
                series_limit(),
            ),
        )
    ]


def queue(name: str, ratio: float, hold: str, severity: str) -> Alert:
    size = selector("otelcol_exporter_queue_size", **TO_PHOENIX, data_type="traces")
    capacity = selector("otelcol_exporter_queue_capacity", **TO_PHOENIX, data_type="traces")
    above = (1 + ratio) / 2
    urgent = severity == "critical"
    return Alert(
        name=name,
        expr=f"{names.QUEUE_RATIO} > {ratio:g}",
        hold=hold,
        severity="critical" if urgent else "warning",
        summary=f"The Collector's queue {'is nearly full' if urgent else 'fills'}",
        description="The queue of {{ $labels.instance }} towards Phoenix ({{ $labels.exporter }}) is "
        "{{ $value | humanizePercentage "
        f"}}}} full (alert above {ratio:.0%}). A full queue refuses spans; senders then keep or lose them.",
        fires=Story(
            series={
                size: f"0x4 {CAPACITY * above:.0f}x14 0x20",
                capacity: f"{CAPACITY}x40",
            },
            silent=("4m", "5m", "25m"),
            firing=(
                Firing(
                    at="14m",
                    labels={"instance": "collector:8888", "exporter": EXPORTER},
                    summary=f"The Collector's queue {'is nearly full' if urgent else 'fills'}",
                    description=f"The queue of collector:8888 towards Phoenix (otlp_http/phoenix) is "
                    f"{percent(above)} full "
                    f"(alert above {ratio:.0%}). A full queue refuses spans; senders then keep or lose them.",
                ),
            ),
        ),
        below=Story(
            series={size: f"{CAPACITY * ratio * 0.99:.0f}x40", capacity: f"{CAPACITY}x40"}, silent=("20m", "40m")
        ),
        silenced_by=() if urgent else (Silencer("CollectorQueueNearlyFull", equal=("instance", "exporter")),),
    )


def not_delivering() -> Alert:
    sent = selector("otelcol_exporter_sent_spans", **TO_PHOENIX)
    waiting = selector("otelcol_exporter_queue_size", **TO_PHOENIX, data_type="traces")
    return Alert(
        name="CollectorNotDelivering",
        # The size is in bytes and falls to 0 between two batches: it was never empty for the whole time.
        expr="min by (component, instance) "
        '(min_over_time(otelcol_exporter_queue_size{exporter="otlp_http/phoenix"}[5m])) > 0'
        " unless on (instance) sum by (instance) (rate(otelcol_exporter_sent_spans[5m])) > 0",
        hold="1m",
        severity="critical",
        summary="The Collector delivers nothing to Phoenix",
        description="{{ $labels.instance }} has delivered no span for 5 minutes although "
        "{{ $value | humanize1024 }}B wait in its "
        "queue on disk. Nothing is lost until the queue is full.",
        fires=Story(
            series={sent: "0+10x5 50x12 50+10x20", waiting: "0x5 2048x12 0x20"},
            silent=("5m", "9m", "20m"),
            firing=(
                Firing(
                    at="14m",
                    labels={"component": "collector", "instance": "collector:8888"},
                    summary="The Collector delivers nothing to Phoenix",
                    description="collector:8888 has delivered no span for 5 minutes although 2kiB wait in its queue "
                    "on disk. "
                    "Nothing is lost until the queue is full.",
                ),
            ),
        ),
        # Slow, but something arrives; and nothing to deliver is no fault.
        below=Story(
            series={
                sent: "0+1x40",
                waiting: "2048x40",
                selector("otelcol_exporter_sent_spans", **{**TO_PHOENIX, "instance": "idle:8888"}): "100x40",
                selector(
                    "otelcol_exporter_queue_size", **{**TO_PHOENIX, "instance": "idle:8888"}, data_type="traces"
                ): "0x40",
            },
            silent=("15m", "40m"),
        ),
        silenced_by=(PHOENIX_DOWN, Silencer("PostgresDown")),
    )


def _lost(name: str, metric: str, window: str, summary: str, description: str) -> Alert:
    """A counter of lost spans, which appears with the first loss."""
    series = selector(metric, **TO_PHOENIX)
    return Alert(
        name=name,
        expr=f"sum by (component, instance, exporter) {grown(metric, window)} > 0",
        severity="critical",
        summary=summary,
        description='{{ $value | printf "%.0f" }} ' + description,
        fires=Story(
            # Born with the first loss.
            series={series: "_x5 25x40", selector("up", **AT): "1x60"},
            silent=("4m", "20m", "40m"),
            firing=(
                Firing(
                    at="6m",
                    labels={"component": "collector", "instance": "collector:8888", "exporter": EXPORTER},
                    summary=summary,
                    description=f"25 {description}",
                ),
            ),
        ),
        # What was lost long ago.
        below=Story(series={series: "25x90"}, silent=("80m",)),
    )


def spans_dropped() -> Alert:
    return _lost(
        "CollectorSpansDropped",
        "otelcol_exporter_send_failed_spans",
        "10m",
        "The Collector drops spans that Phoenix refuses",
        "spans were dropped within 10 minutes: Phoenix answered that it will never take them. The usual cause is a "
        "wrong admin "
        "secret (401).",
    )


def spans_not_queued() -> Alert:
    return _lost(
        "CollectorSpansNotQueued",
        "otelcol_exporter_enqueue_failed_spans",
        "10m",
        "The Collector's queue takes no spans",
        "spans found no place in the Collector's queue within 10 minutes: it is full, or its disk is.",
    )


def spans_refused() -> Alert:
    metric = "otelcol_receiver_refused_spans"
    series = selector(metric, **OWN, receiver="otlp", transport="http")
    return Alert(
        name="CollectorSpansRefused",
        expr=f"sum by (component, instance) (rate({metric}[5m])) > 0",
        hold="5m",
        severity="warning",
        summary="The Collector refuses spans",
        description='{{ $labels.instance }} refuses {{ $value | printf "%.1f" }} spans per second: it is short of '
        "memory or its "
        "queue is full. Senders try again for a while.",
        fires=Story(
            series={series: "0x4 0+120x20 2400x20"},
            silent=("4m", "8m", "35m"),
            firing=(
                Firing(
                    at="15m",
                    labels={"component": "collector", "instance": "collector:8888"},
                    summary="The Collector refuses spans",
                    description="collector:8888 refuses 2.0 spans per second: it is short of memory or its queue is "
                    "full. Senders "
                    "try again for a while.",
                ),
            ),
        ),
        below=Story(series={series: "120x40"}, silent=("15m", "40m")),
        silenced_by=(Silencer("CollectorQueueNearlyFull", equal=("instance",)),),
    )


def series_limit() -> Alert:
    tracked = selector("otelcol_deltatocumulative_streams_tracked", **OWN)
    limit = selector("otelcol_deltatocumulative_streams_limit", **OWN)
    return Alert(
        name="CollectorSeriesLimit",
        expr="otelcol_deltatocumulative_streams_tracked / (otelcol_deltatocumulative_streams_limit > 0) > 0.8",
        hold="5m",
        severity="warning",
        summary="The metrics from spans reach their limit of series",
        description="{{ $labels.instance }} keeps {{ $value | humanizePercentage }} of the series that it may: at "
        "100% new models, "
        "projects and services are no longer counted, nor is their cost.",
        fires=Story(
            series={tracked: "100x4 900x10 100x20", limit: "1000x40"},
            silent=("4m", "8m", "20m"),
            firing=(
                Firing(
                    at="12m",
                    labels=OWN,
                    summary="The metrics from spans reach their limit of series",
                    description="collector:8888 keeps 90% of the series that it may: at 100% new models, projects "
                    "and services "
                    "are no longer counted, nor is their cost.",
                ),
            ),
        ),
        below=Story(series={tracked: "800x40", limit: "1000x40"}, silent=("15m", "40m")),
    )
