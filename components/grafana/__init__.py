"""Grafana: the dashboards, with its users and its data source as the settings say."""

from components.grafana.component import Grafana

__all__ = ["Grafana"]
