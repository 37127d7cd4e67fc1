"""Phoenix Performance Dashboard: the machine, the containers, the database, and the spans' way through the pipeline."""

from alerts import names
from components.settings import Settings
from dashboards import database, selectors
from dashboards.kit import Board, Look, PanelBuilder, Query, Step, graph, number, rows

TITLE = "Phoenix Performance Dashboard"
UID = "agentstack-performance"
RATE = selectors.RATE
BATCHES = "agentstack_phoenix_store_seconds"


def render(settings: Settings, phoenix_url: str) -> str:
    """The dashboard's JSON."""
    return (
        Board(
            title=TITLE,
            uid=UID,
            description="Resources of the host and of every container, PostgreSQL, and how spans get from the edge "
            "through the "
            "Collector's queue into the database.",
            tags=("phoenix", "performance"),
            phoenix_url=phoenix_url,
            runbooks=settings.alerting.runbooks,
            variables=("project", "service"),
        )
        .row("Now", *_now(settings), height=5)
        .row("System resource utilization: containers", *_containers(settings))
        .row("System resource utilization: host", *_host(settings))
        .row("Database performance", *database.panels(settings))
        .row("Trace processing rates", *_processing())
        .row("Queue depth and latency", *_queues(settings))
        .row("Services", *_services(settings))
        .render()
    )


def _above(value: float, early: float = 0.8) -> tuple[Step, Step]:
    """Orange on the way to an alert's threshold, red from it on."""
    return (Step(value * early, "orange"), Step(value, "red"))


def _now(settings: Settings) -> list[tuple[int, PanelBuilder]]:
    limits = settings.alerting.thresholds
    down = Step(1, "green")
    return [
        (
            4,
            number(
                "Targets up",
                "Share of the scrape targets that answer.",
                Query("avg(up)"),
                Look("percentunit", (Step(0.95, "orange"), down), base="red", maximum=1),
            ),
        ),
        (
            4,
            number(
                "Spans stored",
                "Spans per second that Phoenix acknowledged: they are in the database.",
                Query(f"sum(rate(otelcol_exporter_sent_spans[{RATE}]))"),
                Look("cps", base="text", no_value="none yet"),
            ),
        ),
        (
            4,
            number(
                "Collector's queue",
                "Fill of the queue on disk towards Phoenix; red from the alert's threshold on.",
                Query(f"max({names.QUEUE_RATIO})"),
                Look("percentunit", _above(limits.collector_queue_ratio)),
            ),
        ),
        (
            4,
            number(
                "Fullest memory",
                "The container that is nearest to its memory limit; red from the alert's threshold on.",
                Query(f"max({names.MEMORY_RATIO})"),
                Look("percentunit", _above(limits.memory_ratio)),
            ),
        ),
        (
            4,
            number(
                "Database connections",
                "Share of PostgreSQL's connections that are taken.",
                Query("sum(pg_stat_activity_count) / sum(pg_settings_max_connections)"),
                Look("percentunit", _above(limits.connections_ratio)),
            ),
        ),
        (
            4,
            number(
                "Free disk",
                "The file system of the host with the least free space.",
                Query("min(node_filesystem_avail_bytes / node_filesystem_size_bytes)"),
                Look(
                    "percentunit",
                    (Step(limits.disk_free_ratio, "orange"), Step(2 * limits.disk_free_ratio, "green")),
                    base="red",
                ),
            ),
        ),
    ]


