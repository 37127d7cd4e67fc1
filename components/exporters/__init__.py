"""Exporters: each turns the state of something that speaks no Prometheus into metrics, over TLS behind a password."""
