"""Turns a Workload into Docker containers. The only module that knows ``docker.Container``.

What runs is always what was declared: a workload's files go into a volume named by the hash of their contents,
because Docker refuses uploads into a container with a read-only root. A carrier container, which never starts,
holds the uploads; the service mounts the volume read-only. A changed file means a new volume and carrier, then a
replaced service, then the old ones go: the service is down only for its own restart.

Spellings here are those that keep a refresh clean: "0.5", "1.0", "1m0s", ``CAP_`` names, memory with memory_swap,
both ulimits, no platform.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import pulumi
import pulumi_docker as docker

from components.engine import Engine, wait_until_healthy
from components.names import (
    ALIASES,
    CONFIG_DIR,
    LIVE_DIR,
    PROBE,
    PROBE_DIR,
    Label,
    NetworkName,
    Role,
    Service,
    docker_name,
    replica_name,
)
from components.networks import Networks
from components.workload import Attachment, ConfigFile, DataVolume, Health, Job, Workload

CREATE_TIMEOUT: Final = "15m"
LOG_OPTIONS: Final = {"max-size": "10m", "max-file": "3"}
SERVICE_NETWORKS: Final = frozenset({NetworkName.PHOENIX, NetworkName.MONITORING})
"""Where a service answers to its own names; elsewhere only to the aliases that it asks for."""
JOB_NOFILE: Final = 4096
NO_PRIVILEGE_GAIN: Final = "no-new-privileges=true"


@dataclass(frozen=True)
class Running:
    """What became of a workload: its containers (for ``start_after``) and their names on the engine."""

    service: Service
    containers: tuple[pulumi.Resource, ...]
    names: tuple[str, ...]


class Runtime(Protocol):
    """Runs workloads and jobs."""

    def run(self, workload: Workload, opts: pulumi.ResourceOptions) -> Running:
        """Run a service, all its replicas."""
        ...

    def run_job(self, job: Job, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        """Run a one-shot to its end; what starts after the returned resource finds it done."""
        ...


def go_duration(seconds: int) -> str:
    """Seconds as Docker reads them back: ``10s``, ``1m0s``, ``1m30s``."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def probe_command(health: Health) -> list[str]:
    """The health check of a workload: the probe, its counting of failures, and the watch on live files."""
    mode, *arguments = health.probe
    common: list[str] = []
    if health.restart_after:
        common += ["--restart-after", str(health.restart_after), "--grace", f"{health.start_period_seconds}s"]
    if health.reload_signal:
        common += ["--reload-dir", LIVE_DIR, "--reload-signal", health.reload_signal]
    if health.reload_keeps:
        keeps = health.reload_keeps
        common += ["--reload-socket", keeps.socket, "--reload-ask", keeps.ask, "--reload-answer", keeps.answer]
    return ["CMD", PROBE, mode, *common, *arguments]


def _ulimits(nofile: int) -> list[docker.ContainerUlimitArgs]:
    """Both always: one alone makes the engine add its own default of the other, which a refresh shows as drift."""
    return [
        docker.ContainerUlimitArgs(name="nofile", soft=nofile, hard=nofile),
        docker.ContainerUlimitArgs(name="core", soft=0, hard=0),
    ]


