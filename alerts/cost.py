"""Budgets: of the stack and of single projects, in an hour, in a day, and by the forecast of the day's end."""

from alerts import names
from alerts.model import Alert, Firing, RuleGroup, Silencer, Story, selector
from components.settings import Settings

SPENT = {"project": "shop", "service": "shop-chat", "model": "gpt-4o", "provider": "openai", "cost_source": "table"}
COST = selector(names.COST, **SPENT)
UNITS = {"hour": "an hour", "day": "24 hours"}
BY_NOW = 8
"""Hours after midnight in the stories about forecasts (a story begins at midnight)."""


def groups(settings: Settings) -> list[RuleGroup]:
    """Alerts about money."""
    budget = settings.alerting.budget
    of_stack = []
    if budget.per_hour_usd is not None:
        of_stack.append(stack_cost("hour", names.COST_HOUR, budget.per_hour_usd))
    if budget.per_day_usd is not None:
        of_stack += [stack_cost("day", names.COST_DAY, budget.per_day_usd), stack_forecast(budget.per_day_usd)]
    of_projects = (
        project_cost("hour", names.COST_HOUR),
        project_cost("day", names.COST_DAY),
        project_forecast(),
    )
    return [
        *([RuleGroup("stack-budget", tuple(of_stack))] if of_stack else []),
        RuleGroup("project-budgets", of_projects),
    ]


def _usd(value: float) -> str:
    """As ``printf "%.2f"`` writes it."""
    return f"{value:.2f}"


def stack_cost(period: str, metric: str, limit: float) -> Alert:
    """All projects together, in any hour or any 24 hours."""
    unit = UNITS[period]
    minutes = 60 if period == "hour" else 1440
    # Twice the budget is spent at an even pace over the period, then nothing; or 99% of it.
    pace, slow = 2 * limit / minutes, 0.99 * limit / minutes
    words = f"(budget {limit:g} USD)."
    return Alert(
        name=f"LlmCostPer{period.capitalize()}High",
        expr=f"sum({metric}) > {limit:g}",
        severity="critical",
        summary=f"LLM calls cost too much within {'an hour' if period == 'hour' else 'a day'}",
        description=f'{{{{ $value | printf "%.2f" }}}} USD were spent on LLM calls within {unit} {words}',
        fires=Story(
            series={COST: f"0+{pace * minutes / 60:g}x60 {2 * limit:g}x90"},
            interval=f"{minutes // 60}m",
            silent=(f"{minutes // 4}m", f"{2 * minutes + minutes // 4}m"),
            firing=(
                Firing(
                    at=f"{minutes}m",
                    summary=f"LLM calls cost too much within {'an hour' if period == 'hour' else 'a day'}",
                    description=f"{_usd(2 * limit)} USD were spent on LLM calls within {unit} {words}",
                ),
            ),
        ),
        below=Story(
            series={COST: f"0+{slow * minutes / 60:g}x150"},
            interval=f"{minutes // 60}m",
            silent=(f"{minutes}m", f"{2 * minutes}m"),
        ),
    )


def stack_forecast(limit: float) -> Alert:
    hourly = 2 * limit / 24
    within = 0.98 * limit / 24
    return Alert(
        name="LlmCostForecastHigh",
        expr=f"sum({names.COST_FORECAST}) > {limit:g}",
        hold="15m",
        severity="warning",
        summary="LLM calls will exceed the day's budget",
        description='At the pace of the last hours {{ $value | printf "%.0f" }} USD will have been spent on LLM '
        "calls at the end of "
        f"this day, UTC (budget {limit:g} USD).",
        fires=Story(
            series={COST: f"0+{hourly / 6:g}x{BY_NOW * 6} {BY_NOW * hourly:g}x90"},
            interval="10m",
            silent=("10m", f"{BY_NOW + 5}h"),
            firing=(
                Firing(
                    at=f"{BY_NOW}h",
                    summary="LLM calls will exceed the day's budget",
                    description=f"At the pace of the last hours {2 * limit:.0f} USD will have been spent on LLM "
                    f"calls at the end "
                    f"of this day, UTC (budget {limit:g} USD).",
                ),
            ),
        ),
        below=Story(series={COST: f"0+{within / 6:g}x140"}, interval="10m", silent=(f"{BY_NOW}h", "20h")),
        silenced_by=(Silencer("LlmCostPerDayHigh"),),
    )


