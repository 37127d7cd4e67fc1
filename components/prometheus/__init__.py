"""Prometheus: scrapes every service over verified TLS, evaluates the rules, keeps the samples."""

from components.prometheus.component import Prometheus

__all__ = ["Prometheus"]
