"""The host: memory, processors, disks, clock."""

from alerts.model import Alert, Firing, RuleGroup, Silencer, Story, percent, selector
from components.settings import Settings

AT = {"job": "node", "component": "node-exporter", "instance": "node-exporter:9100"}
DISK = {**AT, "device": "/dev/vda1", "fstype": "ext4", "mountpoint": "/"}
DISK_SHOWN = {"component": "node-exporter", "mountpoint": "/"}
GIB = 1024**3
PER_DISK = "max by (component, mountpoint)"


def groups(settings: Settings) -> list[RuleGroup]:
    """Alerts about the machine that everything runs on."""
    limits = settings.alerting.thresholds
    return [
        RuleGroup(
            "host",
            (
                memory_high(limits.host_memory_ratio),
                out_of_memory(),
                processors_short(),
                disk_nearly_full(limits.disk_free_ratio),
                disk_filling(limits.disk_full_hours),
                inodes_low(),
                disk_read_only(),
                clock_off(),
                text_file_broken(),
            ),
        )
    ]


def memory_high(ratio: float) -> Alert:
    free, size = selector("node_memory_MemAvailable_bytes", **AT), selector("node_memory_MemTotal_bytes", **AT)
    above = (1 + ratio) / 2
    total = 1000 * GIB
    return Alert(
        name="HostMemoryHigh",
        expr=f"1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes > {ratio:g}",
        hold="10m",
        severity="warning",
        summary="The host is short of memory",
        description="{{ $value | humanizePercentage }} of the host's memory is in use (alert above "
        f"{ratio:.0%}): the kernel will end processes, ours or others.",
        fires=Story(
            series={free: f"{total // 2}x4 {total * (1 - above):.0f}x20 {total // 2}x20", size: f"{total}x50"},
            silent=("4m", "13m", "30m"),
            firing=(
                Firing(
                    at="20m",
                    labels=AT,
                    summary="The host is short of memory",
                    description=f"{percent(above)} of the host's memory is in use (alert above {ratio:.0%}): the "
                    f"kernel will end "
                    "processes, ours or others.",
                ),
            ),
        ),
        below=Story(series={free: f"{total * (1 - ratio) + GIB:.0f}x50", size: f"{total}x50"}, silent=("20m", "50m")),
    )


def out_of_memory() -> Alert:
    series = selector("node_vmstat_oom_kill", **AT)
    return Alert(
        name="HostOutOfMemoryKill",
        expr="increase(node_vmstat_oom_kill[10m]) > 0.5",
        severity="warning",
        summary="The kernel has ended processes for want of memory",
        description='{{ $value | printf "%.0f" }} processes were ended within 10 minutes because a container or the '
        "host had no memory "
        "left.",
        fires=Story(
            series={series: "3x4 5x40"},
            silent=("4m", "20m"),
            firing=(
                Firing(
                    at="10m",
                    labels=AT,
                    summary="The kernel has ended processes for want of memory",
                    description="2 processes were ended within 10 minutes because a container or the host had no "
                    "memory left.",
                ),
            ),
        ),
        below=Story(series={series: "3x40"}, silent=("10m", "40m")),
    )


def processors_short() -> Alert:
    series = selector("node_pressure_cpu_waiting_seconds_total", **AT)
    return Alert(
        name="HostProcessorsShort",
        expr="rate(node_pressure_cpu_waiting_seconds_total[15m]) > 0.8",
        hold="1h",
        severity="info",
        summary="The host's processors are too few",
        description="For {{ $value | humanizePercentage }} of the time some process waited for a processor, for more "
        "than an hour: "
        "everything answers late.",
        fires=Story(
            series={series: "0+6x10 60+54x120 6540+6x40"},
            silent=("10m", "1h10m", "2h45m"),
            firing=(
                Firing(
                    at="2h",
                    labels=AT,
                    summary="The host's processors are too few",
                    description="For 90% of the time some process waited for a processor, for more than an hour: "
                    "everything answers "
                    "late.",
                ),
            ),
        ),
        below=Story(series={series: "0+47x170"}, silent=("2h", "2h45m")),
    )


