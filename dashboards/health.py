"""Stack health: is everything scraped, how full is memory, what restarts."""

from typing import Final

from grafana_foundation_sdk.builders import prometheus, stat, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import DataSourceRef

UID: Final = "agentstack-health"
SOURCE: Final = DataSourceRef(type_val="prometheus", uid="$datasource")


def _query(expression: str, legend: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expression).legend_format(legend).ref_id("A")


def build() -> str:
    """The dashboard as classic JSON."""
    board = (
        Dashboard("AgentStack Stack Health")
        .uid(UID)
        .tags(["agentstack"])
        .readonly()
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("utc")
        .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_panel(
            stat.Panel()
            .id(1)
            .title("Targets up")
            .description("Scrape targets that answer, of all that are configured.")
            .unit("percentunit")
            .span(8)
            .height(8)
            .datasource(SOURCE)
            .with_target(_query("avg(up)", "up"))
        )
        .with_panel(
            timeseries.Panel()
            .id(2)
            .title("Memory as a share of its limit")
            .description("Resident memory of each service beside its container's limit.")
            .unit("percentunit")
            .span(16)
            .height(8)
            .datasource(SOURCE)
            .with_target(
                _query("max by (service) (container_memory_usage_total / container_memory_usage_limit)", "{{service}}")
            )
        )
    )
    encoded: str = JSONEncoder(sort_keys=True, indent=2).encode(board.build())
    return encoded
