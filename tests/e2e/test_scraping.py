"""Prometheus scrapes every service over verified TLS: the exact list, all up."""

from typing import Any

import pytest

from tests.e2e.stack import StackUnderTest, poll

pytestmark = pytest.mark.e2e

# Job -> the addresses that it scrapes.
TARGETS = {
    "alertmanager": {"alertmanager:9093"},
    "blackbox": {"blackbox-exporter:9115"},
    "collector": {"collector:8888"},
    "collector-applications": {"collector:8890"},
    "collector-spans": {"collector:8889"},
    "edge-otlp": {"edge-otlp:8405"},
    "edge-otlp-applications": {"edge-otlp:8405"},
    "edge-ui": {"edge-ui:8405"},
    "edge-ui-applications": {"edge-ui:8405"},
    "grafana": {"grafana:3000"},
    "node": {"node-exporter:9100"},
    "phoenix": {"phoenix:6006"},
    "postgres": {"postgres-exporter:9187"},
    "prometheus": {"prometheus:9090"},
}


PROBED = {
    "blackbox-https": {
        "https://alertmanager:9093/-/ready",
        "https://collector:13133/",
        "https://edge-ui:3001/api/health",
        "https://edge-ui:6006/health",
        "https://edge-ui:9090/-/ready",
        "https://edge-ui:9093/-/ready",
        "https://grafana:3000/api/health",
        "https://phoenix:6006/readyz",
        "https://prometheus:9090/-/ready",
    },
    "blackbox-tls": {"edge-otlp:4317", "edge-otlp:4318", "node-exporter:9100", "postgres-exporter:9187"},
}


def active(stack: StackUnderTest) -> list[dict[str, Any]]:
    answer = stack.prometheus.get("/api/v1/targets", params={"state": "active"})
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()["data"]["activeTargets"]
    return found


def test_the_targets_are_exactly_these(stack: StackUnderTest) -> None:
    found: dict[str, set[str]] = {}
    for target in active(stack):
        found.setdefault(target["labels"]["job"], set()).add(target["discoveredLabels"]["__address__"])
    assert found == {**TARGETS, **PROBED}


def test_every_target_is_up_and_none_without_tls(stack: StackUnderTest) -> None:
    poll(
        lambda: {target["health"] for target in active(stack)} == {"up"},
        90,
        "every target up",
    )
    assert {target["scrapeUrl"].split(":")[0] for target in active(stack)} == {"https"}


@pytest.mark.parametrize(
    "metric",
    [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "node_filesystem_avail_bytes",
        "pg_stat_activity_count",
        "pg_stat_database_xact_commit",
        "container_memory_usage_total",
        "haproxy_process_requests_total",
        "otelcol_exporter_sent_spans",
        "phoenix_span_queue_size",
    ],
)
def test_what_the_guide_and_the_alerts_rest_on_has_samples(stack: StackUnderTest, metric: str) -> None:
    poll(lambda: stack.query(metric), 90, f"samples of {metric}")


def test_every_probe_succeeds(stack: StackUnderTest) -> None:
    poll(lambda: {row["value"][1] for row in stack.query("probe_success")} == {"1"}, 90, "every probe succeeds")