def _budget(period: str) -> str:
    return f'{names.BUDGET}{{scope="project", period="{period}"}}'


def _limit_text(period: str) -> str:
    """The project's budget in a template: looked up, because it differs from project to project."""
    series = f"{names.BUDGET}{{scope='project', period='{period}', project='%s'}}"
    return (
        f'{{{{ with printf "{series}" $labels.project | query }}}}'
        '{{ . | first | value | printf "%.2f" }}{{ end }}'
    )


def project_cost(period: str, metric: str) -> Alert:
    """One project, in any hour or any 24 hours."""
    unit = UNITS[period]
    minutes = 60 if period == "hour" else 1440
    budget = selector(names.BUDGET, scope="project", period=period, project="shop")
    return Alert(
        name=f"ProjectBudgetPer{period.capitalize()}Exceeded",
        expr=f"{metric} > on (project) {_budget(period)}",
        severity="warning",
        summary=f"Project {{{{ $labels.project }}}} spends more than its budget for "
        f"{'an hour' if period == 'hour' else 'a day'}",
        description=f'{{{{ $value | printf "%.2f" }}}} USD were spent by {{{{ $labels.project }}}} within {unit} '
        f"(budget {_limit_text(period)} USD).",
        fires=Story(
            # 12 of 10 dollars.
            series={COST: "0+0.2x60 12x90", budget: "10x150"},
            interval=f"{minutes // 60}m",
            silent=(f"{minutes // 4}m", f"{2 * minutes + minutes // 4}m"),
            firing=(
                Firing(
                    at=f"{minutes}m",
                    labels={"project": "shop"},
                    summary=f"Project shop spends more than its budget for "
                    f"{'an hour' if period == 'hour' else 'a day'}",
                    description=f"12.00 USD were spent by shop within {unit} (budget 10.00 USD).",
                ),
            ),
        ),
        below=Story(
            # 9.90 of 10 dollars; and another project without a budget.
            series={
                COST: "0+0.165x150",
                budget: "10x150",
                selector(names.COST, **{**SPENT, "project": "free"}): "0+100x150",
            },
            interval=f"{minutes // 60}m",
            silent=(f"{minutes}m", f"{2 * minutes}m"),
        ),
        silenced_by=(Silencer("ProjectBudgetPerDayExceeded", equal=("project",)),) if period == "hour" else (),
    )


def project_forecast() -> Alert:
    budget = selector(names.BUDGET, scope="project", period="day", project="shop")
    return Alert(
        name="ProjectBudgetForecastExceeded",
        expr=f"{names.COST_FORECAST} > on (project) {_budget('day')}",
        hold="15m",
        severity="warning",
        summary="Project {{ $labels.project }} will exceed its budget of the day",
        description="At the pace of the last hours {{ $labels.project }} will have spent {{ $value | "
        'printf "%.0f" }} USD at the '
        f"end of this day, UTC (budget {_limit_text('day')} USD).",
        fires=Story(
            # 2 dollars an hour are 48 at the end of the day.
            series={COST: f"0+{2 / 12:.6f}x{BY_NOW * 12} {BY_NOW * 2}x180", budget: "24x280"},
            interval="5m",
            silent=("10m", f"{BY_NOW + 6}h"),
            firing=(
                Firing(
                    at=f"{BY_NOW}h",
                    labels={"project": "shop"},
                    summary="Project shop will exceed its budget of the day",
                    description="At the pace of the last hours shop will have spent 48 USD at the end of this day, "
                    "UTC (budget "
                    "24.00 USD).",
                ),
            ),
        ),
        below=Story(
            series={COST: f"0+{0.98 / 12:.6f}x280", budget: "24x280"}, interval="5m", silent=(f"{BY_NOW}h", "20h")
        ),
        silenced_by=(Silencer("ProjectBudgetPerDayExceeded", equal=("project",)),),
    )
