"""A proxy to the Docker socket that passes only the reads which container metrics need.

It has no network at all: it serves a UNIX socket in a volume, which the collector mounts. No other container gets
near the Docker socket. Its configuration stands in ``docker_proxy.cfg``.
"""

from pathlib import Path
from typing import Final

import pulumi

from components.context import Context
from components.names import CONFIG_DIR, Port, Service
from components.runtime import Running
from components.workload import ConfigFile, DataVolume, Health, HostPath, Workload

SOCKET_DIR: Final = "/run/docker-proxy"
ENDPOINT: Final = f"unix://{SOCKET_DIR}/docker.sock"
"""What a Docker client in the collector connects to."""

_VOLUME: Final = "docker-proxy-socket"
_ENGINE_SOCKET: Final = "/var/run/docker.sock"


def config() -> str:
    """haproxy.cfg of the proxy."""
    return (Path(__file__).parent / "docker_proxy.cfg").read_text()


class DockerProxy(pulumi.ComponentResource):
    """The proxy; ``volume`` is what the collector mounts, ``endpoint`` what it connects to."""

    running: Running
    volume: DataVolume
    endpoint: str

    def __init__(self, name: str, context: Context, *, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("agentstack:observability:DockerProxy", name, {}, opts)
        self.volume = DataVolume(name=_VOLUME, target=SOCKET_DIR, shared=True)
        self.endpoint = ENDPOINT
        workload = Workload(
            service=Service.DOCKER_PROXY,
            image=context.images["haproxy"],
            resources=context.settings.docker_proxy.resources(),
            networks=(),
            uid=0,
            gid=0,
            health=Health(
                probe=("http", "--url", f"http://127.0.0.1:{Port.EDGE_HEALTH}/live"),
                interval_seconds=5,
                start_period_seconds=15,
            ),
            entrypoint=("haproxy",),
            # Without a capability root can't enter the image's working directory, which belongs to its own user.
            command=("-W", "-db", "-C", "/", "-f", f"{CONFIG_DIR}/haproxy.cfg"),
            files={"haproxy.cfg": ConfigFile(config())},
            # The collector's user passes through the directory, and only the proxy writes in it.
            volumes=(DataVolume(name=_VOLUME, target=SOCKET_DIR, mode="0755"),),
            host_paths=(HostPath(_ENGINE_SOCKET, _ENGINE_SOCKET),),
            # The image's own directory is closed to a root without capabilities.
            working_dir="/",
            stop_signal="SIGUSR1",
            stop_grace_seconds=10,
            exceptions={
                "root": "the Docker socket belongs to root; it has no capability and no network",
                "host-path": "the Docker socket",
                "docker-socket": "passes the reads that container metrics need, and refuses everything else",
            },
        )
        self.running = context.runtime.run(workload, pulumi.ResourceOptions(parent=self))
        self.register_outputs({"containers": list(self.running.names)})
