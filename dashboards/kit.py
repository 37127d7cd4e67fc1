"""What all dashboards share: panels with a house style, rows that fill the grid, variables, annotations, links.

The SDK places panels from left to right and wraps only when a row is full, and it numbers no panel: the Board does
both and refuses a row that is not 24 wide.
"""

import json
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, Self

with warnings.catch_warnings():
    # The builders of the classic schema say that there is a newer one. Grafana takes files in the classic one alone.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import (
        bargauge,
        common,
        dashboard,
        piechart,
        prometheus,
        stat,
        table,
        timeseries,
    )
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as models
from grafana_foundation_sdk.models import dashboard as dashboard_models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

GRID_WIDTH: Final = 24
DATA_SOURCE: Final = dashboard_models.DataSourceRef(type_val="prometheus", uid="${datasource}")
RUNBOOKS: Final = "docs/runbooks"
Color = Literal["green", "yellow", "orange", "red", "blue", "text"]


class PanelBuilder(Protocol):
    """What the SDK's builders of panels have in common (they share no base class of their own)."""

    def id(self, id_val: int, /) -> Self: ...
    def span(self, w: int, /) -> Self: ...
    def height(self, h: int, /) -> Self: ...
    def build(self) -> dashboard_models.Panel: ...


@dataclass(frozen=True)
class Query:
    """One query of a panel; ``legend`` is Grafana's template (``{{model}}``)."""

    expr: str
    legend: str = ""
    instant: bool = False
    table: bool = False


@dataclass(frozen=True)
class Step:
    """From this value on, this colour."""

    value: float
    color: Color


@dataclass(frozen=True)
class Look:
    """How a panel's values are shown.

    ``unit`` is Grafana's id of a unit (``reqps``, ``s``, ``currencyUSD``, ``bytes``, ``percentunit``, ``short``).
    """

    unit: str
    steps: tuple[Step, ...] = ()
    base: Color = "green"
    line_at_threshold: bool = False
    stacked: bool = False
    minimum: float | None = 0
    maximum: float | None = None
    decimals: int | None = None
    links: tuple[tuple[str, str], ...] = ()
    """Title and URL of the data links."""
    no_value: str | None = None
    overrides: tuple[tuple[str, str, Any], ...] = ()
    """Series or column name, property (``unit``, ``color``, ...), value."""


def _thresholds(look: Look) -> dashboard.ThresholdsConfig:
    steps = [dashboard_models.Threshold(value=None, color=look.base)]
    steps += [dashboard_models.Threshold(value=step.value, color=step.color) for step in look.steps]
    return dashboard.ThresholdsConfig().mode(dashboard_models.ThresholdsMode.ABSOLUTE).steps(steps)


def _common(panel: Any, title: str, description: str, queries: Sequence[Query], look: Look) -> Any:
    """What every kind of panel has. The SDK's builders share these methods but no type."""
    panel = panel.title(title).description(description).datasource(DATA_SOURCE).unit(look.unit)
    panel = panel.thresholds(_thresholds(look))
    for letter, query in zip("ABCDEFGHIJ", queries, strict=False):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend or "__auto").ref_id(letter)
        target = target.instant() if query.instant else target.range()
        if query.table:
            target = target.format(PromQueryFormat.TABLE)
        panel = panel.with_target(target)
    if look.minimum is not None:
        panel = panel.min(look.minimum)
    if look.maximum is not None:
        panel = panel.max(look.maximum)
    if look.decimals is not None:
        panel = panel.decimals(look.decimals)
    if look.no_value is not None:
        panel = panel.no_value(look.no_value)
    if look.links:
        panel = panel.data_links(
            [dashboard.DashboardLink(title).title(title).url(url).target_blank(True) for title, url in look.links]
        )
    for name, property_id, value in look.overrides:
        panel = panel.override_by_name(name, [dashboard_models.DynamicConfigValue(id_val=property_id, value=value)])
    return panel


def built(panel: Any) -> PanelBuilder:
    """The same, as what it is."""
    found: PanelBuilder = panel
    return found


