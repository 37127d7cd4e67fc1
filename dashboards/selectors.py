"""Queries that several dashboards share; every one about spans obeys the dashboard's variables."""

from typing import Final

from alerts import names

CHOSEN: Final = 'project=~"$project", service=~"$service", model=~"$model", provider=~"$provider"'
PROJECTS: Final = 'project=~"$project"'
SERVICES: Final = 'service=~"$service"'
RATE: Final = "$__rate_interval"
FAILED: Final = 'status="error"'
WITHOUT_COST: Final = 'cost_source=~"unpriced|no_usage"'


def requests(metric: str, *matchers: str, window: str = RATE, function: str = "rate") -> str:
    """A rate over the chosen requests (LLM and root spans, each once)."""
    return names.requests(metric, window, CHOSEN, *matchers, function=function)


def llm(metric: str, *matchers: str) -> str:
    """A selector of the chosen LLM calls."""
    return selector(metric, 'span_kind="LLM"', *matchers)


def selector(metric: str, *matchers: str) -> str:
    """A selector of what is chosen."""
    return f"{metric}{{{', '.join([CHOSEN, *matchers])}}}"


def increase(metric: str, *matchers: str, window: str = "$__range") -> str:
    """What came in over the range that is shown."""
    return f"increase({selector(metric, *matchers)}[{window}])"


def rate(metric: str, *matchers: str) -> str:
    """Per second, of what is chosen."""
    return f"rate({selector(metric, *matchers)}[{RATE}])"


def tokens_increase(*matchers: str) -> str:
    """Tokens of the range that is shown."""
    return increase(names.TOKENS, *matchers)


def budgets(period: str) -> str:
    """The budgets of single projects, one series each."""
    return f'max by (project) ({names.BUDGET}{{scope="project", period="{period}"}})'
