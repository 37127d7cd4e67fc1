"""The OpenTelemetry Collector: what it runs with (as data) and the workload that runs it."""

from components.collector.component import Collector

__all__ = ["Collector"]