def content_hash(files: Mapping[str, str], modes: Mapping[str, str], owner: str) -> str:
    """The name part of a configuration volume: 16 hex digits over paths, modes, owner (and carrier image) and contents.

    Raises:
        ValueError: for an empty file, which Docker's uploads can't carry.
    """
    empty = sorted(path for path, text in files.items() if not text)
    if empty:
        raise ValueError(f"empty configuration files can't be carried into a volume: {', '.join(empty)}")
    canonical = json.dumps([owner, sorted((path, modes[path], text) for path, text in files.items())])
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class ContainerRuntime(pulumi.ComponentResource):
    """The runtime for one Docker engine."""

    def __init__(
        self,
        name: str,
        *,
        stack: str,
        bind_address: str,
        networks: Networks,
        probe_image: pulumi.Input[str],
        toolbox_image: pulumi.Input[str],
        engine: Engine,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Args:
        probe_image: the image whose /probe fills the probe volume; carriers are made from it too.
        toolbox_image: an image with a shell and chown, for the one-shots that give a volume to its user.
        engine: the look at the engine before this `up`: its one-shots and what is not healthy.
        """
        super().__init__("agentstack:observability:ContainerRuntime", name, {}, opts)
        self._stack = stack
        self._bind_address = bind_address
        self._networks = networks
        self._toolbox_image = toolbox_image
        self._probe_image = probe_image
        self._engine = engine
        self._data: dict[str, tuple[docker.Volume, pulumi.Resource]] = {}
        self._probe = self._probe_volume()

    # ---- names and labels

    def _docker_name(self, name: str) -> str:
        return docker_name(self._stack, name)

    def _label_values(self, service: str, role: Role, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        return {Label.STACK: self._stack, Label.SERVICE: service, Label.ROLE: role.value, **(extra or {})}

    def _container_labels(
        self, service: str, role: Role, extra: Mapping[str, str] | None = None
    ) -> list[docker.ContainerLabelArgs]:
        values = self._label_values(service, role, extra)
        return [docker.ContainerLabelArgs(label=key, value=value) for key, value in sorted(values.items())]

    def _volume_labels(self, service: str, role: Role) -> list[docker.VolumeLabelArgs]:
        return [
            docker.VolumeLabelArgs(label=key, value=value)
            for key, value in sorted(self._label_values(service, role).items())
        ]

    # ---- volumes

    def _probe_volume(self) -> docker.Volume:
        """The probe's binary: Docker copies an image's content into an empty volume when a container is made."""
        suffix = pulumi.Output.from_input(self._probe_image).apply(
            lambda reference: hashlib.sha256(reference.encode()).hexdigest()[:16]
        )
        name = pulumi.Output.concat(self._docker_name("probe-"), suffix)
        create_first = pulumi.ResourceOptions(parent=self, delete_before_replace=False)
        volume = docker.Volume("probe", name=name, labels=self._volume_labels("probe", Role.PROBE), opts=create_first)
        self._probe_carrier = docker.Container(
            "probe",
            name=name,
            image=self._probe_image,
            start=False,
            must_run=False,
            network_mode="none",
            mounts=[docker.ContainerMountArgs(type="volume", source=volume.name, target=PROBE_DIR, read_only=False)],
            labels=self._container_labels("probe", Role.PROBE),
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=False, replace_on_changes=["mounts"]),
        )
        return volume

    def _carrier(
        self, service: str, files: Mapping[str, ConfigFile], uid: int, gid: int, role: Role, parent: pulumi.Resource
    ) -> tuple[docker.Volume, pulumi.Resource]:
        """A volume that holds ``files``, and the container that carried them there."""
        target = LIVE_DIR if role is Role.LIVE else CONFIG_DIR
        contents = pulumi.Output.all(**{path: file.content for path, file in files.items()})
        modes = {path: file.mode for path, file in files.items()}
        # The hash of contents that hold long random secrets tells nothing about them: it may be seen.
        digest = pulumi.Output.unsecret(
            pulumi.Output.all(contents, self._probe_image).apply(
                lambda both: content_hash(both[0], modes, f"{uid}:{gid} {both[1]}")
            )
        )
        hashed_name = pulumi.Output.concat(self._docker_name(f"{service}-{role.value}-"), digest)
        volume = docker.Volume(
            f"{service}-{role.value}",
            name=self._docker_name(f"{service}-{role.value}") if role is Role.LIVE else hashed_name,
            labels=self._volume_labels(service, role),
            opts=pulumi.ResourceOptions(parent=parent, delete_before_replace=False),
        )
        carrier = docker.Container(
            f"{service}-{role.value}",
            name=hashed_name,
            image=self._probe_image,
            start=False,
            must_run=False,
            network_mode="none",
            mounts=[docker.ContainerMountArgs(type="volume", source=volume.name, target=target, read_only=False)],
            uploads=[
                docker.ContainerUploadArgs(
                    file=f"{target}/{path}",
                    content=file.content,
                    permissions=file.mode,
                    owner=str(uid),
                    group=str(gid),
                )
                for path, file in sorted(files.items())
            ],
            labels=self._container_labels(service, role),
            opts=pulumi.ResourceOptions(parent=parent, delete_before_replace=False, replace_on_changes=["mounts"]),
        )
        return volume, carrier

    def _data_volume(self, volume: DataVolume, service: str, replica: int, uid: int, gid: int) -> docker.Volume:
        """A data volume, made and given to its user once; replicas have one each."""
        name = volume.name if replica == 1 or volume.shared else f"{volume.name}-{replica}"
        if name not in self._data:
            if volume.shared:
                raise ValueError(f"{service}: volume {name!r} is shared but no workload declared it before")
            made = docker.Volume(
                f"{name}-data",
                name=self._docker_name(name),
                labels=self._volume_labels(service, Role.DATA),
                opts=pulumi.ResourceOptions(parent=self, protect=True),
            )
            target = "/volume"
            # Docker makes a volume 0:0 0755. With CHOWN alone, root may change the mode only of what it owns.
            script = f"chown 0:0 {target} && chmod {volume.mode} {target} && chown {uid}:{gid} {target}"
            init = docker.Container(
                f"{name}-init",
                name=self._docker_name(f"{name}-init"),
                image=self._toolbox_image,
                entrypoints=["/bin/sh", "-c"],
                command=[script],
                attach=True,
                must_run=False,
                network_mode="none",
                user="0:0",
                read_only=True,
                capabilities=docker.ContainerCapabilitiesArgs(adds=["CAP_CHOWN"], drops=["ALL"]),
                security_opts=[NO_PRIVILEGE_GAIN],
                memory=64,
                memory_swap=64,
                log_driver="json-file",
                log_opts=LOG_OPTIONS,
                mounts=[docker.ContainerMountArgs(type="volume", source=made.name, target=target, read_only=False)],
                labels=self._container_labels(service, Role.INIT, self._attempt(f"{name}-init")),
                opts=pulumi.ResourceOptions(
                    parent=self,
                    delete_before_replace=True,
                    replace_on_changes=["mounts"],
                    custom_timeouts=pulumi.CustomTimeouts(create=CREATE_TIMEOUT),
                ),
            )
            self._check_exit(init, f"{name}-init")
            self._data[name] = (made, init)
        return self._data[name][0]

    def _attempt(self, name: str) -> dict[str, str]:
        """A one-shot that failed is tried again: its label then differs, and a changed label replaces it."""
        state = self._engine.jobs.get(self._docker_name(name))
        attempt = 1 if state is None else state.attempt + (0 if state.succeeded else 1)
        return {Label.ATTEMPT: str(attempt)}

    def _check_exit(self, container: docker.Container, name: str) -> None:
        full = self._docker_name(name)

        def check(code: int | None) -> int:
            if code:
                raise RuntimeError(
                    f"the one-shot {full} ended with exit code {code}: read `docker logs {full}`, mend the cause and "
                    "run `up` again (it is tried again)"
                )
            return 0

        container.exit_code.apply(check)

    # ---- services

    def _networks_of(
        self, attachments: Sequence[Attachment], service: str, replica: int, own_name: bool
    ) -> list[docker.ContainerNetworksAdvancedArgs] | None:
        joined = []
        for attachment in attachments:
            aliases = list(attachment.aliases)
            if own_name and attachment.network in SERVICE_NETWORKS:
                own = [service, *ALIASES.get(Service(service), ())]
                aliases = [*own, *aliases, *([replica_name(service, replica)] if replica > 1 else [])]
            joined.append(
                docker.ContainerNetworksAdvancedArgs(
                    name=self._networks[attachment.network].name, aliases=list(dict.fromkeys(aliases)) or None
                )
            )
        return joined or None

    def run(self, workload: Workload, opts: pulumi.ResourceOptions) -> Running:
        """Run a service, all its replicas."""
        parent = opts.parent or self
        service = workload.service.value
        mounts = [self._mount(self._probe.name, PROBE_DIR)]
        depends: list[pulumi.Resource] = [self._probe_carrier, *workload.start_after]
        if workload.files:
            volume, carrier = self._carrier(service, workload.files, workload.uid, workload.gid, Role.CONFIG, parent)
            mounts.append(self._mount(volume.name, CONFIG_DIR))
            depends.append(carrier)
        if workload.live_files:
            volume, carrier = self._carrier(service, workload.live_files, workload.uid, workload.gid, Role.LIVE, parent)
            mounts.append(self._mount(volume.name, LIVE_DIR))
            depends.append(carrier)
        containers = [
            self._service(workload, replica, mounts, depends, opts) for replica in range(1, workload.replicas + 1)
        ]
        names = tuple(self._docker_name(replica_name(service, r)) for r in range(1, workload.replicas + 1))
        return Running(workload.service, tuple(containers), names)

    @staticmethod
    def _mount(source: pulumi.Input[str], target: str, read_only: bool = True) -> docker.ContainerMountArgs:
        return docker.ContainerMountArgs(type="volume", source=source, target=target, read_only=read_only)

    def _service(
        self,
        workload: Workload,
        replica: int,
        shared_mounts: Sequence[docker.ContainerMountArgs],
        depends: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions,
    ) -> docker.Container:
        service = workload.service.value
        mounts = list(shared_mounts)
        waits = list(depends)
        for volume in workload.volumes:
            data = self._data_volume(volume, service, replica, workload.uid, workload.gid)
            mounts.append(self._mount(data.name, volume.target, volume.read_only))
            waits.append(next(init for made, init in self._data.values() if made is data))
        mounts.extend(
            docker.ContainerMountArgs(type="bind", source=path.source, target=path.target, read_only=path.read_only)
            for path in workload.host_paths
        )
        networks = self._networks_of(workload.networks, service, replica, own_name=True)
        resources = workload.resources
        health = workload.health
        container = docker.Container(
            replica_name(service, replica),
            name=self._docker_name(replica_name(service, replica)),
            hostname=replica_name(service, replica) if networks else None,
            image=workload.image,
            entrypoints=list(workload.entrypoint) if workload.entrypoint is not None else None,
            command=list(workload.command) or None,
            envs=[
                pulumi.Output.concat(key, "=", value)
                for key, value in sorted({**workload.env, "AGENTSTACK_REPLICA": str(replica)}.items())
            ],
            user=f"{workload.uid}:{workload.gid}",
            init=workload.init,
            working_dir=workload.working_dir,
            read_only="writable-root" not in workload.exceptions,
            capabilities=docker.ContainerCapabilitiesArgs(adds=sorted(workload.capabilities) or None, drops=["ALL"]),
            security_opts=[NO_PRIVILEGE_GAIN],
            pid_mode="host" if workload.host_pid else None,
            network_mode=None if networks else "none",
            networks_advanced=networks,
            ports=[
                docker.ContainerPortArgs(
                    internal=port.container, external=port.host, ip=self._bind_address, protocol="tcp"
                )
                for port in workload.ports
            ]
            or None,
            mounts=mounts,
            tmpfs={
                target: f"rw,noexec,nosuid,nodev,size={size}m,mode=1777"
                for target, size in sorted(workload.tmpfs.items())
            }
            or None,
            shm_size=workload.shm_mib,
            memory=resources.memory_mib,
            memory_swap=resources.memory_mib,
            memory_reservation=resources.memory_reserved_mib or None,
            cpus=str(float(resources.cpus)),
            cpu_shares=round(1024 * resources.cpus_reserved) or None,
            ulimits=_ulimits(workload.nofile),
            log_driver="json-file",
            log_opts=LOG_OPTIONS,
            restart="unless-stopped",
            stop_signal=workload.stop_signal,
            stop_timeout=workload.stop_grace_seconds,
            destroy_grace_seconds=workload.stop_grace_seconds,
            healthcheck=None
            if health is None
            else docker.ContainerHealthcheckArgs(
                tests=probe_command(health),
                interval=go_duration(health.interval_seconds),
                timeout=go_duration(health.timeout_seconds),
                start_period=go_duration(health.start_period_seconds),
                retries=health.retries,
            ),
            wait=health is not None,
            wait_timeout=health.wait_timeout_seconds if health else None,
            must_run=True,
            labels=self._container_labels(service, Role.SERVICE, {Label.REPLICA: str(replica)}),
            opts=pulumi.ResourceOptions.merge(
                opts,
                pulumi.ResourceOptions(
                    delete_before_replace=True,
                    # The provider updates these two in its state only: a real change needs a new container.
                    replace_on_changes=["mounts", "healthcheck"],
                    depends_on=waits,
                    custom_timeouts=pulumi.CustomTimeouts(create=CREATE_TIMEOUT, delete="5m"),
                ),
            ),
        )
        full = self._docker_name(replica_name(service, replica))
        if health is not None and full in self._engine.unwell and not pulumi.runtime.is_dry_run():
            self._check_health(container, full, health)
        return container

    @staticmethod
    def _check_health(container: docker.Container, name: str, health: Health) -> pulumi.Output[None]:
        """What was not healthy before this `up` must be so after it.

        The provider waits for a container's health only when it makes one: it takes a container that never became
        healthy for made, and the next `up` would bless it by an update in place.
        """

        def check(_: str) -> Awaitable[None]:
            return asyncio.to_thread(wait_until_healthy, name, health.wait_timeout_seconds)

        return container.id.apply(check)

    # ---- one-shots

    def run_job(self, job: Job, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        """Run a one-shot to its end."""
        parent = opts.parent or self
        mounts = []
        waits: list[pulumi.Resource] = list(job.start_after)
        if job.files:
            volume, carrier = self._carrier(job.name, job.files, job.uid, job.gid, Role.CONFIG, parent)
            mounts.append(self._mount(volume.name, CONFIG_DIR))
            waits.append(carrier)
        for volume_spec in job.volumes:
            data = self._data_volume(volume_spec, job.service.value, 1, job.uid, job.gid)
            mounts.append(self._mount(data.name, volume_spec.target, volume_spec.read_only))
            waits.append(next(init for made, init in self._data.values() if made is data))
        networks = self._networks_of(job.networks, job.service.value, 1, own_name=False)
        container = docker.Container(
            job.name,
            name=self._docker_name(job.name),
            image=job.image,
            entrypoints=list(job.entrypoint) if job.entrypoint is not None else None,
            command=list(job.command),
            envs=[pulumi.Output.concat(key, "=", value) for key, value in sorted(job.env.items())] or None,
            user=f"{job.uid}:{job.gid}",
            init=True,
            attach=True,
            must_run=False,
            read_only=True,
            capabilities=docker.ContainerCapabilitiesArgs(drops=["ALL"]),
            security_opts=[NO_PRIVILEGE_GAIN],
            network_mode=None if networks else "none",
            networks_advanced=networks,
            mounts=mounts or None,
            tmpfs={
                target: f"rw,noexec,nosuid,nodev,size={size}m,mode=1777" for target, size in sorted(job.tmpfs.items())
            }
            or None,
            memory=job.memory_mib,
            memory_swap=job.memory_mib,
            cpus=str(float(job.cpus)),
            ulimits=_ulimits(JOB_NOFILE),
            log_driver="json-file",
            log_opts=LOG_OPTIONS,
            labels=self._container_labels(job.service.value, Role.JOB, self._attempt(job.name)),
            opts=pulumi.ResourceOptions.merge(
                opts,
                pulumi.ResourceOptions(
                    delete_before_replace=True,
                    replace_on_changes=["mounts"],
                    depends_on=waits,
                    custom_timeouts=pulumi.CustomTimeouts(create=CREATE_TIMEOUT),
                ),
            ),
        )
        self._check_exit(container, job.name)
        return container