def _containers(settings: Settings) -> list[tuple[int, PanelBuilder]]:
    limits = settings.alerting.thresholds
    by_service = "{{service}}"
    return [
        (
            12,
            graph(
                "Memory of the containers",
                "Share of the memory limit, without the page cache; the dashed line is the alert's threshold.",
                [Query(f"sort_desc(max by (service) ({names.MEMORY_RATIO}))", by_service)],
                Look("percentunit", (Step(limits.memory_ratio, "red"),), line_at_threshold=True, maximum=1),
            ),
        ),
        (
            12,
            graph(
                "Processors of the containers",
                "Cores in use.",
                [Query(f"sum by (service) (rate(container_cpu_usage_total[{RATE}])) / 1e9", by_service)],
                Look("none", decimals=2),
            ),
        ),
        (
            12,
            graph(
                "Held back by the CPU limit",
                "Share of the scheduling periods; the dashed line is the alert's threshold.",
                [Query(f"max by (service) ({names.THROTTLED_RATIO})", by_service)],
                Look("percentunit", (Step(limits.cpu_throttled_ratio, "red"),), line_at_threshold=True),
            ),
        ),
        (
            12,
            graph(
                "Resident memory of the processes",
                "As each process tells it itself.",
                [Query("sum by (component) (process_resident_memory_bytes)", "{{component}}")],
                Look("bytes"),
            ),
        ),
        (
            12,
            graph(
                "CPU time of the processes",
                "Cores in use, as each process tells it itself.",
                [Query(f"sum by (component) (rate(process_cpu_seconds_total[{RATE}]))", "{{component}}")],
                Look("none", decimals=2),
            ),
        ),
        (
            12,
            graph(
                "Network of the containers",
                "Bytes per second, received and sent.",
                [
                    Query(
                        f"sum by (service) (rate(container_network_io_usage_rx_bytes[{RATE}]))", "{{service}} received"
                    ),
                    Query(f"sum by (service) (rate(container_network_io_usage_tx_bytes[{RATE}]))", "{{service}} sent"),
                ],
                Look("Bps"),
            ),
        ),
    ]


def _host(settings: Settings) -> list[tuple[int, PanelBuilder]]:
    limits = settings.alerting.thresholds
    idle = f'avg(rate(node_cpu_seconds_total{{mode="idle"}}[{RATE}]))'
    return [
        (
            8,
            graph(
                "Host: processors",
                "Share in use, and share of the time that some process waited for one.",
                [
                    Query(f"1 - {idle}", "in use"),
                    Query(f"max(rate(node_pressure_cpu_waiting_seconds_total[{RATE}]))", "waiting"),
                ],
                Look("percentunit", maximum=1),
            ),
        ),
        (
            8,
            graph(
                "Host: memory",
                "Share in use, without the page cache; the dashed line is the alert's threshold.",
                [Query("max(1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)", "in use")],
                Look("percentunit", (Step(limits.host_memory_ratio, "red"),), line_at_threshold=True, maximum=1),
            ),
        ),
        (
            8,
            graph(
                "Host: free disk space",
                "Bytes that are free on each file system.",
                [Query("min by (mountpoint) (node_filesystem_avail_bytes)", "{{mountpoint}}")],
                Look("bytes"),
            ),
        ),
    ]


def _processing() -> list[tuple[int, PanelBuilder]]:
    return [
        (
            12,
            graph(
                "Spans through the pipeline",
                "Spans per second at each step: the steps should lie on each other.",
                [
                    Query(f"sum(rate(otelcol_receiver_accepted_spans[{RATE}]))", "accepted by the Collector"),
                    Query(f"sum(rate(otelcol_exporter_sent_spans[{RATE}]))", "stored by Phoenix"),
                    Query(f"sum(rate(otelcol_receiver_refused_spans[{RATE}]))", "refused by the Collector"),
                ],
                Look("cps"),
            ),
        ),
        (
            12,
            graph(
                "Requests at the edge by application",
                "OTLP requests per second that were passed on.",
                [Query(f"sum by (application) (rate(edge_application_accepted_total[{RATE}]))", "{{application}}")],
                Look("reqps", stacked=True),
            ),
        ),
        (
            12,
            graph(
                "Spans by project",
                "Spans per second, counted before sampling.",
                [
                    Query(
                        f"sum by (project) (rate({names.SPANS}{{{selectors.PROJECTS}, {selectors.SERVICES}}}[{RATE}]))",
                        "{{project}}",
                    )
                ],
                Look("cps", stacked=True),
            ),
        ),
        (
            12,
            graph(
                "Refused at the edge",
                "Requests per second that met a limit, or came without a known token.",
                [
                    Query(
                        f"sum by (application, reason) (rate(edge_application_limited_total[{RATE}]))",
                        "{{application}}: {{reason}}",
                    ),
                    Query(f"sum(rate(edge_unknown_token_requests_total[{RATE}]))", "unknown token"),
                ],
                Look("reqps"),
            ),
        ),
    ]