def disk_nearly_full(ratio: float) -> Alert:
    free, size = selector("node_filesystem_avail_bytes", **DISK), selector("node_filesystem_size_bytes", **DISK)
    below = ratio / 2
    total = 1000 * GIB
    return Alert(
        name="HostDiskNearlyFull",
        expr=f"{PER_DISK} (node_filesystem_avail_bytes / (node_filesystem_size_bytes > 0)) < {ratio:g}",
        hold="2m",
        severity="critical",
        summary="The file system {{ $labels.mountpoint }} is nearly full",
        description="Only {{ $value | humanizePercentage }} of the host's file system {{ $labels.mountpoint }} are "
        "free (alert below "
        f"{ratio:.0%}): a full one stops PostgreSQL and the Collector's queue.",
        fires=Story(
            series={free: f"{total // 2}x4 {total * below:.0f}x10 {total // 2}x20", size: f"{total}x40"},
            silent=("4m", "6m", "18m"),
            firing=(
                Firing(
                    at="10m",
                    labels=DISK_SHOWN,
                    summary="The file system / is nearly full",
                    description=f"Only {percent(below)} of the host's file system / are free (alert below "
                    f"{ratio:.0%}): a full one "
                    "stops PostgreSQL and the Collector's queue.",
                ),
            ),
        ),
        below=Story(series={free: f"{total * ratio:.0f}x40", size: f"{total}x40"}, silent=("10m", "40m")),
    )


def disk_filling(hours: int) -> Alert:
    free, size = selector("node_filesystem_avail_bytes", **DISK), selector("node_filesystem_size_bytes", **DISK)
    # At 300 of 1000 GiB, full in two thirds of the time.
    pace = 300 / (hours * 2 / 3) / 12
    slow = 300 / (hours * 2) / 12
    return Alert(
        name="HostDiskFilling",
        expr=f"{PER_DISK} (predict_linear(node_filesystem_avail_bytes[6h], {hours} * 3600)) < 0"
        f" and {PER_DISK} (node_filesystem_avail_bytes / (node_filesystem_size_bytes > 0)) < 0.4",
        hold="30m",
        severity="warning",
        summary="The file system {{ $labels.mountpoint }} will be full soon",
        description=f"At the pace of the last 6 hours the host's file system {{{{ $labels.mountpoint }}}} is full "
        f"within {hours} "
        "hours; {{ $value | humanize1024 }}B would be missing then.",
        fires=Story(
            series={
                free: f"{300 * GIB}-{pace * GIB:.0f}x84 {900 * GIB}x20",
                size: f"{1000 * GIB}x110",
            },
            interval="5m",
            silent=("10m", "8h30m"),
            firing=(
                Firing(
                    at="6h",
                    labels=DISK_SHOWN,
                    summary="The file system / will be full soon",
                    description=f"At the pace of the last 6 hours the host's file system / is full within {hours} "
                    f"hours; "
                    f"{_missing(300 - 72 * pace - 12 * hours * pace)} would be missing then.",
                ),
            ),
        ),
        # Half the pace; and a fast one while there is room.
        below=Story(
            series={
                free: f"{300 * GIB}-{slow * GIB:.0f}x110",
                size: f"{1000 * GIB}x110",
                selector(
                    "node_filesystem_avail_bytes", **{**DISK, "mountpoint": "/srv"}
                ): f"{900 * GIB}-{pace * GIB:.0f}x110",
                selector("node_filesystem_size_bytes", **{**DISK, "mountpoint": "/srv"}): f"{1000 * GIB}x110",
            },
            interval="5m",
            silent=("6h", "9h"),
        ),
        silenced_by=(Silencer("HostDiskNearlyFull", equal=("mountpoint",)),),
    )


def _missing(gib: float) -> str:
    """Bytes as humanize1024 writes them, for some hundreds of GiB."""
    return f"{gib:.4g}GiB"


