"""PostgreSQL: alive, room for connections, transactions, vacuum, wraparound, locks, statements."""

from alerts import names
from alerts.model import Alert, Firing, RuleGroup, Silencer, Story, percent, selector
from components.settings import Settings

AT = {"job": "postgres", "component": "postgres-exporter", "instance": "postgres-exporter:9187"}
EXPORTER_DOWN = Silencer("ServiceDown", when={"component": "postgres-exporter"})
IDS = 2_000_000_000
"""Transactions until PostgreSQL refuses new ones, roughly: the age that counts as 1."""
LEAST_ROWS = 10_000


def groups(settings: Settings) -> list[RuleGroup]:
    """Alerts about the database."""
    limits = settings.alerting.thresholds
    return [
        RuleGroup(
            "database",
            (
                down(),
                connections_high(limits.connections_ratio),
                transaction_old(limits.transaction_minutes),
                dead_tuples(limits.dead_tuple_ratio),
                wraparound(limits.wraparound_ratio),
                deadlocks(),
                statements_slow(limits.statement_milliseconds),
                cache_cold(),
            ),
        )
    ]


def down() -> Alert:
    series = selector("pg_up", **AT)
    return Alert(
        name="PostgresDown",
        expr="pg_up == 0",
        hold="1m",
        severity="critical",
        summary="PostgreSQL is down",
        description="The exporter has not been able to log in to PostgreSQL for a minute. Spans wait in the "
        "Collector's queue on "
        "disk; Phoenix shows nothing.",
        fires=Story(
            series={series: "1x4 0x10 1x20"},
            silent=("4m", "5m", "16m"),
            firing=(
                Firing(
                    at="8m",
                    labels=AT,
                    summary="PostgreSQL is down",
                    description="The exporter has not been able to log in to PostgreSQL for a minute. Spans wait in "
                    "the Collector's "
                    "queue on disk; Phoenix shows nothing.",
                ),
            ),
        ),
        below=Story(series={series: "1x4 0 1x20"}, silent=("5m", "6m", "20m")),
        silenced_by=(EXPORTER_DOWN,),
    )


def connections_high(ratio: float) -> Alert:
    active = selector("pg_stat_activity_count", **AT, datname="phoenix", usename="phoenix", state="idle")
    other = selector("pg_stat_activity_count", **AT, datname="phoenix", usename="reader", state="active")
    most = selector("pg_settings_max_connections", **AT, server="postgres:5432")
    above = round(1000 * (1 + ratio) / 2)
    return Alert(
        name="PostgresConnectionsHigh",
        expr="sum by (component, instance) (pg_stat_activity_count)"
        f" / sum by (component, instance) (pg_settings_max_connections > 0) > {ratio:g}",
        hold="5m",
        severity="warning",
        summary="PostgreSQL is short of connections",
        description=f"{{{{ $value | humanizePercentage }}}} of PostgreSQL's connections are taken (alert above "
        f"{ratio:.0%}): at 100% "
        "clients are refused.",
        fires=Story(
            series={active: f"100x4 {above - 100}x12 100x20", other: "100x40", most: "1000x40"},
            silent=("4m", "8m", "20m"),
            firing=(
                Firing(
                    at="14m",
                    labels={"component": "postgres-exporter", "instance": "postgres-exporter:9187"},
                    summary="PostgreSQL is short of connections",
                    description=f"{percent(above / 1000)} of PostgreSQL's connections are taken (alert above "
                    f"{ratio:.0%}): at 100% "
                    "clients are refused.",
                ),
            ),
        ),
        below=Story(
            series={active: f"{1000 * ratio - 100:g}x40", other: "100x40", most: "1000x40"}, silent=("14m", "40m")
        ),
    )


