"""The panels about PostgreSQL, of the Phoenix Performance Dashboard."""

from alerts import names
from components.settings import Settings
from dashboards.kit import Look, PanelBuilder, Query, Step, graph
from dashboards.selectors import RATE


def panels(settings: Settings) -> list[tuple[int, PanelBuilder]]:
    """Each with its width."""
    limits = settings.alerting.thresholds
    ours = 'datname="phoenix"'
    return [
        (
            8,
            graph(
                "Active connections",
                "Connections to PostgreSQL by state.",
                [Query(f"sum by (state) (pg_stat_activity_count{{{ours}}})", "{{state}}")],
                Look("short", stacked=True),
            ),
        ),
        (
            8,
            graph(
                "Transaction rate",
                "Transactions per second.",
                [
                    Query(f"sum(rate(pg_stat_database_xact_commit{{{ours}}}[{RATE}]))", "committed"),
                    Query(f"sum(rate(pg_stat_database_xact_rollback{{{ours}}}[{RATE}]))", "rolled back"),
                ],
                Look("ops"),
            ),
        ),
        (
            8,
            graph(
                "Query performance",
                "Mean duration of a statement by role; the dashed line is the alert's threshold.",
                [Query(names.STATEMENT_MEAN, "{{user}} in {{datname}}")],
                Look("ms", (Step(limits.statement_milliseconds, "red"),), line_at_threshold=True),
            ),
        ),
        (
            8,
            graph(
                "Cache hits",
                "Share of the blocks that were found in PostgreSQL's own cache.",
                [
                    Query(
                        f"sum(rate(pg_stat_database_blks_hit{{{ours}}}[{RATE}]))"
                        f" / (sum(rate(pg_stat_database_blks_hit{{{ours}}}[{RATE}]))"
                        f" + sum(rate(pg_stat_database_blks_read{{{ours}}}[{RATE}])) > 0)",
                        "hits",
                    )
                ],
                Look("percentunit", maximum=1),
            ),
        ),
        (
            8,
            graph(
                "Rows written",
                "Rows per second: spans are inserted, retention deletes.",
                [
                    Query(f"sum(rate(pg_stat_database_tup_{what}{{{ours}}}[{RATE}]))", what)
                    for what in ("inserted", "updated", "deleted")
                ],
                Look("ops"),
            ),
        ),
        (
            8,
            graph(
                "Database size",
                "Bytes on disk, and how many of them the largest tables are.",
                [
                    Query(f"max(pg_database_size_bytes{{{ours}}})", "database"),
                    Query("topk(5, max by (relname) (pg_stat_user_tables_table_size_bytes))", "{{relname}}"),
                ],
                Look("bytes"),
            ),
        ),
        (
            8,
            graph(
                "Dead rows",
                "Share of dead rows in large tables; the dashed line is the alert's threshold.",
                [
                    Query(
                        "topk(5, pg_stat_user_tables_n_dead_tup"
                        " / (pg_stat_user_tables_n_live_tup + pg_stat_user_tables_n_dead_tup > 1000))",
                        "{{relname}}",
                    )
                ],
                Look("percentunit", (Step(limits.dead_tuple_ratio, "red"),), line_at_threshold=True),
            ),
        ),
        (
            8,
            graph(
                "Locks",
                "Locks that are held or waited for, by mode.",
                [Query(f"sum by (mode) (pg_locks_count{{{ours}}}) > 0", "{{mode}}")],
                Look("short", stacked=True),
            ),
        ),
        (
            8,
            graph(
                "Oldest transaction",
                "Age of the oldest open transaction by state.",
                [Query(f"max by (state) (pg_stat_activity_max_tx_duration{{{ours}}})", "{{state}}")],
                Look("s", (Step(limits.transaction_minutes * 60, "red"),)),
            ),
        ),
    ]
