"""The web configuration of everything built on Prometheus' exporter toolkit: TLS and basic auth, one file.

Prometheus, Alertmanager and the exporters read the same format. The file holds bcrypt hashes only: who may
come in is recognised, no password is there to be read.
"""

from collections.abc import Mapping

import yaml

from components.names import TLS_CERT, TLS_KEY


def render_web_config(users: Mapping[str, str]) -> str:
    """The YAML of a web configuration file.

    Args:
        users: user name -> bcrypt hash of the password.

    Raises:
        ValueError: without any user: the port would answer everybody.
    """
    if not users:
        raise ValueError("a web configuration needs at least one user")
    config = {
        "tls_server_config": {"cert_file": TLS_CERT, "key_file": TLS_KEY, "min_version": "TLS12"},
        "http_server_config": {"http2": True},
        "basic_auth_users": dict(users),
    }
    return yaml.safe_dump(config, sort_keys=True)