def graph(title: str, description: str, queries: Sequence[Query], look: Look) -> PanelBuilder:
    """Lines over time; ``stacked`` for parts of a whole."""
    panel = _common(timeseries.Panel(), title, description, queries, look)
    panel = (
        panel.fill_opacity(25 if look.stacked else 8)
        .line_width(1)
        .span_nulls(False)
        .show_points(models.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(models.LegendDisplayMode.TABLE)
            .placement(models.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(common.VizTooltipOptions().mode(models.TooltipDisplayMode.MULTI).sort(models.SortOrder.DESCENDING))
    )
    if look.stacked:
        panel = panel.stacking(common.StackingConfig().mode(models.StackingMode.NORMAL))
    if look.line_at_threshold:
        panel = panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(models.GraphThresholdsStyleMode.DASHED))
    return built(panel)


def number(title: str, description: str, query: Query, look: Look) -> PanelBuilder:
    """One figure, coloured by its thresholds."""
    reduced = common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    return built(
        _common(stat.Panel(), title, description, [query], look)
        .reduce_options(reduced)
        .color_mode(models.BigValueColorMode.VALUE)
        .graph_mode(models.BigValueGraphMode.NONE if query.instant else models.BigValueGraphMode.AREA)
    )


def bars(title: str, description: str, queries: Sequence[Query], look: Look) -> PanelBuilder:
    """A bar per series, with its figure."""
    reduced = common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    return built(
        _common(bargauge.Panel(), title, description, queries, look)
        .reduce_options(reduced)
        .orientation(models.VizOrientation.HORIZONTAL)
        .display_mode(models.BarGaugeDisplayMode.BASIC)
    )


def shares(title: str, description: str, queries: Sequence[Query], look: Look) -> PanelBuilder:
    """The parts of a whole."""
    reduced = common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    legend = (
        piechart.PieChartLegendOptions()
        .display_mode(models.LegendDisplayMode.TABLE)
        .placement(models.LegendPlacement.RIGHT)
        .show_legend(True)
    )
    return built(_common(piechart.Panel(), title, description, queries, look).reduce_options(reduced).legend(legend))


def rows(
    title: str, description: str, queries: Sequence[Query], look: Look, *, columns: dict[str, str], sort: str = ""
) -> PanelBuilder:
    """A table: instant queries joined by their labels.

    Args:
        columns: label or value (``Value #A``) -> heading; what is not named is left out.
        sort: heading that is sorted by, largest first.
    """
    panel = _common(table.Panel(), title, description, queries, look)
    organize = {
        "excludeByName": {"Time": True},
        "includeByName": dict.fromkeys(columns, True),
        "indexByName": {name: index for index, name in enumerate(columns)},
        "renameByName": dict(columns),
    }
    transformer = dashboard_models.DataTransformerConfig
    panel = panel.transformations(
        [transformer(id_val="merge", options={}), transformer(id_val="organize", options=organize)]
    ).show_header(True)
    if sort:
        panel = panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(True)])
    return built(panel)