def _queues(settings: Settings) -> list[tuple[int, PanelBuilder]]:
    limits = settings.alerting.thresholds
    span_queue = settings.phoenix.span_queue
    return [
        (
            12,
            graph(
                "Fill of the Collector's queue",
                "Share of the queue on disk towards Phoenix; the dashed line is the alert's threshold.",
                [Query(names.QUEUE_RATIO, "{{instance}} {{exporter}}")],
                Look("percentunit", (Step(limits.collector_queue_ratio, "red"),), line_at_threshold=True),
            ),
        ),
        (
            12,
            graph(
                "Spans in Phoenix' hands",
                "Waiting in Phoenix' memory, and taken but not acknowledged yet.",
                [
                    Query("sum by (instance) (phoenix_span_queue_size)", "{{instance}} waiting"),
                    Query("sum by (instance) (agentstack_phoenix_spans_outstanding)", "{{instance}} not acknowledged"),
                ],
                Look("short", (Step(limits.phoenix_queue_ratio * span_queue, "red"),), line_at_threshold=True),
            ),
        ),
        (
            12,
            graph(
                "Time until spans are stored",
                "From a batch's arrival at Phoenix to its being in the database.",
                [
                    Query(
                        f"histogram_quantile({quantile}, sum by (le) (rate({BATCHES}_bucket[{RATE}])))",
                        f"p{round(quantile * 100)}",
                    )
                    for quantile in (0.5, 0.95, 0.99)
                ],
                Look("s"),
            ),
        ),
        (
            12,
            graph(
                "Batches sent again",
                "Requests per second that Phoenix could not store in time, and spans that it was given twice.",
                [
                    Query(
                        f"sum by (reason) (rate(agentstack_phoenix_requests_unacknowledged_total[{RATE}]))",
                        "requests: {{reason}}",
                    ),
                    Query(f"sum(rate(agentstack_phoenix_spans_repeated_total[{RATE}]))", "spans given again"),
                ],
                Look("cps"),
            ),
        ),
        (
            12,
            graph(
                "Time until Phoenix answers by page",
                "Mean duration of HTTP requests to Phoenix.",
                [
                    Query(
                        f"sum by (path) (rate(starlette_requests_processing_time_seconds_summary_sum[{RATE}]))"
                        f" / (sum by (path) (rate(starlette_requests_processing_time_seconds_summary_count[{RATE}])) "
                        f"> 0)",
                        "{{path}}",
                    )
                ],
                Look("s"),
            ),
        ),
        (
            12,
            graph(
                "Time of the probes",
                "How long each address takes to answer over verified TLS.",
                [Query("max by (instance) (probe_duration_seconds)", "{{instance}}")],
                Look("s"),
            ),
        ),
    ]


def _services(settings: Settings) -> list[tuple[int, PanelBuilder]]:
    days = settings.alerting.thresholds.certificate_days
    return [
        (
            12,
            rows(
                "Targets",
                "Every scrape target: whether it answers, and how long it takes.",
                [
                    Query("min by (component, job, instance) (up)", instant=True, table=True),
                    Query("max by (component, job, instance) (scrape_duration_seconds)", instant=True, table=True),
                ],
                Look("none", decimals=3, overrides=(("Duration", "unit", "s"),)),
                columns={
                    "component": "Service",
                    "job": "Job",
                    "instance": "Instance",
                    "Value #A": "Up",
                    "Value #B": "Duration",
                },
                sort="Duration",
            ),
        ),
        (
            6,
            graph(
                "Restarts",
                "How often Docker started a container again.",
                [Query("max by (service) (container_restarts) > 0", "{{service}}")],
                Look("short"),
            ),
        ),
        (
            6,
            graph(
                "Certificates",
                "Days until the certificate of each probed address ends.",
                [Query("min by (probed) (probe_ssl_earliest_cert_expiry - time()) / 86400", "{{probed}}")],
                Look("d", (Step(days, "green"),), base="red"),
            ),
        ),
    ]
