"""The services themselves: up, reachable, within their limits."""

from alerts import names
from alerts.model import Alert, Firing, RuleGroup, Silencer, Story, percent, selector
from components.settings import Settings

PHOENIX = {"job": "phoenix", "component": "phoenix", "instance": "phoenix:6006"}
CONTAINER = {"container": "agentstack-dev-phoenix", "service": "phoenix"}
MIB = 1024 * 1024


def groups(settings: Settings) -> list[RuleGroup]:
    """Alerts about every service alike."""
    limits = settings.alerting.thresholds
    return [
        RuleGroup("services", (service_down(), service_unreachable())),
        RuleGroup(
            "containers",
            (
                memory_high(limits.memory_ratio),
                cpu_throttled(limits.cpu_throttled_ratio),
                restarting(),
                descriptors_high(),
                container_metrics_missing(),
            ),
        ),
    ]


def service_down() -> Alert:
    up = selector("up", **PHOENIX)
    return Alert(
        name="ServiceDown",
        # A probe's own `up` is that of the prober.
        expr='up{job!~"blackbox-.+"} == 0',
        hold="1m",
        severity="critical",
        summary="{{ $labels.component }} is down",
        description="Prometheus has not reached {{ $labels.instance }} (job {{ $labels.job }}) over verified TLS for "
        "more than "
        "a minute.",
        fires=Story(
            series={up: "1x4 0x5 1x10"},
            silent=("4m", "5m", "12m"),
            firing=(
                Firing(
                    at="6m",
                    labels=PHOENIX,
                    summary="phoenix is down",
                    description="Prometheus has not reached phoenix:6006 (job phoenix) over verified TLS for more "
                    "than a "
                    "minute.",
                ),
            ),
        ),
        # One failed scrape is not a minute.
        below=Story(series={up: "1x4 0 1x10"}, silent=("5m", "6m", "8m")),
    )


def service_unreachable() -> Alert:
    labels = {
        "job": "blackbox-https",
        "component": "phoenix",
        "instance": "https://edge-ui:6006/health",
        "probed": "edge-ui",
    }
    probe = selector("probe_success", **labels)
    return Alert(
        name="ServiceUnreachable",
        expr="probe_success == 0",
        hold="2m",
        severity="critical",
        summary="{{ $labels.probed }} does not answer as its clients expect",
        description="The probe of {{ $labels.instance }} has failed for 2 minutes: no answer, a wrong one, or a "
        "certificate "
        "that clients refuse.",
        fires=Story(
            series={probe: "1x4 0x6 1x10"},
            silent=("4m", "6m", "12m"),
            firing=(
                Firing(
                    at="8m",
                    labels=labels,
                    summary="edge-ui does not answer as its clients expect",
                    description="The probe of https://edge-ui:6006/health has failed for 2 minutes: no answer, a "
                    "wrong one, "
                    "or a certificate that clients refuse.",
                ),
            ),
        ),
        below=Story(series={probe: "1x4 0x1 1x10"}, silent=("5m", "7m", "9m")),
        silenced_by=(
            Silencer("ServiceDown", equal=("component",)),
            *(Silencer("ServiceDown", when={"component": name}) for name in ("blackbox-exporter", "edge-ui")),
        ),
    )


def memory_high(ratio: float) -> Alert:
    usage, limit = (
        selector("container_memory_usage_total", **CONTAINER),
        selector("container_memory_usage_limit", **CONTAINER),
    )
    size = 1000 * MIB
    return Alert(
        name="ContainerMemoryHigh",
        expr=f"{names.MEMORY_RATIO} > {ratio:g}",
        hold="2m",
        severity="critical",
        summary="{{ $labels.service }} is short of memory",
        description="{{ $labels.container }} uses {{ $value | humanizePercentage }} of its memory limit (alert above "
        f"{ratio:.0%}): at 100% the kernel ends it.",
        fires=Story(
            series={
                usage: f"{size * ratio * 0.9:.0f}x4 {size * (1 + ratio) / 2:.0f}x6 {size * ratio * 0.9:.0f}x10",
                limit: f"{size}x30",
            },
            silent=("4m", "6m", "12m"),
            firing=(
                Firing(
                    at="8m",
                    labels=CONTAINER,
                    summary="phoenix is short of memory",
                    description=f"agentstack-dev-phoenix uses {percent((1 + ratio) / 2)} of its memory limit (alert "
                    f"above "
                    f"{ratio:.0%}): at 100% the kernel ends it.",
                ),
            ),
        ),
        below=Story(series={usage: f"{size * ratio:.0f}x30", limit: f"{size}x30"}, silent=("10m", "30m")),
    )


