"""How an edge takes up its live files: HAProxy's master starts a new worker, the old one ends when it is idle.

The signal comes from inside the container, by the container's own user. Never by `docker kill`: that disarms the
restart policy, and a container that crashes later would stay down. The health check's probe does it by itself when
the live files have changed for two probes in a row.

A new worker knows no address before Docker's resolver has answered, and would refuse (503) what arrives until then:
so it finds the addresses and the health of its servers where the probe has just kept those of the old one.
"""

from typing import Final

from components.workload import ReloadKeeps

SOCKET: Final = "/dev/shm/haproxy.sock"  # noqa: S108 - the one place that a container with a read-only root can write
SERVERS_FILE: Final = "/dev/shm/haproxy.servers"  # noqa: S108

KEEPS: Final = ReloadKeeps(socket=SOCKET, ask="show servers state", answer=SERVERS_FILE)
