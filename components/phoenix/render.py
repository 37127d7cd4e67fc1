"""Phoenix's settings in its own words: environment, password file, origins. Pure: settings in, text out."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from components.names import CONFIG_DIR, TLS_CA, TLS_CERT, TLS_KEY, Port
from components.settings import Settings

CODE: Final = f"{CONFIG_DIR}/phoenix"
SECRETS: Final = f"{CONFIG_DIR}/secrets"
PGPASS: Final = f"{SECRETS}/pgpass"
WORKING_DIR: Final = "/tmp/phoenix"  # noqa: S108 - the container's own tmpfs

MIDDLEWARE: Final = (("metrics.py", "Metrics"), ("watchdog.py", "Watchdog"), ("ingest.py", "StoreFirst"))
"""Outermost first. Files of components/phoenix/container, mounted at CODE."""

RETENTION_CRON: Final = "0 3 * * *"
"""When Phoenix deletes what is too old (UTC). Phoenix takes whole hours only."""

CALLS_OUTSIDE: Final = {
    "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",  # fonts, documentation server, WASM download
    "PHOENIX_TELEMETRY_ENABLED": "false",  # a counting pixel in every page
    "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
    "PHOENIX_AGENTS_DISABLE_WEB_ACCESS": "true",
    "PHOENIX_AGENTS_DISABLE_GITHUB": "true",
    "PHOENIX_AGENTS_DISABLE_BASH": "true",
    "PHOENIX_ENABLE_MCP_SERVER": "false",
    "PHOENIX_ENABLE_MCP_CODE_MODE": "false",
    "PHOENIX_ENABLE_OAUTH2_AUTHORIZATION_SERVER": "false",  # it registers any client that asks
    "PHOENIX_OAUTH2_DYNAMIC_CLIENT_REGISTRATION": "disabled",
    "PHOENIX_ALLOWED_SANDBOX_PROVIDERS": "NONE",  # no code of users runs
    "PHOENIX_ALLOWED_PROVIDERS": "NONE",  # the playground would call LLM providers
}
"""Everything that calls out, or lets strangers in: off. All of it is on by default."""


def database_url(user: str, host: str, port: int, database: str) -> str:
    """Where the spans are stored. Fully verified TLS; no password: asyncpg takes it from PGPASSFILE."""
    options = urlencode({"sslmode": "verify-full", "sslrootcert": TLS_CA}, safe="/")
    return f"postgresql://{user}@{host}:{port}/{database}?{options}"


def pgpass(host: str, port: int, database: str, user: str, password: str) -> str:
    """One line of a PostgreSQL password file."""
    fields = (host, str(port), database, user, password)
    return ":".join(field.replace("\\", "\\\\").replace(":", "\\:") for field in fields) + "\n"


def origins(settings: Settings) -> list[str]:
    """Web origins that may use a browser's login: our own names, and what the settings allow."""
    names = ["localhost", "127.0.0.1", "[::1]"]
    names += [f"[{name}]" if ":" in name else name for name in settings.public_names if not name.startswith("*.")]
    own = [f"https://{name}:{settings.ports.phoenix}" for name in names]
    return list(dict.fromkeys([*own, *settings.allowed_origins]))


def middleware_paths() -> str:
    """The middlewares, in the spelling of PHOENIX_FASTAPI_MIDDLEWARE_PATHS."""
    return ",".join(f"{CODE}/{file}:{name}" for file, name in MIDDLEWARE)


def environment(settings: Settings, *, database: str, root_url: str, allowed_origins: Sequence[str]) -> dict[str, str]:
    """Phoenix's environment. It holds no secret: those are files that the launcher reads."""
    joined = ",".join(allowed_origins)
    return {
        "PHOENIX_HOST": "0.0.0.0",  # noqa: S104 - the container's networks have no route from outside
        "PHOENIX_PORT": str(Port.PHOENIX),
        "PHOENIX_GRPC_PORT": str(Port.OTLP_GRPC),
        "PHOENIX_ROOT_URL": root_url,
        "PHOENIX_WORKING_DIR": WORKING_DIR,
        "PHOENIX_SQL_DATABASE_URL": database,
        "PGPASSFILE": PGPASS,
        "PHOENIX_ENABLE_AUTH": "true",
        "PHOENIX_ENABLE_STRONG_PASSWORD_POLICY": "true",
        "PHOENIX_USE_SECURE_COOKIES": "true",
        "PHOENIX_CSRF_TRUSTED_ORIGINS": joined,
        "PHOENIX_ALLOWED_ORIGINS": joined,
        "PHOENIX_TLS_ENABLED": "true",
        "PHOENIX_TLS_CERT_FILE": TLS_CERT,
        "PHOENIX_TLS_KEY_FILE": TLS_KEY,
        # Without it every user would share one bucket of the login rate limit: the edge's address.
        "FORWARDED_ALLOW_IPS": settings.networks.phoenix.subnet,
        "PHOENIX_DEFAULT_RETENTION_POLICY_DAYS": str(settings.retention_days),
        "PHOENIX_MAX_SPANS_QUEUE_SIZE": str(settings.phoenix.span_queue),
        "PHOENIX_ENABLE_PROMETHEUS": "false",  # plaintext on 9090, without a login: see container/metrics.py
        "PHOENIX_FASTAPI_MIDDLEWARE_PATHS": middleware_paths(),
        "PHOENIX_LOGGING_MODE": "structured",
        "PHOENIX_LOG_MIGRATIONS": "false",
        **CALLS_OUTSIDE,
    }
