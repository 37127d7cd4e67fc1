"""Whether the watch itself works: targets, rules, storage, notifications; and the alert that always fires."""

from alerts import names
from alerts.model import Alert, Firing, RuleGroup, Silencer, Story, selector
from components.settings import Settings

UP = 'up{job="phoenix", component="phoenix", instance="phoenix:6006"}'
PROMETHEUS = {"job": "prometheus", "component": "prometheus", "instance": "prometheus:9090"}


def groups(_settings: Settings) -> list[RuleGroup]:
    """Alerts about Prometheus, Alertmanager and the targets."""
    return [
        RuleGroup("watchdog", (watchdog(),)),
        RuleGroup("targets", (target_missing(), scrape_slow(), scrapes_rejected())),
        RuleGroup("prometheus", (rules_failing(), rules_late(), storage_failing())),
        RuleGroup("notifications", (not_sent(), not_delivered())),
    ]


def watchdog() -> Alert:
    return Alert(
        name="Watchdog",
        expr="vector(1)",
        severity="none",
        summary="Alerting works",
        description="This alert always fires. Whoever stops hearing it knows that nobody watches.",
        fires=Story(
            series={UP: "1x5"},
            firing=(
                Firing(
                    at="0m",
                    summary="Alerting works",
                    description="This alert always fires. Whoever stops hearing it knows that nobody watches.",
                ),
            ),
        ),
    )


def target_missing() -> Alert:
    expected = f"{names.EXPECTED_TARGETS} unless on (job) (count by (job) (up) >= on (job) {names.EXPECTED_TARGETS})"
    series = selector(names.EXPECTED_TARGETS, job="phoenix", component="phoenix")
    second = 'up{job="phoenix", component="phoenix", instance="172.23.0.9:6006"}'
    return Alert(
        name="TargetMissing",
        expr=expected,
        hold="5m",
        severity="warning",
        summary="Scrape targets of {{ $labels.job }} are missing",
        description="Prometheus should find {{ $value }} target(s) of job {{ $labels.job }} and finds fewer: the "
        "service's "
        "name leads to fewer addresses than it has replicas.",
        fires=Story(
            series={series: "2x30", UP: "1x30", second: "1x5 stale _x12 1x12"},
            silent=("5m", "10m", "20m"),
            firing=(
                Firing(
                    at="12m",
                    labels={"job": "phoenix", "component": "phoenix"},
                    summary="Scrape targets of phoenix are missing",
                    description="Prometheus should find 2 target(s) of job phoenix and finds fewer: the service's name "
                    "leads to fewer addresses than it has replicas.",
                ),
            ),
        ),
        below=Story(series={series: "2x30", UP: "1x30", second: "0x30"}, silent=("10m", "30m")),
        silenced_by=(Silencer("ServiceDown", equal=("component",)),),
    )


def scrape_slow() -> Alert:
    series = selector("scrape_duration_seconds", job="phoenix", component="phoenix", instance="phoenix:6006")
    labels = {"job": "phoenix", "component": "phoenix", "instance": "phoenix:6006"}
    return Alert(
        name="ScrapeSlow",
        expr="scrape_duration_seconds > 8",
        hold="10m",
        severity="warning",
        summary="Scraping {{ $labels.component }} takes too long",
        description="{{ $labels.instance }} (job {{ $labels.job }}) needs {{ $value | humanizeDuration }} to hand "
        "out its "
        "metrics; at 10s the scrape fails.",
        fires=Story(
            series={series: "8.5x15 2x10"},
            silent=("9m", "16m"),
            firing=(
                Firing(
                    at="11m",
                    labels=labels,
                    summary="Scraping phoenix takes too long",
                    description="phoenix:6006 (job phoenix) needs 8.5s to hand out its metrics; at 10s the scrape "
                    "fails.",
                ),
            ),
        ),
        below=Story(series={series: "8x30"}, silent=("15m", "30m")),
        silenced_by=(Silencer("ServiceDown", equal=("component",)),),
    )


def scrapes_rejected() -> Alert:
    metric = "prometheus_target_scrapes_exceeded_sample_limit_total"
    series = selector(metric, **PROMETHEUS)
    return Alert(
        name="ScrapesRejected",
        expr=f"sum without (instance) (increase({metric}[10m])) > 0",
        severity="warning",
        summary="Prometheus rejects whole scrapes",
        description='{{ $value | printf "%.0f" }} scrape(s) in 10 minutes were larger than the limit of samples and '
        "count for nothing: some page of metrics has grown without bound.",
        fires=Story(
            series={series: "0x5 10x30"},
            silent=("5m", "20m"),
            firing=(
                Firing(
                    at="10m",
                    labels={"job": "prometheus", "component": "prometheus"},
                    summary="Prometheus rejects whole scrapes",
                    description="10 scrape(s) in 10 minutes were larger than the limit of samples and count for "
                    "nothing: "
                    "some page of metrics has grown without bound.",
                ),
            ),
        ),
        below=Story(series={series: "7x30"}, silent=("10m", "30m")),
    )


def rules_failing() -> Alert:
    metric = "prometheus_rule_evaluation_failures_total"
    group = "/etc/agentstack/rules/llm.yml;llm"
    series = selector(metric, **PROMETHEUS, rule_group=group)
    return Alert(
        name="RuleEvaluationFailing",
        expr=f"sum by (component, rule_group) (increase({metric}[5m])) > 0",
        severity="critical",
        summary="Rules of {{ $labels.rule_group }} can't be evaluated",
        description='{{ $value | printf "%.0f" }} evaluation(s) failed within 5 minutes: alerts of that group may be '
        "silent.",
        fires=Story(
            series={series: "0x5 5x30"},
            silent=("5m", "15m"),
            firing=(
                Firing(
                    at="8m",
                    labels={"component": "prometheus", "rule_group": group},
                    summary=f"Rules of {group} can't be evaluated",
                    description="5 evaluation(s) failed within 5 minutes: alerts of that group may be silent.",
                ),
            ),
        ),
        below=Story(series={series: "3x30"}, silent=("10m", "30m")),
    )