def cpu_throttled(ratio: float) -> Alert:
    periods = selector("container_cpu_throttling_data_periods", **CONTAINER)
    throttled = selector("container_cpu_throttling_data_throttled_periods", **CONTAINER)
    much, little = 1000 * (1 + ratio) / 2, 1000 * ratio * 0.9
    return Alert(
        name="ContainerCpuThrottled",
        expr=f"{names.THROTTLED_RATIO} > {ratio:g}",
        hold="15m",
        severity="warning",
        summary="{{ $labels.service }} is held back by its CPU limit",
        description="{{ $labels.container }} was held back in {{ $value | humanizePercentage }} of its scheduling "
        "periods "
        f"(alert above {ratio:.0%}): it answers late.",
        fires=Story(
            series={periods: "0+1000x60", throttled: f"0+{much:.0f}x30 {much * 30:.0f}x30"},
            silent=("10m", "14m", "40m"),
            firing=(
                Firing(
                    at="25m",
                    labels=CONTAINER,
                    summary="phoenix is held back by its CPU limit",
                    description=f"agentstack-dev-phoenix was held back in {percent((1 + ratio) / 2)} of its "
                    f"scheduling periods "
                    f"(alert above {ratio:.0%}): it answers late.",
                ),
            ),
        ),
        below=Story(series={periods: "0+1000x60", throttled: f"0+{little:.0f}x60"}, silent=("25m", "60m")),
    )


def restarting() -> Alert:
    restarts = selector("container_restarts", **CONTAINER)
    return Alert(
        name="ContainerRestarting",
        expr="sum by (container, service) (increase(container_restarts[15m])) > 2.5",
        severity="warning",
        summary="{{ $labels.service }} restarts again and again",
        description='{{ $labels.container }} was started again {{ $value | printf "%.0f" }} times within 15 minutes.',
        fires=Story(
            series={restarts: "0x4 1x1 2x1 3x40"},
            silent=("4m", "6m", "30m"),
            firing=(
                Firing(
                    at="15m",
                    labels=CONTAINER,
                    summary="phoenix restarts again and again",
                    description="agentstack-dev-phoenix was started again 3 times within 15 minutes.",
                ),
            ),
        ),
        below=Story(series={restarts: "0x4 1x2 2x40"}, silent=("10m", "15m", "40m")),
        silenced_by=(Silencer("ContainerMemoryHigh", equal=("container",)),),
    )


def descriptors_high() -> Alert:
    used, limit = selector("process_open_fds", **PHOENIX), selector("process_max_fds", **PHOENIX)
    return Alert(
        name="FileDescriptorsHigh",
        expr="process_open_fds / (process_max_fds > 0) > 0.8",
        hold="5m",
        severity="warning",
        summary="{{ $labels.component }} runs out of file descriptors",
        description="{{ $labels.instance }} has {{ $value | humanizePercentage }} of its file descriptors open; at "
        "100% it can "
        "take no connection.",
        fires=Story(
            series={used: "100x4 7000x10 100x10", limit: "8000x30"},
            silent=("4m", "9m", "16m"),
            firing=(
                Firing(
                    at="12m",
                    labels=PHOENIX,
                    summary="phoenix runs out of file descriptors",
                    description="phoenix:6006 has 87.5% of its file descriptors open; at 100% it can take no "
                    "connection.",
                ),
            ),
        ),
        below=Story(series={used: "6400x30", limit: "8000x30"}, silent=("15m", "30m")),
    )


def container_metrics_missing() -> Alert:
    usage = selector("container_memory_usage_total", **CONTAINER)
    summary = "Nothing is known about the containers"
    description = (
        "No figures about memory, CPU and restarts of the containers for 5 minutes: the Collector does not get them "
        "through the Docker proxy. Alerts about them are silent."
    )
    return Alert(
        name="ContainerMetricsMissing",
        expr="absent(container_memory_usage_total)",
        hold="5m",
        severity="warning",
        fires=Story(
            series={usage: "1e8x4 stale _x9 1e8x10"},
            silent=("4m", "9m", "16m"),
            firing=(Firing(at="12m", summary=summary, description=description),),
        ),
        # Another container's figures are enough to know that they come.
        below=Story(
            series={usage: "1e8x4 stale _x20", selector("container_memory_usage_total", service="x"): "1x30"},
            silent=("20m",),
        ),
        silenced_by=(Silencer("ServiceDown", when={"component": "collector"}),),
        summary=summary,
        description=description,
    )
