"""Phoenix Cost & Usage Dashboard: what it costs, who spends it, on which tokens, and how the budgets stand."""

from alerts import names
from components.settings import Settings
from dashboards import selectors
from dashboards.kit import Board, Look, PanelBuilder, Query, Step, bars, graph, number, rows, shares

TITLE = "Phoenix Cost & Usage Dashboard"
UID = "agentstack-cost"
OK = ('span_kind="LLM"', 'status="ok"')
CALLS = selectors.selector(names.SPANS, *OK)
RATE = selectors.RATE
BUDGET_ALERTS = "LlmCost.*|ProjectBudget.*|LlmModelUnpriced|LlmUsageMissing"
USD = "currencyUSD"


def render(settings: Settings, phoenix_url: str) -> str:
    """The dashboard's JSON."""
    traces = (
        (
            "Traces of ${__field.labels.project} in Phoenix",
            f"{phoenix_url}/redirects/projects/${{__field.labels.project}}",
        ),
    )
    return (
        Board(
            title=TITLE,
            uid=UID,
            description="Estimated cost in US dollars, tokens, cost per request, and budgets. Days are those of UTC. "
            "Calls "
            "without a price or without usage are shown, never counted as 0.",
            tags=("phoenix", "cost"),
            phoenix_url=phoenix_url,
            runbooks=settings.alerting.runbooks,
        )
        .row("Budget", *_budget(settings), height=5)
        .row("LLM cost breakdown", *_breakdown(traces))
        .row("Token consumption", *_tokens())
        .row("Cost per request", *_per_request())
        .row("Budget tracking and alerts", *_tracking(settings, traces))
        .render()
    )


def _limit(value: float | None) -> tuple[Step, ...]:
    """Orange from three quarters of a budget on, red from all of it on."""
    return () if value is None else (Step(0.75 * value, "orange"), Step(value, "red"))


def _budget(settings: Settings) -> list[tuple[int, PanelBuilder]]:
    budget = settings.alerting.budget

    def figure(title: str, text: str, expr: str, limit: float | None = None) -> tuple[int, PanelBuilder]:
        look = Look(USD, _limit(limit), base="text" if limit is None else "green", decimals=2, no_value="0")
        return 4, number(title, text, Query(expr, instant=True), look)

    projects = selectors.PROJECTS
    return [
        figure(
            "Last hour",
            "Spent in the last 60 minutes, coloured by the stack's budget for an hour.",
            f"sum({names.COST_HOUR}{{{projects}}})",
            budget.per_hour_usd,
        ),
        figure(
            "Last 24 hours",
            "Spent in the last 24 hours, coloured by the stack's budget for a day.",
            f"sum({names.COST_DAY}{{{projects}}})",
            budget.per_day_usd,
        ),
        figure(
            "Today",
            "Spent since midnight (UTC), coloured by the stack's budget for a day.",
            f"sum({names.COST_TODAY}{{{projects}}})",
            budget.per_day_usd,
        ),
        figure(
            "Forecast of today",
            "What will have been spent at midnight (UTC) at the pace of the last 3 hours.",
            f"sum({names.COST_FORECAST}{{{projects}}})",
            budget.per_day_usd,
        ),
        figure(
            "Time shown",
            "Spent in the time that is shown, by what is chosen.",
            f"sum({selectors.increase(names.COST)})",
        ),
        (
            4,
            number(
                "Calls without a cost",
                "Share of the successful LLM calls of the time shown that have no price or report no usage.",
                Query(
                    f"sum({selectors.increase(names.SPANS, *OK, selectors.WITHOUT_COST)} or "
                    f"{selectors.increase(names.SPANS, *OK)} * 0)"
                    f" / (sum({selectors.increase(names.SPANS, *OK)}) > 0)",
                    instant=True,
                ),
                Look("percentunit", (Step(0.001, "orange"), Step(0.05, "red")), no_value="no calls"),
            ),
        ),
    ]


