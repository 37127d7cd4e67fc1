"""How an edge takes up its live files: HAProxy's master starts a new worker, the old one ends when it is idle.

The signal comes from inside the container, by the container's own user. Never by `docker kill`: that disarms the
restart policy, and a container that crashes later would stay down. The health check's probe does it by itself when
the live files have changed for two probes in a row; the command is for an operator who does not want to wait.
"""

from typing import Final

PID_FILE: Final = "/dev/shm/haproxy.pid"  # noqa: S108 - the one place that a container with a read-only root can write
"""HAProxy's master writes its process id here (in master-worker mode, its own alone)."""

RELOAD_COMMAND: Final = ("/bin/sh", "-c", f'kill -USR2 "$(cat {PID_FILE})"')
"""For `docker exec <container> ...`: works in Debian's and Alpine's image (kill is a builtin of both shells)."""
