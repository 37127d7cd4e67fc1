"""Objectives: how fast the error budget is used up, looked at over a short and a long window at once.

An alert fires fast when much of the budget goes, and stops soon after the cause is gone. The windows and factors are
those of Google's SRE workbook, as sloth has them: 14.4 for an hour is 2% of a budget for 30 days.
"""

from collections.abc import Callable

from alerts import names
from alerts.model import Alert, Firing, RecordingRule, RuleGroup, Silencer, Story, percent, selector
from components.settings import Settings

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
FAST = (("5m", "1h", 14.4), ("30m", "6h", 6.0))
SLOW = (("2h", "1d", 3.0), ("6h", "3d", 1.0))
INGEST = "ingest"
REQUESTS_HOUR = "slo:requests:increase1h"
LEAST_REQUESTS = 60
"""Requests in an hour from which on a share of failures means something."""
FAILED = 'status="error"'
HTTP = 'proxy=~"otlp_grpc|otlp_http", code="5xx"'


def groups(settings: Settings) -> list[RuleGroup]:
    """Recording rules and the two alerts."""
    objectives = settings.alerting.objectives
    rules = [*_ingest(objectives.ingest)]
    for service, objective in sorted(objectives.services.items()):
        rules += _service(service, objective)
    return [
        RuleGroup("slo-recording", tuple(rules), interval_seconds=60),
        RuleGroup("slo", (fast(objectives.ingest), slow(objectives.ingest))),
    ]


def _ingest(objective: float) -> list[RecordingRule]:
    """OTLP requests that the edge accepted. Failed: answered with an error by the Collector, or by the edge for it.

    What the edge answers for a missing Collector is in its own counters alone, a gRPC error of the Collector's is in
    those per application alone, an HTTP error of the Collector's in both: the larger one counts.
    """

    def failed(window: str) -> str:
        of_applications = f"sum(rate(edge_application_errors_total[{window}]))"
        of_edge = f"sum(rate(haproxy_backend_http_responses_total{{{HTTP}}}[{window}]))"
        return (
            f'max(label_replace({of_applications}, "by", "application", "", "") '
            f'or label_replace({of_edge}, "by", "edge", "", ""))'
        )

    def total(window: str) -> str:
        return f"sum(rate(edge_application_accepted_total[{window}]))"

    return _objective(INGEST, objective, failed, total)


def _service(service: str, objective: float) -> list[RecordingRule]:
    """Requests (root and LLM spans) of one service."""
    of_service = f'service="{service}"'

    def failed(window: str) -> str:
        everything = names.requests(names.SPANS, window, of_service)
        return f"(sum {names.requests(names.SPANS, window, of_service, FAILED)} or sum {everything} * 0)"

    def total(window: str) -> str:
        return f"sum {names.requests(names.SPANS, window, of_service)}"

    return _objective(service, objective, failed, total)


def _objective(
    slo: str, objective: float, failed: Callable[[str], str], total: Callable[[str], str]
) -> list[RecordingRule]:
    label = {"slo": slo}
    budget = 1 - objective
    return [
        RecordingRule(names.OBJECTIVE, f"vector({objective:g})", label),
        RecordingRule(REQUESTS_HOUR, f"{total('1h')} * 3600", label),
        *(
            RecordingRule(
                names.BURN_RATE.format(window=window),
                f"{failed(window)} / ({total(window)} > 0) / {budget:g}",
                label,
            )
            for window in WINDOWS
        ),
    ]


def _burning(pairs: tuple[tuple[str, str, float], ...]) -> str:
    """Over both windows of one pair; the value is that of the short one."""
    return " or ".join(
        f"({names.BURN_RATE.format(window=short)} > {factor:g} and {names.BURN_RATE.format(window=long)} > {factor:g})"
        for short, long, factor in pairs
    )


APPLICATION = {
    "job": "edge-otlp-applications",
    "component": "edge-otlp",
    "instance": "edge-otlp:8405",
    "application": "shop",
}
ACCEPTED = selector("edge_application_accepted_total", **APPLICATION)
ERRORS = selector("edge_application_errors_total", **APPLICATION)
SUMMARY = "The error budget of {} is used up too fast"
DESCRIPTION = (
    "Requests of {} fail {} times as often as the objective of {} allows over 30 days: at this pace the budget lasts "
    "{}."
)
ENOUGH = f" and on (slo) {REQUESTS_HOUR} >= {LEAST_REQUESTS}"


def _template(lasts: str) -> str:
    wanted = f"{{{{ with printf \"{names.OBJECTIVE}{{slo='%s'}}\" $labels.slo | query }}}}"
    objective = wanted + "{{ . | first | value | humanizePercentage }}{{ end }}"
    return DESCRIPTION.format("{{ $labels.slo }}", '{{ $value | printf "%.1f" }}', objective, lasts)


def fast(objective: float) -> Alert:
    budget = 1 - objective
    # Of 1000 requests a minute, as many fail as use up 100 times the budget; or just too few.
    failing, allowed = 1000 * budget * 100, 1000 * budget * 5.9
    return Alert(
        name="ErrorBudgetBurnsFast",
        expr=f"({_burning(FAST)}){ENOUGH}",
        hold="2m",
        severity="critical",
        summary=SUMMARY.format("{{ $labels.slo }}"),
        description=_template("five days at most"),
        fires=Story(
            series={ACCEPTED: "0+1000x240", ERRORS: f"0x59 0+{failing:g}x30 {failing * 30:g}x150"},
            silent=("60m", "61m", "130m"),
            firing=(
                Firing(
                    at="75m",
                    labels={"slo": INGEST},
                    summary=SUMMARY.format(INGEST),
                    description=DESCRIPTION.format(INGEST, "100.0", percent(objective), "five days at most"),
                ),
            ),
        ),
        below=Story(series={ACCEPTED: "0+1000x240", ERRORS: f"0+{allowed:g}x240"}, silent=("2h", "4h")),
        silenced_by=(Silencer("ServiceDown", when={"component": "collector"}), Silencer("EdgeBackendDown")),
    )


def slow(objective: float) -> Alert:
    budget = 1 - objective
    # Of 5000 requests in five minutes, as many fail as use up 10 times the budget; or just too few.
    failing, allowed = 5000 * budget * 10, 5000 * budget * 0.95
    return Alert(
        name="ErrorBudgetBurnsSlowly",
        expr=f"({_burning(SLOW)}){ENOUGH}",
        hold="15m",
        severity="warning",
        summary=SUMMARY.format("{{ $labels.slo }}"),
        description=_template("less than 30 days"),
        fires=Story(
            series={ACCEPTED: "0+5000x240", ERRORS: f"0x71 0+{failing:g}x72 {failing * 72:g}x96"},
            interval="5m",
            silent=("6h", "6h20m", "18h30m"),
            firing=(
                Firing(
                    at="11h",
                    labels={"slo": INGEST},
                    summary=SUMMARY.format(INGEST),
                    description=DESCRIPTION.format(INGEST, "10.0", percent(objective), "less than 30 days"),
                ),
            ),
        ),
        below=Story(
            series={ACCEPTED: "0+5000x240", ERRORS: f"0+{allowed:g}x240"}, interval="5m", silent=("11h", "18h")
        ),
        silenced_by=(Silencer("ErrorBudgetBurnsFast", equal=("slo",)),),
    )