def _breakdown(traces: tuple[tuple[str, str], ...]) -> list[tuple[int, PanelBuilder]]:
    return [
        (
            12,
            graph(
                "LLM cost by model",
                "US dollars per hour at the present pace.",
                [Query(f"sum by (model) ({selectors.rate(names.COST)}) * 3600", "{{model}}")],
                Look(USD, stacked=True),
            ),
        ),
        (
            12,
            bars(
                "LLM cost by model in the time shown",
                "US dollars.",
                [Query(f"sort_desc(sum by (model) ({selectors.increase(names.COST)}))", "{{model}}", instant=True)],
                Look(USD, base="blue"),
            ),
        ),
        (
            8,
            shares(
                "LLM cost by project",
                "US dollars in the time shown.",
                [Query(f"sum by (project) ({selectors.increase(names.COST)})", "{{project}}", instant=True)],
                Look(USD, links=traces),
            ),
        ),
        (
            8,
            shares(
                "LLM cost by provider",
                "US dollars in the time shown.",
                [Query(f"sum by (provider) ({selectors.increase(names.COST)})", "{{provider}}", instant=True)],
                Look(USD),
            ),
        ),
        (
            8,
            shares(
                "LLM cost by service",
                "US dollars in the time shown.",
                [Query(f"sum by (service) ({selectors.increase(names.COST)})", "{{service}}", instant=True)],
                Look(USD),
            ),
        ),
    ]


def _tokens() -> list[tuple[int, PanelBuilder]]:
    cached = selectors.rate(names.TOKENS, 'token_type="prompt_cached"')
    prompts = selectors.rate(names.TOKENS, 'token_type=~"prompt.*"')
    return [
        (
            12,
            graph(
                "Token consumption by type",
                "Tokens per second. The types are disjoint: their sum is what was used.",
                [Query(f"sum by (token_type) ({selectors.rate(names.TOKENS)})", "{{token_type}}")],
                Look("cps", stacked=True),
            ),
        ),
        (
            12,
            graph(
                "Token consumption by model",
                "Tokens per second, all types.",
                [Query(f"sum by (model) ({selectors.rate(names.TOKENS)})", "{{model}}")],
                Look("cps", stacked=True),
            ),
        ),
        (
            12,
            graph(
                "Prompts from the cache",
                "Share of the prompt tokens that the provider had cached: they cost a fraction.",
                [
                    Query(
                        f"(sum by (model) ({cached}) or sum by (model) ({prompts}) * 0) / (sum by (model) "
                        f"({prompts}) > 0)",
                        "{{model}}",
                    )
                ],
                Look("percentunit", maximum=1),
            ),
        ),
        (
            12,
            graph(
                "Tokens per call",
                "Mean of the successful LLM calls.",
                [
                    Query(
                        f"sum by (model) ({selectors.rate(names.TOKENS)}) / (sum by (model) (rate({CALLS}[{RATE}])) > "
                        f"0)",
                        "{{model}}",
                    )
                ],
                Look("short", decimals=0),
            ),
        ),
    ]