def transaction_old(minutes: int) -> Alert:
    labels = {**AT, "datname": "phoenix", "usename": "reader", "state": "idle in transaction"}
    series = selector("pg_stat_activity_max_tx_duration", **labels)
    seconds = minutes * 60
    return Alert(
        name="PostgresTransactionOld",
        expr=f'max by (component, datname, usename, state) (pg_stat_activity_max_tx_duration{{datname!=""}}) > '
        f"{seconds}",
        severity="warning",
        summary="A transaction of {{ $labels.usename }} stays open",
        description="A transaction of {{ $labels.usename }} in {{ $labels.datname }} ({{ $labels.state }}) is "
        f"{{{{ $value | humanizeDuration }}}} old (alert above {minutes} minutes): vacuum can't clean up behind it.",
        fires=Story(
            series={series: f"0+60x{minutes + 5} 0x20"},
            silent=(f"{minutes}m", f"{minutes + 10}m"),
            firing=(
                Firing(
                    at=f"{minutes + 1}m",
                    labels={key: value for key, value in labels.items() if key not in {"job", "instance"}},
                    summary="A transaction of reader stays open",
                    description=f"A transaction of reader in phoenix (idle in transaction) is {minutes + 1}m 0s old "
                    f"(alert above "
                    f"{minutes} minutes): vacuum can't clean up behind it.",
                ),
            ),
        ),
        below=Story(series={series: f"{seconds}x40"}, silent=("10m", "40m")),
    )


def dead_tuples(ratio: float) -> Alert:
    labels = {**AT, "datname": "phoenix", "schemaname": "public", "relname": "spans"}
    dead, live = (
        selector("pg_stat_user_tables_n_dead_tup", **labels),
        selector("pg_stat_user_tables_n_live_tup", **labels),
    )
    small = {**labels, "relname": "users"}
    total = 1_000_000
    above = (1 + ratio) / 2
    return Alert(
        name="PostgresDeadTuplesHigh",
        expr="pg_stat_user_tables_n_dead_tup / (pg_stat_user_tables_n_live_tup + pg_stat_user_tables_n_dead_tup > "
        f"{LEAST_ROWS}) > {ratio:g}",
        hold="30m",
        severity="warning",
        summary="Vacuum does not keep up with the table {{ $labels.relname }}",
        description="{{ $value | humanizePercentage }} of the rows of {{ $labels.schemaname }}.{{ $labels.relname }} "
        "are dead (alert above "
        f"{ratio:.0%}): it takes more disk, and reading it takes longer.",
        fires=Story(
            series={
                dead: f"0x4 {total * above:.0f}x40 0x20",
                live: f"{total}x4 {total * (1 - above):.0f}x40 {total}x20",
            },
            silent=("4m", "30m", "50m"),
            firing=(
                Firing(
                    at="40m",
                    labels=labels,
                    summary="Vacuum does not keep up with the table spans",
                    description=f"{percent(above)} of the rows of public.spans are dead (alert above {ratio:.0%}): "
                    f"it takes more "
                    "disk, and reading it takes longer.",
                ),
            ),
        ),
        below=Story(
            series={
                dead: f"{total * ratio:.0f}x60",
                live: f"{total * (1 - ratio):.0f}x60",
                # A small table may be mostly dead between two vacuums.
                selector("pg_stat_user_tables_n_dead_tup", **small): "900x60",
                selector("pg_stat_user_tables_n_live_tup", **small): "10x60",
            },
            silent=("40m", "60m"),
        ),
    )


def wraparound(ratio: float) -> Alert:
    labels = {**AT, "datname": "phoenix"}
    series = selector("pg_database_wraparound_age_datfrozenxid_seconds", **labels)
    above = (1 + ratio) / 2
    return Alert(
        name="PostgresWraparoundNear",
        # The exporter calls it seconds; it counts transactions.
        expr=f"pg_database_wraparound_age_datfrozenxid_seconds / {IDS} > {ratio:g}",
        hold="10m",
        severity="critical",
        summary="PostgreSQL runs out of transaction ids",
        description="The oldest transaction id of {{ $labels.datname }} has {{ $value | humanizePercentage }} of the "
        "age at which "
        f"PostgreSQL refuses to write (alert above {ratio:.0%}).",
        fires=Story(
            series={series: f"1000x4 {IDS * above:.0f}x20 1000x20"},
            silent=("4m", "13m", "30m"),
            firing=(
                Firing(
                    at="18m",
                    labels=labels,
                    summary="PostgreSQL runs out of transaction ids",
                    description=f"The oldest transaction id of phoenix has {percent(above)} of the age at which "
                    f"PostgreSQL refuses to "
                    f"write (alert above {ratio:.0%}).",
                ),
            ),
        ),
        below=Story(series={series: f"{IDS * ratio:.0f}x40"}, silent=("18m", "40m")),
    )


