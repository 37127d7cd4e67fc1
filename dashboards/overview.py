"""Phoenix LLM Observability Overview: what the applications do, how fast, at what cost, and what fails."""

from alerts import names
from components.settings import Settings
from dashboards import selectors
from dashboards.kit import Board, Look, Query, Step, bars, graph, number, rows, shares

TITLE = "Phoenix LLM Observability Overview"
UID = "agentstack-overview"


def render(settings: Settings, phoenix_url: str) -> str:
    """The dashboard's JSON."""
    limits = settings.alerting.thresholds
    traces = (
        (
            "Traces of ${__field.labels.project} in Phoenix",
            f"{phoenix_url}/redirects/projects/${{__field.labels.project}}",
        ),
    )
    errors = (Step(limits.error_ratio / 2, "orange"), Step(limits.error_ratio, "red"))
    latency = (Step(limits.latency_p95_seconds / 2, "orange"), Step(limits.latency_p95_seconds, "red"))
    all_requests = f"sum({selectors.requests(names.SPANS)})"
    failed = f"sum({selectors.requests(names.SPANS, selectors.FAILED)} or {selectors.requests(names.SPANS)} * 0)"
    buckets = selectors.requests(f"{names.DURATION}_bucket")
    return (
        Board(
            title=TITLE,
            uid=UID,
            description="Requests, response times, cost, tokens and errors by model, project and service. A request "
            "is a root "
            "span or an LLM call. Everything is counted before sampling.",
            tags=("phoenix", "llm"),
            phoenix_url=phoenix_url,
            runbooks=settings.alerting.runbooks,
        )
        .row(
            "Now",
            (
                4,
                number(
                    "Requests", "Requests per second: root spans and LLM calls.", Query(all_requests), Look("reqps")
                ),
            ),
            (
                4,
                number(
                    "Errors",
                    "Share of the requests that failed; red from the alert's threshold on.",
                    Query(f"{failed} / ({all_requests} > 0)"),
                    Look("percentunit", errors, no_value="no requests"),
                ),
            ),
            (
                4,
                number(
                    "Response time, p95",
                    "95 of 100 requests were faster; red from the alert's threshold on.",
                    Query(f"histogram_quantile(0.95, sum by (le) ({buckets}))"),
                    Look("s", latency, no_value="no requests"),
                ),
            ),
            (
                4,
                number(
                    "Cost",
                    "Estimated LLM cost of the time shown.",
                    Query(f"sum({selectors.increase(names.COST)})", instant=True),
                    Look("currencyUSD", base="text", decimals=2, no_value="0"),
                ),
            ),
            (
                4,
                number(
                    "Tokens",
                    "LLM tokens of the time shown, all kinds.",
                    Query(f"sum({selectors.tokens_increase()})", instant=True),
                    Look("short", base="text", no_value="0"),
                ),
            ),
            (
                4,
                number(
                    "Traces",
                    "Traces that began in the time shown, by their root spans.",
                    Query(
                        f"sum(increase({names.TRACES}{{{selectors.PROJECTS}, {selectors.SERVICES}}}[$__range]))",
                        instant=True,
                    ),
                    Look("short", base="text", no_value="0"),
                ),
            ),
            height=5,
        )
        .row(
            "Request rates",
            (
                12,
                graph(
                    "Request rate by model",
                    "LLM calls per second, by the model that answered.",
                    [Query(f"sum by (model) (rate({selectors.llm(names.SPANS)}[{selectors.RATE}]))", "{{model}}")],
                    Look("reqps", stacked=True),
                ),
            ),
            (
                12,
                graph(
                    "Request rate by project",
                    "Root spans and LLM calls per second.",
                    [Query(f"sum by (project) {selectors.requests(names.SPANS)}", "{{project}}")],
                    Look("reqps", stacked=True, links=traces),
                ),
            ),
            (
                12,
                graph(
                    "Request rate by service",
                    "Root spans and LLM calls per second.",
                    [Query(f"sum by (service) {selectors.requests(names.SPANS)}", "{{service}}")],
                    Look("reqps", stacked=True),
                ),
            ),
            (
                12,
                graph(
                    "Spans by kind",
                    "Spans per second, inner steps included.",
                    [Query(f"sum by (span_kind) ({selectors.rate(names.SPANS)})", "{{span_kind}}")],
                    Look("cps", stacked=True),
                ),
            ),
        )
        .row(
            "Response times",
            (
                12,
                graph(
                    "Response time percentiles",
                    "Duration of requests; the dashed line is the alert's threshold for p95.",
                    [
                        Query(f"histogram_quantile({quantile}, sum by (le) ({buckets}))", f"p{round(quantile * 100)}")
                        for quantile in (0.5, 0.9, 0.95, 0.99)
                    ],
                    Look("s", latency[1:], line_at_threshold=True),
                ),
            ),
            (
                12,
                graph(
                    "Response time by model, p95",
                    "Duration of LLM calls.",
                    [
                        Query(
                            "histogram_quantile(0.95, sum by (model, le) "
                            f"(rate({selectors.llm(f'{names.DURATION}_bucket')}[{selectors.RATE}])))",
                            "{{model}}",
                        )
                    ],
                    Look("s", latency[1:], line_at_threshold=True),
                ),
            ),
        )
        .row(
            "Cost and tokens",
            (
                12,
                graph(
                    "Cost per hour by model",
                    "Estimated cost at the present pace, in US dollars per hour.",
                    [Query(f"sum by (model) ({selectors.rate(names.COST)}) * 3600", "{{model}}")],
                    Look("currencyUSD", stacked=True),
                ),
            ),
            (
                12,
                graph(
                    "Tokens by type",
                    "Tokens per second. The types are disjoint: cached input, input written to the cache and "
                    "reasoning stand apart.",
                    [
                        Query(
                            f"sum by (token_type) (rate({selectors.selector(names.TOKENS)}[{selectors.RATE}]))",
                            "{{token_type}}",
                        )
                    ],
                    Look("cps", stacked=True),
                ),
            ),
            (
                12,
                bars(
                    "Cost by project",
                    "Estimated cost of the time shown.",
                    [
                        Query(
                            f"sort_desc(sum by (project) ({selectors.increase(names.COST)}))",
                            "{{project}}",
                            instant=True,
                        )
                    ],
                    Look("currencyUSD", base="blue", links=traces),
                ),
            ),
            (
                12,
                graph(
                    "LLM calls without a cost",
                    "Calls whose model has no price (unpriced) or that report no usage: they are missing in every "
                    "cost.",
                    [
                        Query(
                            f"sum by (cost_source, model) (rate({selectors.llm(names.SPANS, selectors.WITHOUT_COST)}"
                            f"[{selectors.RATE}]))",
                            "{{cost_source}}: {{model}}",
                        )
                    ],
                    Look("reqps", base="orange"),
                ),
            ),
        )
        .row(
            "Errors",
            (
                12,
                graph(
                    "Error rate by service",
                    "Share of the requests that failed; the dashed line is the alert's threshold.",
                    [
                        Query(
                            f"sum by (service) ({selectors.requests(names.SPANS, selectors.FAILED)}"
                            f" or {selectors.requests(names.SPANS)} * 0) / (sum by (service) "
                            f"{selectors.requests(names.SPANS)} > 0)",
                            "{{service}}",
                        )
                    ],
                    Look("percentunit", errors[1:], line_at_threshold=True),
                ),
            ),
            (
                12,
                graph(
                    "Errors by model",
                    "Failed LLM calls per second.",
                    [
                        Query(
                            f"sum by (model) (rate({selectors.llm(names.SPANS, selectors.FAILED)}[{selectors.RATE}]))",
                            "{{model}}",
                        )
                    ],
                    Look("reqps", stacked=True),
                ),
            ),
            (
                8,
                shares(
                    "Errors by kind of span",
                    "Where the failures of the time shown happened, inner steps included.",
                    [
                        Query(
                            f"sum by (span_kind) ({selectors.increase(names.SPANS, selectors.FAILED)}) > 0",
                            "{{span_kind}}",
                            instant=True,
                        )
                    ],
                    Look("short"),
                ),
            ),
            (
                8,
                shares(
                    "Errors by provider",
                    "Failed LLM calls of the time shown.",
                    [
                        Query(
                            f"sum by (provider) (increase({selectors.llm(names.SPANS, selectors.FAILED)}[$__range])) "
                            f"> 0",
                            "{{provider}}",
                            instant=True,
                        )
                    ],
                    Look("short"),
                ),
            ),
            (
                8,
                rows(
                    "Alerts",
                    "What fires now. Each alert has a runbook of its name.",
                    [Query('ALERTS{alertstate="firing", severity=~"critical|warning|info"}', instant=True, table=True)],
                    Look("short", no_value="nothing fires"),
                    columns={
                        "severity": "Severity",
                        "alertname": "Alert",
                        "component": "Component",
                        "service": "Service",
                        "project": "Project",
                    },
                ),
            ),
        )
        .render()
    )
