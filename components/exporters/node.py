"""node_exporter: the host's processors, memory, disks and file systems; and the backup's figures from a text file.

It reads the host's /proc, /sys and the mount points of its file systems, all read-only and as nobody: what the host
shows to no ordinary user, it does not see. Only the collectors that the rules and dashboards use are on.
"""

from typing import Final

import pulumi

from components.context import Context
from components.contributions import ScrapeTarget
from components.names import CONFIG_DIR, TLS_CA, NetworkName, Port, Service
from components.runtime import Running
from components.trust import tls_files
from components.web_config import render_web_config
from components.workload import Attachment, ConfigFile, DataVolume, Health, HostPath, Workload

UID: Final = 65534
GID: Final = 65534
HOST: Final = "/host"
TEXTFILE_DIR: Final = "/textfile"
COLLECTORS: Final = (
    "cpu",
    "diskstats",
    "filefd",
    "filesystem",
    "loadavg",
    "meminfo",
    "pressure",
    "stat",
    "textfile",
    "time",
    "timex",
    "uname",
    "vmstat",
)
FILESYSTEMS_LEFT_OUT: Final = (
    "autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|efivarfs|fuse\\..*|fusectl|hugetlbfs|iso9660|mqueue|"
    "nsfs|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tmpfs|tracefs"
)
MOUNT_POINTS_LEFT_OUT: Final = (
    "/(dev|proc|run|sys|var/lib/docker/.+|var/lib/containers/.+|etc/(hosts|hostname|resolv.conf))($|/)"
)


def command() -> tuple[str, ...]:
    """The exporter's flags."""
    return (
        f"--web.listen-address=0.0.0.0:{Port.NODE_EXPORTER}",
        f"--web.config.file={CONFIG_DIR}/web.yml",
        f"--path.procfs={HOST}/proc",
        f"--path.sysfs={HOST}/sys",
        f"--path.rootfs={HOST}/root",
        "--collector.disable-defaults",
        *(f"--collector.{name}" for name in COLLECTORS),
        f"--collector.filesystem.fs-types-exclude=^({FILESYSTEMS_LEFT_OUT})$",
        f"--collector.filesystem.mount-points-exclude=^{MOUNT_POINTS_LEFT_OUT}",
        f"--collector.textfile.directory={TEXTFILE_DIR}",
        "--log.format=json",
    )


class NodeExporter(pulumi.ComponentResource):
    """Metrics of the host. ``textfile`` is for whoever has figures but no port of its own."""

    textfile: DataVolume
    """Mount it and write ``<name>.prom`` (a draft first, then rename it)."""
    running: Running
    scrape_targets: tuple[ScrapeTarget, ...]

    def __init__(self, name: str, context: Context, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("agentstack:observability:NodeExporter", name, {}, opts)
        self.textfile = DataVolume(name="textfile", target=TEXTFILE_DIR, mode="1777", shared=True)
        username = context.scrape.username
        web_config = context.scrape.bcrypt_hash.apply(lambda bcrypt: render_web_config({username: bcrypt}))
        self.running = context.runtime.run(
            Workload(
                service=Service.NODE_EXPORTER,
                image=context.images["node-exporter"],
                resources=context.settings.node_exporter.resources(),
                networks=(Attachment(NetworkName.MONITORING),),
                uid=UID,
                gid=GID,
                command=command(),
                env={"GOMEMLIMIT": f"{context.settings.node_exporter.memory_mib * 9 // 10}MiB"},
                files={
                    **tls_files(context.ca, context.ca.leaf(Service.NODE_EXPORTER, parent=self)),
                    "web.yml": ConfigFile(web_config),
                },
                volumes=(DataVolume(name="textfile", target=TEXTFILE_DIR, mode="1777", read_only=True),),
                host_paths=(
                    HostPath("/proc", f"{HOST}/proc"),
                    HostPath("/sys", f"{HOST}/sys"),
                    HostPath("/", f"{HOST}/root"),
                ),
                exceptions={
                    "host-path": "the host's figures are read from its /proc and /sys, the free space of its file "
                    "systems "
                    "at their mount points; all read-only, as nobody"
                },
                # Unauthorized is an answer of the exporter over verified TLS, and needs no password in here.
                health=Health(
                    probe=(
                        "http",
                        "--url",
                        f"https://localhost:{Port.NODE_EXPORTER}/",
                        "--ca",
                        TLS_CA,
                        "--status",
                        "401",
                    ),
                ),
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.scrape_targets = (ScrapeTarget(job="node", service=Service.NODE_EXPORTER, port=Port.NODE_EXPORTER),)
        self.register_outputs({})


__all__ = ["NodeExporter"]