def rules_late() -> Alert:
    metric = "prometheus_rule_group_iterations_missed_total"
    group = "/etc/agentstack/rules/recording.yml;cost-recording"
    series = selector(metric, **PROMETHEUS, rule_group=group)
    return Alert(
        name="RuleEvaluationLate",
        expr=f"sum by (component, rule_group) (increase({metric}[15m])) > 3",
        severity="warning",
        summary="Rules of {{ $labels.rule_group }} take longer than their interval",
        description='{{ $value | printf "%.0f" }} evaluation(s) were left out within 15 minutes: alerts come late.',
        fires=Story(
            series={series: "0x5 6x40"},
            silent=("5m", "25m"),
            firing=(
                Firing(
                    at="10m",
                    labels={"component": "prometheus", "rule_group": group},
                    summary=f"Rules of {group} take longer than their interval",
                    description="6 evaluation(s) were left out within 15 minutes: alerts come late.",
                ),
            ),
        ),
        below=Story(series={series: "0x5 3x40"}, silent=("10m", "25m")),
    )


def storage_failing() -> Alert:
    metrics = (
        "prometheus_tsdb_compactions_failed_total",
        "prometheus_tsdb_head_truncations_failed_total",
        "prometheus_tsdb_wal_corruptions_total",
        "prometheus_tsdb_wal_writes_failed_total",
    )
    quiet = {selector(metric, **PROMETHEUS): "0x90" for metric in metrics[1:]}
    series = selector(metrics[0], **PROMETHEUS)
    return Alert(
        name="PrometheusStorageFailing",
        expr=" + ".join(f"increase({metric}[1h])" for metric in metrics) + " > 0",
        severity="critical",
        summary="Prometheus can't keep its samples",
        description="{{ $value | humanize }} operation(s) on the samples' files failed within the last hour: "
        "metrics, and with them budgets, may get lost. The disk may be full.",
        fires=Story(
            series={series: "0x5 2x90", **quiet},
            silent=("5m", "70m"),
            firing=(
                Firing(
                    at="10m",
                    labels=PROMETHEUS,
                    summary="Prometheus can't keep its samples",
                    description="2 operation(s) on the samples' files failed within the last hour: metrics, and with "
                    "them "
                    "budgets, may get lost. The disk may be full.",
                ),
            ),
        ),
        below=Story(series={series: "1x90", **quiet}, silent=("10m", "70m")),
    )


def not_sent() -> Alert:
    errors, sent = "prometheus_notifications_errors_total", "prometheus_notifications_sent_total"
    labels = {**PROMETHEUS, "alertmanager": "https://alertmanager:9093/api/v2/alerts"}
    return Alert(
        name="AlertmanagerNotReached",
        expr=f"sum by (component) (rate({errors}[5m])) / (sum by (component) (rate({sent}[5m])) > 0) > 0.01",
        hold="5m",
        severity="critical",
        summary="Prometheus can't hand its alerts to Alertmanager",
        description="{{ $value | humanizePercentage }} of the alerts did not arrive there: nobody is told about them.",
        fires=Story(
            series={
                selector(errors, **labels): "0x5 0+2x15 30x20",
                selector(sent, **labels): "0+10x40",
            },
            silent=("5m", "9m", "30m"),
            firing=(
                Firing(
                    at="15m",
                    labels={"component": "prometheus"},
                    summary="Prometheus can't hand its alerts to Alertmanager",
                    description="20% of the alerts did not arrive there: nobody is told about them.",
                ),
            ),
        ),
        below=Story(
            series={selector(errors, **labels): "0+1x40", selector(sent, **labels): "0+100x40"},
            silent=("15m", "40m"),
        ),
    )


def not_delivered() -> Alert:
    failed, sent = "alertmanager_notifications_failed_total", "alertmanager_notifications_total"
    labels = {
        "job": "alertmanager",
        "component": "alertmanager",
        "instance": "alertmanager:9093",
        "integration": "webhook",
    }
    return Alert(
        name="AlertmanagerNotDelivering",
        expr=f"sum by (component, integration) (rate({failed}[5m]))"
        f" / (sum by (component, integration) (rate({sent}[5m])) > 0) > 0.01",
        hold="5m",
        severity="critical",
        summary="Alertmanager can't deliver by {{ $labels.integration }}",
        description="{{ $value | humanizePercentage }} of its notifications failed within 5 minutes: the receiver is "
        "gone, or "
        "refuses the credentials.",
        fires=Story(
            series={
                selector(failed, **labels, reason="clientError"): "0x5 0+5x15 75x20",
                selector(sent, **labels): "0+10x40",
            },
            silent=("5m", "9m", "30m"),
            firing=(
                Firing(
                    at="15m",
                    labels={"component": "alertmanager", "integration": "webhook"},
                    summary="Alertmanager can't deliver by webhook",
                    description="50% of its notifications failed within 5 minutes: the receiver is gone, or refuses "
                    "the "
                    "credentials.",
                ),
            ),
        ),
        below=Story(
            series={selector(failed, **labels, reason="other"): "0+1x40", selector(sent, **labels): "0+100x40"},
            silent=("15m", "40m"),
        ),
    )