def deadlocks() -> Alert:
    labels = {**AT, "datname": "phoenix", "datid": "16384"}
    series = selector("pg_stat_database_deadlocks", **labels)
    return Alert(
        name="PostgresDeadlocks",
        expr="sum by (component, datname) (increase(pg_stat_database_deadlocks[15m])) > 2.5",
        severity="warning",
        summary="Transactions in {{ $labels.datname }} block each other",
        description='{{ $value | printf "%.0f" }} deadlocks in {{ $labels.datname }} within 15 minutes: PostgreSQL '
        "ended as many "
        "transactions.",
        fires=Story(
            series={series: "0x4 5x40"},
            silent=("4m", "25m"),
            firing=(
                Firing(
                    at="15m",
                    labels={"component": "postgres-exporter", "datname": "phoenix"},
                    summary="Transactions in phoenix block each other",
                    description="5 deadlocks in phoenix within 15 minutes: PostgreSQL ended as many transactions.",
                ),
            ),
        ),
        below=Story(series={series: "0x4 2x40"}, silent=("15m", "25m")),
    )


def statements_slow(milliseconds: float) -> Alert:
    labels = {**AT, "datname": "phoenix", "user": "phoenix", "queryid": "1"}
    seconds, calls = (
        selector("pg_stat_statements_seconds_total", **labels),
        selector("pg_stat_statements_calls_total", **labels),
    )
    return Alert(
        name="PostgresStatementsSlow",
        expr=f'{names.STATEMENT_MEAN}{{user!~"postgres|exporter"}} > {milliseconds:g}',
        hold="10m",
        severity="warning",
        summary="Statements of {{ $labels.user }} are slow",
        description='A statement of {{ $labels.user }} in {{ $labels.datname }} takes {{ $value | printf "%.0f" }} '
        "ms on average (alert "
        f"above {milliseconds:g} ms).",
        fires=Story(
            # 100 calls a minute.
            series={
                calls: "0+100x60",
                seconds: f"0+{milliseconds / 5000:g}x5 {milliseconds / 1000:g}+{milliseconds / 5:g}x25 "
                f"{milliseconds * 6:g}+{milliseconds / 5000:g}x30",
            },
            silent=("5m", "12m", "45m"),
            firing=(
                Firing(
                    at="28m",
                    labels={"user": "phoenix", "datname": "phoenix"},
                    summary="Statements of phoenix are slow",
                    description=f"A statement of phoenix in phoenix takes {2 * milliseconds:.0f} ms on average "
                    f"(alert above "
                    f"{milliseconds:g} ms).",
                ),
            ),
        ),
        below=Story(series={calls: "0+100x60", seconds: f"0+{milliseconds * 0.099:g}x60"}, silent=("28m", "60m")),
    )


def cache_cold() -> Alert:
    labels = {**AT, "datname": "phoenix", "datid": "16384"}
    hit, read = selector("pg_stat_database_blks_hit", **labels), selector("pg_stat_database_blks_read", **labels)
    return Alert(
        name="PostgresCacheMisses",
        expr='sum by (component, datname) (rate(pg_stat_database_blks_read{datname!~"template.*|postgres|"}[15m]))'
        ' / (sum by (component, datname) (rate(pg_stat_database_blks_hit{datname!~"template.*|postgres|"}[15m]) '
        '+ rate(pg_stat_database_blks_read{datname!~"template.*|postgres|"}[15m])) > 500) > 0.2',
        hold="30m",
        severity="info",
        summary="{{ $labels.datname }} does not fit into PostgreSQL's cache",
        description="{{ $value | humanizePercentage }} of the blocks of {{ $labels.datname }} that were needed came "
        "from disk (alert above "
        "20%): more memory, or a shorter retention, makes it faster.",
        fires=Story(
            series={hit: "0+60000x120", read: "0+600x10 6000+60000x60 3606000+600x50"},
            silent=("10m", "30m", "95m"),
            firing=(
                Firing(
                    at="60m",
                    labels={"component": "postgres-exporter", "datname": "phoenix"},
                    summary="phoenix does not fit into PostgreSQL's cache",
                    description="50% of the blocks of phoenix that were needed came from disk (alert above 20%): "
                    "more memory, or a "
                    "shorter retention, makes it faster.",
                ),
            ),
        ),
        below=Story(series={hit: "0+60000x120", read: "0+15000x120"}, silent=("60m", "120m")),
    )