def inodes_low() -> Alert:
    free, size = selector("node_filesystem_files_free", **DISK), selector("node_filesystem_files", **DISK)
    return Alert(
        name="HostInodesLow",
        expr=f"{PER_DISK} (node_filesystem_files_free / (node_filesystem_files > 0)) < 0.05",
        hold="5m",
        severity="warning",
        summary="The file system {{ $labels.mountpoint }} runs out of inodes",
        description="Only {{ $value | humanizePercentage }} of the inodes of {{ $labels.mountpoint }} are free: no "
        "file can be made "
        "without one, whatever space is left.",
        fires=Story(
            series={free: "500x4 30x10 500x20", size: "1000x40"},
            silent=("4m", "9m", "20m"),
            firing=(
                Firing(
                    at="12m",
                    labels=DISK_SHOWN,
                    summary="The file system / runs out of inodes",
                    description="Only 3% of the inodes of / are free: no file can be made without one, whatever "
                    "space is left.",
                ),
            ),
        ),
        below=Story(series={free: "50x40", size: "1000x40"}, silent=("12m", "40m")),
    )


def disk_read_only() -> Alert:
    series = selector("node_filesystem_readonly", **DISK)
    return Alert(
        name="HostDiskReadOnly",
        # A file system that is mounted read-only on purpose never was anything else.
        expr=f"{PER_DISK} (node_filesystem_readonly) == 1 and {PER_DISK} "
        f"(min_over_time(node_filesystem_readonly[1d])) == 0",
        hold="1m",
        severity="critical",
        summary="The file system {{ $labels.mountpoint }} has become read-only",
        description="The kernel has made {{ $labels.mountpoint }} read-only, as it does after errors of the disk: "
        "nothing is stored "
        "any more.",
        fires=Story(
            series={series: "0x4 1x10 0x20"},
            silent=("4m", "5m", "16m"),
            firing=(
                Firing(
                    at="8m",
                    labels=DISK_SHOWN,
                    summary="The file system / has become read-only",
                    description="The kernel has made / read-only, as it does after errors of the disk: nothing is "
                    "stored any more.",
                ),
            ),
        ),
        below=Story(series={series: "1x40"}, silent=("8m", "40m")),
    )


def clock_off() -> Alert:
    series = selector("node_timex_offset_seconds", **AT)
    return Alert(
        name="HostClockOff",
        expr="abs(node_timex_offset_seconds) > 0.5",
        hold="10m",
        severity="warning",
        summary="The host's clock is off",
        description="The host's clock is {{ $value | humanizeDuration }} away from its reference: times of spans are "
        "wrong, and "
        "certificates may be refused.",
        fires=Story(
            series={series: "0x4 -0.75x20 0x20"},
            silent=("4m", "13m", "30m"),
            firing=(
                Firing(
                    at="20m",
                    labels=AT,
                    summary="The host's clock is off",
                    description="The host's clock is 750ms away from its reference: times of spans are wrong, and "
                    "certificates may "
                    "be refused.",
                ),
            ),
        ),
        below=Story(series={series: "0.5x40"}, silent=("20m", "40m")),
    )


def text_file_broken() -> Alert:
    series = selector("node_textfile_scrape_error", **AT)
    return Alert(
        name="TextFileMetricsBroken",
        expr="node_textfile_scrape_error == 1",
        hold="10m",
        severity="warning",
        summary="A text file of metrics can't be read",
        description="{{ $labels.instance }} can't read a file of metrics, such as the backup's: alerts about it may "
        "be silent.",
        fires=Story(
            series={series: "0x4 1x20 0x20"},
            silent=("4m", "13m", "30m"),
            firing=(
                Firing(
                    at="20m",
                    labels=AT,
                    summary="A text file of metrics can't be read",
                    description="node-exporter:9100 can't read a file of metrics, such as the backup's: alerts about "
                    "it may be "
                    "silent.",
                ),
            ),
        ),
        below=Story(series={series: "0x4 1x8 0x40"}, silent=("12m", "20m")),
    )