def _per_request() -> list[tuple[int, PanelBuilder]]:
    cost = selectors.increase(names.COST)
    calls = f"increase({CALLS}[$__range])"
    tokens = selectors.increase(names.TOKENS)
    roots = selectors.increase(names.SPANS, 'root="true"')
    return [
        (
            12,
            graph(
                "Cost per request by model",
                "Mean cost of a successful LLM call, in US dollars.",
                [
                    Query(
                        f"sum by (model) ({selectors.rate(names.COST)}) / (sum by (model) (rate({CALLS}[{RATE}])) > 0)",
                        "{{model}}",
                    )
                ],
                Look(USD, decimals=5),
            ),
        ),
        (
            12,
            graph(
                "Cost per trace by project",
                "Mean cost of a whole trace (everything below one root span), in US dollars.",
                [
                    Query(
                        f"sum by (project) (rate({names.COST}{{{selectors.PROJECTS}, {selectors.SERVICES}}}[{RATE}]))"
                        f" / (sum by (project) "
                        f"(rate({names.TRACES}{{{selectors.PROJECTS}, {selectors.SERVICES}}}[{RATE}])) > 0)",
                        "{{project}}",
                    )
                ],
                Look(USD, decimals=5),
            ),
        ),
        (
            24,
            rows(
                "Cost per request in the time shown",
                "By model: calls, tokens, US dollars, and what a call and a million tokens cost.",
                [
                    Query(f"sum by (model, provider) ({calls})", instant=True, table=True),
                    Query(f"sum by (model, provider) ({tokens})", instant=True, table=True),
                    Query(f"sum by (model, provider) ({cost})", instant=True, table=True),
                    Query(
                        f"sum by (model, provider) ({cost}) / (sum by (model, provider) ({calls}) > 0)",
                        instant=True,
                        table=True,
                    ),
                    Query(
                        f"1e6 * sum by (model, provider) ({cost}) / (sum by (model, provider) ({tokens}) > 0)",
                        instant=True,
                        table=True,
                    ),
                ],
                Look(
                    "short",
                    decimals=0,
                    overrides=(
                        ("Cost", "unit", USD),
                        ("Cost", "decimals", 2),
                        ("Cost per call", "unit", USD),
                        ("Cost per call", "decimals", 5),
                        ("Cost per million tokens", "unit", USD),
                        ("Cost per million tokens", "decimals", 2),
                    ),
                ),
                columns={
                    "model": "Model",
                    "provider": "Provider",
                    "Value #A": "Calls",
                    "Value #B": "Tokens",
                    "Value #C": "Cost",
                    "Value #D": "Cost per call",
                    "Value #E": "Cost per million tokens",
                },
                sort="Cost",
            ),
        ),
        (
            24,
            bars(
                "Requests by service",
                "Root spans in the time shown.",
                [Query(f"sort_desc(sum by (service) ({roots}))", "{{service}}", instant=True)],
                Look("short", base="blue"),
            ),
        ),
    ]


def _tracking(settings: Settings, traces: tuple[tuple[str, str], ...]) -> list[tuple[int, PanelBuilder]]:
    per_day = settings.alerting.budget.per_day_usd
    budgets = selectors.budgets("day")
    return [
        (
            12,
            graph(
                "Spent today and forecast",
                "US dollars since midnight (UTC) and as they will be at its end; the dashed line is the stack's "
                "budget.",
                [
                    Query(f"sum({names.COST_TODAY})", "spent today"),
                    Query(f"sum({names.COST_FORECAST})", "forecast of the day's end"),
                    Query(f'max({names.BUDGET}{{scope="stack", period="day"}})', "budget"),
                ],
                Look(USD, _limit(per_day)[1:], line_at_threshold=True, no_value="no budget"),
            ),
        ),
        (
            12,
            graph(
                "Spent today by project",
                "US dollars since midnight (UTC).",
                [Query(f"{names.COST_TODAY}{{{selectors.PROJECTS}}}", "{{project}}")],
                Look(USD, stacked=True, links=traces),
            ),
        ),
        (
            12,
            rows(
                "Budgets of projects",
                "US dollars in the last 24 hours, the budget for a day, and the share of it; projects without a "
                "budget have none.",
                [
                    Query(f"{names.COST_DAY}{{{selectors.PROJECTS}}}", instant=True, table=True),
                    Query(f"{names.COST_FORECAST}{{{selectors.PROJECTS}}}", instant=True, table=True),
                    Query(budgets, instant=True, table=True),
                    Query(f"{names.COST_DAY} / on (project) {budgets}", instant=True, table=True),
                ],
                Look(USD, decimals=2, overrides=(("Share", "unit", "percentunit"),)),
                columns={
                    "project": "Project",
                    "Value #A": "Last 24 hours",
                    "Value #B": "Forecast of today",
                    "Value #C": "Budget",
                    "Value #D": "Share",
                },
                sort="Last 24 hours",
            ),
        ),
        (
            12,
            rows(
                "Budget alerts",
                "Alerts about cost that fire now. Each has a runbook of its name.",
                [Query(f'ALERTS{{alertname=~"{BUDGET_ALERTS}", alertstate="firing"}}', instant=True, table=True)],
                Look("short", no_value="nothing fires"),
                columns={"severity": "Severity", "alertname": "Alert", "project": "Project", "model": "Model"},
            ),
        ),
    ]