@dataclass
class Board:
    """One dashboard in the making: rows of panels whose widths add up to 24."""

    title: str
    uid: str
    description: str
    tags: tuple[str, ...]
    phoenix_url: str
    runbooks: str
    variables: tuple[str, ...] = ("project", "service", "model", "provider")
    _panels: list[Any] = field(default_factory=list)
    _number: int = 0

    def row(self, title: str, *panels: tuple[int, PanelBuilder], height: int = 8) -> Self:
        """A heading and its panels, each with its width.

        Raises:
            ValueError: when the widths don't fill whole lines of the grid.
        """
        used = 0
        for width, _ in panels:
            used = used % GRID_WIDTH + width
            if used > GRID_WIDTH:
                raise ValueError(f"{self.title}, row {title!r}: a panel runs past the grid's width of {GRID_WIDTH}")
        if used != GRID_WIDTH:
            raise ValueError(f"{self.title}, row {title!r}: the last line is {used} wide, not {GRID_WIDTH}")
        self._panels.append(dashboard.Row(title).id(self._next()))
        self._panels.extend(panel.id(self._next()).span(width).height(height) for width, panel in panels)
        return self

    def _next(self) -> int:
        self._number += 1
        return self._number

    def render(self) -> str:
        """The dashboard's JSON."""
        board = (
            dashboard.Dashboard(self.title)
            .uid(self.uid)
            .description(self.description)
            .tags(["agentstack", *self.tags])
            .readonly()
            .refresh("30s")
            .time("now-6h", "now")
            .timezone("browser")
            .tooltip(dashboard_models.DashboardCursorSync.CROSSHAIR)
            .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        )
        for name in self.variables:
            board = board.with_variable(_variable(name))
        for annotation in _annotations():
            board = board.annotation(annotation)
        for link in self._links():
            board = board.link(link)
        for panel in self._panels:
            board = board.with_row(panel) if isinstance(panel, dashboard.Row) else board.with_panel(panel)
        return str(JSONEncoder(sort_keys=True, indent=2).encode(board.build())) + "\n"

    def _links(self) -> Iterable[dashboard.DashboardLink]:
        kinds = dashboard_models.DashboardLinkType
        yield (
            dashboard.DashboardLink("AgentStack").type(kinds.DASHBOARDS).tags(["agentstack"]).as_dropdown(True)
            .include_vars(True).keep_time(True)
        )  # fmt: skip
        yield (
            dashboard.DashboardLink("Traces in Phoenix")
            .type(kinds.LINK)
            .url(f"{self.phoenix_url}/projects")
            .target_blank(True)
        )
        if self.runbooks.startswith("http"):
            yield dashboard.DashboardLink("Runbooks").type(kinds.LINK).url(self.runbooks).target_blank(True)


def _variable(name: str) -> dashboard.QueryVariable:
    """A label of the spans' metrics, several of whose values can be chosen."""
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .query(f"label_values(phoenix_trace_spans_total, {name})")
        .datasource(DATA_SOURCE)
        .refresh(dashboard_models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard_models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(dashboard_models.VariableOption(text="All", value="$__all", selected=True))
    )


def _annotations() -> Iterable[dashboard.AnnotationQuery]:
    yield (
        dashboard.AnnotationQuery()
        .name("Alerts")
        .datasource(DATA_SOURCE)
        .enable(True)
        .icon_color("red")
        .expr('ALERTS{alertstate="firing", severity=~"critical|warning"}')
        .title_format("{{alertname}}")
        .text_format("{{severity}} {{component}} {{service}} {{project}}")
    )
    yield (
        # A start is a deployment, a renewed configuration or a crash: each replaces or restarts the container.
        dashboard.AnnotationQuery()
        .name("Starts and deployments")
        .datasource(DATA_SOURCE)
        .enable(True)
        .icon_color("blue")
        .expr("process_start_time_seconds * 1000")
        .use_value_for_time(True)
        .title_format("{{component}} started")
        .text_format("{{instance}}")
    )


_SUBSTITUTES: Final = {
    "$__rate_interval": "5m",
    "$__interval": "1m",
    "$__range": "1h",
}


def substituted(expr: str) -> str:
    """A panel's query as Prometheus would get it: everything chosen, an hour shown."""
    for name, value in _SUBSTITUTES.items():
        expr = expr.replace(name, value)
    return re.sub(r"\$\{?(?:project|service|model|provider)\}?", ".*", expr)


@dataclass(frozen=True)
class PanelQuery:
    """A query of a panel, as it stands in the dashboard."""

    dashboard: str
    panel: str
    expr: str

    @property
    def runnable(self) -> str:
        """The same with Grafana's variables filled in."""
        return substituted(self.expr)


def queries_of(text: str) -> list[PanelQuery]:
    """Every query of every panel, and of the annotations, of a dashboard's JSON."""
    content: dict[str, Any] = json.loads(text)
    return [
        PanelQuery(content["title"], panel["title"], target["expr"])
        for panel in content["panels"]
        if panel["type"] != "row"
        for target in panel["targets"]
    ]
