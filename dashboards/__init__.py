"""Grafana dashboards as code, one module per dashboard; classic schema, because files are provisioned in it alone.

`python -m dashboards` writes the JSON for people who import by hand.
"""

from collections.abc import Callable, Mapping
from typing import Final

from components.outputs import endpoints
from components.settings import Settings
from dashboards import cost, overview, performance
from dashboards.kit import PanelQuery, queries_of

BOARDS: Final[Mapping[str, Callable[[Settings, str], str]]] = {
    "LLM/overview.json": overview.render,
    "LLM/cost.json": cost.render,
    "Stack/performance.json": performance.render,
}
"""``Folder/name.json`` -> the renderer, from the settings and Phoenix's URL."""

RIGHTLY_EMPTY: Final[Mapping[tuple[str, str], str]] = {
    (overview.TITLE, "Alerts"): "nothing fires",
    (overview.TITLE, "LLM calls without a cost"): "every model has a price and every call reports its usage",
    (cost.TITLE, "Budgets of projects"): "no project has a budget of its own",
    (cost.TITLE, "Budget alerts"): "nothing fires",
    (performance.TITLE, "Batches sent again"): "Phoenix has stored every batch in time",
    (performance.TITLE, "Restarts"): "no container had to be started again",
}
"""Dashboard and panel -> why some of its queries return nothing in a healthy stack with traffic."""


def dashboard_files(settings: Settings) -> dict[str, str]:
    """``Folder/name.json`` -> JSON of every dashboard: ours, and the settings' own in the folder Own."""
    phoenix_url = endpoints(settings)["phoenix"]
    ours = {path: render(settings, phoenix_url) for path, render in BOARDS.items()}
    return ours | {f"Own/{name}": text for name, text in settings.alerting.own_dashboards().items()}


def all_queries(settings: Settings) -> list[PanelQuery]:
    """Every query of every panel of our dashboards."""
    phoenix_url = endpoints(settings)["phoenix"]
    return [query for render in BOARDS.values() for query in queries_of(render(settings, phoenix_url))]


__all__ = ["BOARDS", "RIGHTLY_EMPTY", "PanelQuery", "all_queries", "dashboard_files"]
