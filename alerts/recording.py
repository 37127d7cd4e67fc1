"""Recording rules: what several alerts and dashboards ask for, computed once; budgets and expectations as series."""

from collections.abc import Sequence

from alerts import names
from alerts.model import RecordingRule, RuleGroup
from components.contributions import ScrapeTarget
from components.settings import Settings
from components.settings.alerting import Budget

QUANTILES = (50, 95, 99)
HOURS = 24
PACE_HOURS = 3


def groups(settings: Settings) -> list[RuleGroup]:
    """Every recording rule but those of the objectives (``slo.py``)."""
    return [
        RuleGroup("llm-recording", (*_requests(), *_usage()), interval_seconds=30),
        RuleGroup("cost-recording", (*budgets(settings), *_cost()), interval_seconds=60),
        RuleGroup("infrastructure-recording", _infrastructure(), interval_seconds=30),
    ]


def _requests() -> list[RecordingRule]:
    """Rate, errors and duration of requests per service."""
    all_requests = f"sum by (service) {names.requests(names.SPANS, '5m')}"
    failed = names.requests(names.SPANS, "5m", 'status="error"')
    buckets = f"sum by (service, le) {names.requests(f'{names.DURATION}_bucket', '5m')}"
    return [
        RecordingRule(names.REQUEST_RATE, all_requests),
        RecordingRule(
            names.ERROR_RATIO,
            f"(sum by (service) {failed} or {names.REQUEST_RATE} * 0) / ({names.REQUEST_RATE} > 0)",
        ),
        *(
            RecordingRule(
                names.LATENCY.format(quantile=quantile), f"histogram_quantile({quantile / 100}, {buckets}) >= 0"
            )
            for quantile in QUANTILES
        ),
        RecordingRule(
            names.PROVIDER_ERROR_RATIO,
            f'sum by (provider) (rate({names.SPANS}{{span_kind="LLM", status="error"}}[5m]))'
            f' / (sum by (provider) (rate({names.SPANS}{{span_kind="LLM"}}[5m])) > 0)',
        ),
    ]


def _usage() -> list[RecordingRule]:
    return [
        RecordingRule(names.USAGE_RATE, f"sum by (model, token_type) (rate({names.TOKENS}[5m]))"),
        RecordingRule(names.SPAN_RATE, f"sum by (service) (rate({names.SPANS}[15m]))"),
    ]


def budgets(settings: Settings) -> list[RecordingRule]:
    """The budgets as series, so that alerts, notifications and dashboards speak of the same figures."""
    alerting = settings.alerting
    found = _budget("stack", "", alerting.budget)
    for project, budget in sorted(alerting.project_budgets.items()):
        found += _budget("project", project, budget)
    return found


def _budget(scope: str, project: str, budget: Budget) -> list[RecordingRule]:
    limits = {"hour": budget.per_hour_usd, "day": budget.per_day_usd}
    return [
        RecordingRule(
            names.BUDGET,
            f"vector({limit:g})",
            {"scope": scope, "period": period, **({"project": project} if project else {})},
        )
        for period, limit in limits.items()
        if limit is not None
    ]


def _cost() -> list[RecordingRule]:
    """Cost per project: of the last hour, the last day, of this day (UTC) until now, and as it will be at its end.

    No range of PromQL begins at midnight. So the day is put together from the increases of whole hours, the oldest of
    them in the share that lies after midnight; what a project did not have yet counts 0.
    """
    hour = names.COST_HOUR
    since_midnight = "(hour() + minute() / 60)"
    terms = [
        f"({hour} offset {back}h or {hour} * 0) * scalar(clamp({since_midnight} - {back}, 0, 1))"
        if back
        else f"{hour} * scalar(clamp({since_midnight}, 0, 1))"
        for back in range(HOURS)
    ]
    pace = f"sum by (project) (increase({names.COST}[{PACE_HOURS}h])) / {PACE_HOURS}"
    return [
        RecordingRule(hour, f"sum by (project) (increase({names.COST}[1h]))"),
        RecordingRule(names.COST_DAY, f"sum by (project) (increase({names.COST}[1d]))"),
        RecordingRule(names.COST_TODAY, "\n+ ".join(terms)),
        RecordingRule(names.COST_FORECAST, f"{names.COST_TODAY} + ({pace}) * scalar({HOURS} - {since_midnight})"),
    ]


def _infrastructure() -> tuple[RecordingRule, ...]:
    seconds, calls = "pg_stat_statements_seconds_total", "pg_stat_statements_calls_total"
    return (
        RecordingRule(
            names.STATEMENT_MEAN,
            f"1000 * sum by (datname, user) (rate({seconds}[5m])) / (sum by (datname, user) (rate({calls}[5m])) > 0)",
        ),
        RecordingRule(
            names.MEMORY_RATIO,
            "max by (container, service) (container_memory_usage_total / (container_memory_usage_limit > 0))",
        ),
        RecordingRule(
            names.THROTTLED_RATIO,
            "max by (container, service) (rate(container_cpu_throttling_data_throttled_periods[5m])"
            " / (rate(container_cpu_throttling_data_periods[5m]) > 0))",
        ),
        RecordingRule(
            names.QUEUE_RATIO,
            "max by (instance, exporter) (otelcol_exporter_queue_size / (otelcol_exporter_queue_capacity > 0))",
        ),
    )


def expected_targets(targets: Sequence[ScrapeTarget]) -> list[RuleGroup]:
    """How many targets each job should have: a job that finds fewer is noticed, one that is gone too."""
    rules = tuple(
        RecordingRule(
            names.EXPECTED_TARGETS,
            f"vector({len(target.static_targets) or target.replicas})",
            {"job": target.job, "component": target.service.value},
        )
        for target in targets
    )
    return [RuleGroup("expected-targets", rules, interval_seconds=30)] if rules else []
