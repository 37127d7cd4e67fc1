"""What comes in: OTLP from the edge, container statistics from Docker.

The Collector checks tokens itself, behind the edge's check: whoever is on its network still needs one. Logs have no
pipeline, so that their endpoints do not exist (HTTP 404, gRPC UNIMPLEMENTED); the edge answers first and says why.
"""

from components.collector.text import Expand, Node
from components.names import CONFIG_DIR, LIVE_DIR, TLS_CA, Label, Port

TOKENS_FILE = "tokens"
"""Below LIVE_DIR: one line per token, then a space and the application's name, which the Collector ignores."""
ADMIN_SECRET_FILE = "phoenix/admin-secret"
"""Below CONFIG_DIR; mounted to the Collector alone."""
SCRAPE_FILE = "scrape/htpasswd"
"""Below CONFIG_DIR: who may read the metrics (a bcrypt hash, not the password)."""
REPLICA_DIR = "replica"
"""Below CONFIG_DIR: one file per replica with the one difference between them, who reads container statistics."""
QUEUE_DIR = "/var/lib/otelcol/queue"
DOCKER_SOCKET = "unix:///run/docker-proxy/docker.sock"
LIVE_CERT = f"{LIVE_DIR}/tls/tls.crt"
LIVE_KEY = f"{LIVE_DIR}/tls/tls.key"
"""The certificate is a live file: a renewed one is taken up without a restart."""
MAX_REQUEST_MIB = 16

CONTAINER_METRICS = (
    "container.memory.usage.total",
    "container.memory.usage.limit",
    "container.memory.percent",
    "container.memory.fails",
    "container.cpu.usage.total",
    "container.cpu.limit",
    "container.cpu.throttling_data.periods",
    "container.cpu.throttling_data.throttled_periods",
    "container.cpu.throttling_data.throttled_time",
    "container.pids.count",
    "container.pids.limit",
    "container.restarts",
    "container.uptime",
    "container.network.io.usage.rx_bytes",
    "container.network.io.usage.tx_bytes",
    "container.blockio.io_service_bytes_recursive",
)
_DEFAULT_CONTAINER_METRICS = (
    # On unless switched off; not wanted, or two spellings of what is above.
    "container.cpu.usage.kernelmode",
    "container.cpu.usage.usermode",
    "container.cpu.utilization",
    "container.memory.file",
    "container.memory.total_cache",
    "container.network.io.usage.rx_dropped",
    "container.network.io.usage.tx_dropped",
)


def server_tls() -> Node:
    """TLS of everything that the Collector serves; between our own parts 1.3 is the least."""
    return {"cert_file": LIVE_CERT, "key_file": LIVE_KEY, "min_version": "1.3", "reload_interval": "5m"}


def extensions() -> Node:
    """Health, the disk queue's storage, and who may do what."""
    return {
        "health_check": {"endpoint": f"0.0.0.0:{Port.COLLECTOR_HEALTH}", "path": "/", "tls": server_tls()},
        "file_storage/queue": {
            "directory": QUEUE_DIR,
            "create_directory": True,
            "timeout": "5s",
            # Without it a power failure can take back what was acknowledged.
            "fsync": True,
            "compaction": {
                "on_start": True,
                "on_rebound": True,
                "directory": QUEUE_DIR,
                "cleanup_on_start": True,
            },
        },
        "bearertokenauth/ingest": {"filename": f"{LIVE_DIR}/{TOKENS_FILE}"},
        "bearertokenauth/phoenix": {"filename": f"{CONFIG_DIR}/{ADMIN_SECRET_FILE}"},
        "basicauth/scrape": {"htpasswd": {"file": f"{CONFIG_DIR}/{SCRAPE_FILE}"}},
    }


def receivers() -> Node:
    """OTLP for applications, statistics from Docker, and nothing for the replicas that do not ask Docker."""
    guarded = {"tls": server_tls(), "auth": {"authenticator": "bearertokenauth/ingest"}, "include_metadata": True}
    return {
        "otlp": {
            "protocols": {
                "grpc": {
                    "endpoint": f"0.0.0.0:{Port.OTLP_GRPC}",
                    "max_recv_msg_size_mib": MAX_REQUEST_MIB,
                    "max_concurrent_streams": 100,
                    **guarded,
                    # Long-lived connections are closed now and then, so that they spread over the replicas.
                    "keepalive": {"server_parameters": {"max_connection_age": "10m", "max_connection_age_grace": "1m"}},
                },
                "http": {
                    "endpoint": f"0.0.0.0:{Port.OTLP_HTTP}",
                    "max_request_body_size": MAX_REQUEST_MIB * 1024 * 1024,
                    **guarded,
                },
            }
        },
        "nop": {},
        "docker_stats": {
            "endpoint": DOCKER_SOCKET,
            # Empty: agreed with the engine. The default is newer than some engines and will be older than others.
            "api_version": "",
            "collection_interval": "15s",
            "timeout": "10s",
            "container_labels_to_metric_labels": {Label.STACK: "stack", Label.SERVICE: "service"},
            "metrics": {
                **{name: {"enabled": True} for name in CONTAINER_METRICS},
                **{name: {"enabled": False} for name in _DEFAULT_CONTAINER_METRICS},
            },
        },
    }


def container_receiver() -> Expand:
    """The receiver of container statistics: Docker's on the first replica, none on the others."""
    return Expand(f"${{file:{CONFIG_DIR}/{REPLICA_DIR}/${{env:AGENTSTACK_REPLICA}}}}")


def replica_files(replicas: int) -> dict[str, str]:
    """Path below CONFIG_DIR -> content, one file per replica."""
    return {f"{REPLICA_DIR}/{replica}": "docker_stats" if replica == 1 else "nop" for replica in range(1, replicas + 1)}


def client_tls() -> Node:
    """TLS towards our own parts: verified against our CA, 1.3 at least."""
    return {"ca_file": TLS_CA, "min_version": "1.3"}
