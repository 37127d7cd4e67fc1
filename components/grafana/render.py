"""Grafana's settings and provisioning files as data and text. Pure.

Traps that are met here: with a read-only root the background installer of plugins would end the bundled ones (every
panel goes blank while the health check stays green), so it is off; ``$__file{}`` is read at start only, so a changed
CA comes with a changed configuration volume, which replaces the container anyway; dashboards from files must be in the
classic schema, and read-only.
"""

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from components.contributions import ScrapeTarget
from components.names import CONFIG_DIR, TLS_CA, TLS_CERT, TLS_KEY, Port, Service
from components.settings.alerting import GrafanaUser

SCRAPE_TARGET: Final = ScrapeTarget(job="grafana", service=Service.GRAFANA, port=Port.GRAFANA)
ADMIN: Final = "admin"
SECRETS: Final = f"{CONFIG_DIR}/secrets"
PROVISIONING: Final = f"{CONFIG_DIR}/provisioning"
DASHBOARDS_DIR: Final = "dashboards"
DATA_SOURCE_UID: Final = "prometheus"
USER_MAIL_DOMAIN: Final = "provisioned.invalid"
"""Marks the logins that come from the settings: only those are ever removed."""
HOME_DASHBOARD: Final = "LLM/overview.json"


def environment(root_url: str, scrape_user: str) -> dict[str, str]:
    """Grafana's own environment variables. Secrets are files (``__FILE``).

    Args:
        root_url: where people reach it, ``https://host:port``.
    """
    host = urlsplit(root_url).hostname or "localhost"
    return {
        "GF_PATHS_PROVISIONING": PROVISIONING,
        "GF_LOG_MODE": "console",
        "GF_LOG_CONSOLE_FORMAT": "json",
        # TLS
        "GF_SERVER_PROTOCOL": "https",
        "GF_SERVER_HTTP_PORT": str(Port.GRAFANA),
        "GF_SERVER_CERT_FILE": TLS_CERT,
        "GF_SERVER_CERT_KEY": TLS_KEY,
        "GF_SERVER_MIN_TLS_VERSION": "TLS1.2",
        "GF_SERVER_ROOT_URL": f"{root_url}/",
        "GF_SERVER_DOMAIN": host,
        # Secrets
        "GF_SECURITY_ADMIN_USER": ADMIN,
        "GF_SECURITY_ADMIN_PASSWORD__FILE": f"{SECRETS}/admin-password",
        "GF_SECURITY_SECRET_KEY__FILE": f"{SECRETS}/secret-key",
        "GF_METRICS_ENABLED": "true",
        "GF_METRICS_BASIC_AUTH_USERNAME": scrape_user,
        "GF_METRICS_BASIC_AUTH_PASSWORD__FILE": f"{SECRETS}/scrape-password",
        # Cookies and headers
        "GF_SECURITY_COOKIE_SECURE": "true",
        "GF_SECURITY_COOKIE_SAMESITE": "strict",
        "GF_SECURITY_CONTENT_SECURITY_POLICY": "true",
        "GF_SECURITY_ALLOW_EMBEDDING": "false",
        "GF_SECURITY_DISABLE_GRAVATAR": "true",
        "GF_SECURITY_X_CONTENT_TYPE_OPTIONS": "true",
        # Who may do what
        "GF_AUTH_ANONYMOUS_ENABLED": "false",
        "GF_USERS_ALLOW_SIGN_UP": "false",
        "GF_USERS_ALLOW_ORG_CREATE": "false",
        "GF_USERS_AUTO_ASSIGN_ORG_ROLE": "Viewer",
        "GF_USERS_DEFAULT_THEME": "system",
        "GF_SNAPSHOTS_ENABLED": "false",
        "GF_SNAPSHOTS_EXTERNAL_ENABLED": "false",
        "GF_SECURITY_DATA_SOURCE_PROXY_WHITELIST": f"{Service.PROMETHEUS}:{Port.PROMETHEUS}",
        # No call to the outside
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        "GF_ANALYTICS_FEEDBACK_LINKS_ENABLED": "false",
        "GF_NEWS_NEWS_FEED_ENABLED": "false",
        "GF_PLUGINS_PREINSTALL_DISABLED": "true",
        "GF_PLUGINS_PREINSTALL_AUTO_UPDATE": "false",
        "GF_PLUGINS_PLUGIN_ADMIN_ENABLED": "false",
        "GF_PLUGINS_PUBLIC_KEY_RETRIEVAL_DISABLED": "true",
        # Alerts are Prometheus' and Alertmanager's
        "GF_UNIFIED_ALERTING_ENABLED": "false",
        "GF_DATABASE_WAL": "true",
        "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": f"{CONFIG_DIR}/{DASHBOARDS_DIR}/{HOME_DASHBOARD}",
    }


def data_sources(prometheus_url: str, username: str, version: str) -> str:
    """provisioning/datasources/agentstack.yaml: Prometheus over verified TLS, with a login of Grafana's own."""
    source = {
        "name": "Prometheus",
        "uid": DATA_SOURCE_UID,
        "type": "prometheus",
        "access": "proxy",
        "orgId": 1,
        "url": prometheus_url,
        "isDefault": True,
        "editable": False,
        "basicAuth": True,
        "basicAuthUser": username,
        "jsonData": {
            "httpMethod": "POST",
            "prometheusType": "Prometheus",
            "prometheusVersion": version,
            "timeInterval": "15s",
            "manageAlerts": False,
            "tlsAuthWithCACert": True,
            "tlsSkipVerify": False,
            "serverName": urlsplit(prometheus_url).hostname,
        },
        "secureJsonData": {
            "basicAuthPassword": f"$__file{{{SECRETS}/prometheus-password}}",
            "tlsCACert": f"$__file{{{TLS_CA}}}",
        },
    }
    return yaml.safe_dump({"apiVersion": 1, "prune": True, "datasources": [source]}, sort_keys=False)


def dashboard_provider() -> str:
    """provisioning/dashboards/agentstack.yaml: read-only, one folder per directory."""
    provider = {
        "name": "agentstack",
        "orgId": 1,
        "type": "file",
        "disableDeletion": True,
        "allowUiUpdates": False,
        "updateIntervalSeconds": 60,
        "options": {"path": f"{CONFIG_DIR}/{DASHBOARDS_DIR}", "foldersFromFilesStructure": True},
    }
    return yaml.safe_dump({"apiVersion": 1, "providers": [provider]}, sort_keys=False)


def user_list(users: Mapping[str, GrafanaUser]) -> str:
    """What the one-shot that keeps the users makes of the settings: login -> role, and the mark of its own logins."""
    wanted: dict[str, Any] = {
        "mailDomain": USER_MAIL_DOMAIN,
        "users": {login: {"role": user.role} for login, user in sorted(users.items())},
    }
    return json.dumps(wanted, indent=2) + "\n"
