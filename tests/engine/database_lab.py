"""Runs the database's workloads, as the components declare them, on the real engine without Pulumi.

`describe` records what a composition of components asks of the runtime, with real certificates and fixed passwords;
`Lab` gives each of them the same hardening as the runtime does, under names of its own, and takes all away again.
"""

import asyncio
import contextlib
import datetime as dt
import io
import ipaddress
import json
import secrets
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import bcrypt
import pulumi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from components.context import Context, Images
from components.contributions import ScrapeCredential
from components.names import CONFIG_DIR, PROBE_DIR
from components.runtime import Running, probe_command
from components.secrets import Password
from components.settings import Settings
from components.trust import Leaf, dns_names
from components.workload import ConfigFile, DataVolume, Job, Workload

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / ".agentstack" / "images.json"
SCRAPE_PASSWORD = "scrape-password"


class Authority:
    """A certificate authority like the stack's, made anew for each lab."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"database lab {secrets.token_hex(4)}")])
        self._certificate = self._sign(self._name, self._key, [], authority=True)
        self.certificate_pem = pulumi.Output.from_input(self.pem)

    @property
    def pem(self) -> str:
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, names: Sequence[x509.GeneralName], *, authority: bool
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def plain_leaf(self, service: str, names: Sequence[str] = (), addresses: Sequence[str] = ()) -> tuple[str, str]:
        """Certificate and private key of a service, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in dns_names(service, names)]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in ["127.0.0.1", *addresses]]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, service)])
        certificate = self._sign(subject, key, alternatives, authority=False)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode(), pem.decode()

    def leaf(
        self,
        service: str,
        names: Sequence[str] = (),
        addresses: Sequence[str] = (),
        client: bool = False,
        parent: pulumi.Resource | None = None,
    ) -> Leaf:
        certificate, key = self.plain_leaf(service, names, addresses)
        return Leaf(certificate_pem=pulumi.Output.from_input(certificate), key_pem=pulumi.Output.secret(key))


class FixedSecrets:
    """``password("x")`` is "x-password" (or what ``overrides`` says)."""

    def __init__(self, overrides: Mapping[str, str] | None = None) -> None:
        self._overrides = overrides or {}
        self.passwords: dict[str, Password] = {}

    def password(self, name: str, length: int = 40, **_: bool) -> Password:
        value = pulumi.Output.secret(self._overrides.get(name, f"{name}-password"))
        made = Password(value=value, bcrypt=pulumi.Output.secret("-"), sha256=pulumi.Output.secret("-"))
        return self.passwords.setdefault(name, made)


class BuiltImages:
    """The local builds, by key."""

    def __getitem__(self, name: str) -> str:
        built = json.loads(BUILT.read_text()) if BUILT.is_file() else {}
        if name not in built:
            raise RuntimeError(f"the image {name} is not built: run `make images`")
        return str(built[name]["id"])

    @property
    def stand_ins(self) -> list[str]:
        return []

    def is_stand_in(self, name: str) -> bool:
        return False


class FakeImages:
    """References for tests that run nothing."""

    def __getitem__(self, name: str) -> str:
        return f"image-{name}"

    @property
    def stand_ins(self) -> list[str]:
        return []

    def is_stand_in(self, name: str) -> bool:
        return False


