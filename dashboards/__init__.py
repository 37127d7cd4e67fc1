"""Grafana dashboards as code, one module per dashboard; classic schema, because files are provisioned in it alone."""

from components.settings import Settings


def dashboard_files(settings: Settings) -> dict[str, str]:
    """``Folder/name.json`` -> JSON of every dashboard: ours, and the settings' own in the folder Own."""
    return {f"Own/{name}": text for name, text in settings.alerting.own_dashboards().items()}