@dataclass
class Recorder:
    """A runtime that notes what it is asked for."""

    described: dict[str, Workload | Job] = field(default_factory=dict)

    def run(self, workload: Workload, opts: pulumi.ResourceOptions) -> Running:
        self.described[workload.service.value] = workload
        return Running(service=workload.service, containers=(), names=(workload.service.value,))

    def run_job(self, job: Job, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        self.described[job.name] = job
        return pulumi.ComponentResource("agentstack:test:Job", job.name)


class _Mocks(pulumi.runtime.Mocks):
    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        return args.name, dict(args.inputs)

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        return {}, None


class _Monitor(pulumi.runtime.mocks.MockMonitor):
    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the monitor's own spelling
        try:
            return super().RegisterResource(request)  # type: ignore[no-untyped-call]
        finally:
            # The mocks give each of their worker threads an event loop and never close it.
            if threading.current_thread() is not threading.main_thread():
                with contextlib.suppress(RuntimeError):
                    asyncio.get_event_loop().close()
                asyncio.set_event_loop(None)


def describe(
    build: Callable[[Context], None],
    *,
    settings: Settings | None = None,
    authority: Authority | None = None,
    passwords: Mapping[str, str] | None = None,
    images: Images | None = None,
) -> dict[str, Any]:
    """What ``build`` asks the runtime for, by service or job name, with every file's content as plain text."""
    recorder = Recorder()
    plain: dict[str, Any] = {}
    # A loop of its own: what ran before may have closed the thread's, or left none.
    # (Asking the policy in public would make one where there is none.)
    local = getattr(asyncio.get_event_loop_policy(), "_local", None)
    previous = getattr(local, "_loop", None)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    pulumi.runtime.set_mocks(_Mocks(), project="agentstack", stack="lab", monitor=_Monitor(_Mocks()))

    def program() -> pulumi.Output[None]:
        context = Context(
            stack="lab",
            settings=settings or Settings(),
            runtime=recorder,
            ca=cast("Any", authority or Authority()),
            secrets=cast("Any", FixedSecrets(passwords)),
            images=images or FakeImages(),
            scrape=ScrapeCredential(
                username="prometheus",
                password=pulumi.Output.secret(SCRAPE_PASSWORD),
                bcrypt_hash=pulumi.Output.secret(bcrypt.hashpw(SCRAPE_PASSWORD.encode(), bcrypt.gensalt(4)).decode()),
            ),
        )
        build(context)
        contents = {
            name: pulumi.Output.all(**{path: file.content for path, file in item.files.items()})
            for name, item in recorder.described.items()
        }

        def keep(files: dict[str, dict[str, str]]) -> None:
            for name, item in recorder.described.items():
                texts = {path: replace(file, content=files[name][path]) for path, file in item.files.items()}
                plain[name] = replace(item, files=texts)

        return pulumi.Output.all(**contents).apply(keep)

    try:
        pulumi.runtime.test(program)()  # type: ignore[no-untyped-call]
    finally:
        loop.close()
        asyncio.set_event_loop(previous)
    return plain


def docker(*words: str, check: bool = True, stdin: bytes | None = None) -> str:
    """Run the docker command; its output, stderr included.

    Raises:
        RuntimeError: with what it said, when it fails and ``check`` is set.
    """
    done = subprocess.run(
        ["docker", *words], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=300
    )
    text = done.stdout.decode(errors="replace").strip()
    if check and done.returncode != 0:
        raise RuntimeError(f"docker {' '.join(words[:6])}: exit {done.returncode}\n{text}")
    return text


def eventually(question: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Ask until the answer is yes.

    Raises:
        AssertionError: when the deadline has passed.
    """
    deadline = time.monotonic() + seconds
    while not question():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.2)


class Lab:
    """One internal network, and the containers and volumes of one test; everything goes with `close`."""

    def __init__(self, prefix: str) -> None:
        self.name = f"{prefix}-{secrets.token_hex(3)}"
        self.images = BuiltImages()
        self._volumes: set[str] = set()
        self._owned: set[str] = set()
        self._containers: set[str] = set()
        # Of its own choice: what the engine hands out may be one of the stack's defaults.
        self.subnet = f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(250)}.0/24"
        label = ["--label", "io.agentstack.test=1"]
        docker("network", "create", "--internal", "--subnet", self.subnet, *label, self.name)
        self._probe = self.volume("probe")
        self.carry(self._probe, PROBE_DIR, {}, "0:0")

    def container(self, name: str) -> str:
        return f"{self.name}-{name}"

    def volume(self, name: str, *options: str) -> str:
        """A volume of this lab, made at its first use; options are Docker's (``type=tmpfs``)."""
        full = f"{self.name}-{name}"
        if full not in self._volumes:
            words = [word for option in options for word in ("--opt", option)]
            docker("volume", "create", "--label", "io.agentstack.test=1", *words, full)
            self._volumes.add(full)
        return full

    def own(self, container: str) -> None:
        """Remove this container too at the end."""
        self._containers.add(container)

    def carry(
        self,
        volume: str,
        target: str,
        files: Mapping[str, ConfigFile],
        owner: str,
        programs: Mapping[str, Path] | None = None,
    ) -> None:
        """Fill a volume as the runtime's carrier does: a container that never starts."""
        carrier = docker("create", "-v", f"{volume}:{target}", self.images["probe"]).splitlines()[-1]
        uid, gid = (int(part) for part in owner.split(":"))
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path, file in files.items():
                content = str(file.content).encode()
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode, entry.uid, entry.gid = len(content), int(file.mode, 8), uid, gid
                tar.addfile(entry, io.BytesIO(content))
        if files:
            docker("cp", "-", f"{carrier}:{target}", stdin=archive.getvalue())
        for name, program in (programs or {}).items():
            docker("cp", str(program), f"{carrier}:{target}/{name}")
        docker("rm", carrier)

    def _mounts(self, item: Workload | Job, owner: str) -> list[str]:
        config = self.volume(f"config-{secrets.token_hex(3)}")
        self.carry(config, CONFIG_DIR, item.files, owner)
        words = ["-v", f"{self._probe}:{PROBE_DIR}:ro", "-v", f"{config}:{CONFIG_DIR}:ro"]
        for wanted in item.volumes:
            words += ["-v", f"{self._data(wanted, owner)}:{wanted.target}{':ro' if wanted.read_only else ''}"]
        for target, size in item.tmpfs.items():
            words += ["--tmpfs", f"{target}:rw,noexec,nosuid,nodev,size={size}m,mode=1777"]
        return words

    def _data(self, wanted: DataVolume, owner: str) -> str:
        name = self.volume(wanted.name)
        if name not in self._owned:
            self._owned.add(name)
            script = f"chmod {wanted.mode} /volume && chown {owner} /volume"
            toolbox = ["--entrypoint", "/bin/sh", "-u", "0:0", self.images["postgres"], "-c", script]
            docker("run", "--rm", "-v", f"{name}:/volume", *toolbox)
        return name

    def _command(self, item: Workload | Job, owner: str) -> list[str]:
        words = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--init", "--user", owner]
        for key, value in item.env.items():
            words += ["-e", f"{key}={value}"]
        words += self._mounts(item, owner)
        networks = item.networks
        words += ["--network", self.name if networks else "none"]
        entrypoint = list(item.entrypoint or [])
        if entrypoint:
            words += ["--entrypoint", entrypoint[0]]
        return [*words, str(item.image), *entrypoint[1:], *[str(word) for word in item.command]]

    def run(self, item: Workload) -> str:
        """Start a service; its container's name. It is waited for until it is healthy."""
        name = self.container(item.service.value)
        docker("rm", "-f", name, check=False)
        health = item.health
        words = ["run", "-d", "--name", name, "--network-alias", item.service.value, "--hostname", item.service.value]
        words += ["--stop-signal", item.stop_signal, "--shm-size", f"{item.shm_mib}m"]
        words += ["--memory", f"{item.resources.memory_mib}m", "--memory-swap", f"{item.resources.memory_mib}m"]
        words += ["--ulimit", f"nofile={item.nofile}:{item.nofile}"]
        if health:
            test = " ".join(_shell_word(word) for word in probe_command(health)[1:])
            words += ["--health-cmd", f"exec {test}", "--health-interval", "2s", "--health-timeout", "6s"]
            words += ["--health-retries", str(health.retries), "--health-start-period", "60s"]
        self._containers.add(name)
        docker(*words, *self._command(item, f"{item.uid}:{item.gid}"))
        self.await_healthy(name)
        return name

    def await_healthy(self, name: str, seconds: float = 60) -> None:
        def healthy() -> bool:
            return docker("inspect", "-f", "{{.State.Health.Status}}", name) == "healthy"

        try:
            eventually(healthy, f"{name} is healthy", seconds)
        except AssertionError as error:
            log = docker("inspect", "-f", "{{json .State.Health.Log}}", name)
            raise AssertionError(f"{error}\n{log[-800:]}\n{docker('logs', '--tail', '30', name)}") from None

    def run_job(self, job: Job) -> str:
        """Run a one-shot to its end; what it said.

        Raises:
            RuntimeError: when it fails.
        """
        return docker("run", "--rm", "--memory", f"{job.memory_mib}m", *self._command(job, f"{job.uid}:{job.gid}"))

    def forget(self, *volumes: str) -> None:
        """Remove volumes, whose containers are gone: the next use makes them anew, empty."""
        for name in volumes:
            full = f"{self.name}-{name}"
            docker("volume", "rm", full)
            self._volumes.discard(full)
            self._owned.discard(full)

    def close(self) -> None:
        """Remove everything of this lab."""
        for name in self._containers:
            docker("rm", "-f", "-v", name, check=False)
        for name in self._volumes:
            docker("volume", "rm", "-f", name, check=False)
        docker("network", "rm", self.name, check=False)


def _shell_word(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def settings_for(subnet: str, backup: Mapping[str, object] | None = None, **postgres: object) -> Settings:
    """Default settings with the lab's subnet as phoenix-network."""
    return Settings.model_validate(
        {"networks": {"phoenix": {"subnet": subnet}}, "postgres": postgres, "backup": dict(backup or {})}
    )
