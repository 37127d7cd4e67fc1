"""The whole program under Pulumi's mocks: every resource request recorded as the engine would get it.

No engine, no Docker: ``__main__.py`` runs as `pulumi up` would run it, with a recording monitor in the engine's
place. Secret inputs arrive wrapped as the engine sees them, so a test can tell what would be stored or shown in clear.
"""

import asyncio
import contextlib
import hashlib
import json
import runpy
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pulumi
import yaml
from google.protobuf import json_format
from pulumi.runtime import mocks, settings
from pulumi.runtime.stack import run_in_stack

from components.engine import Engine

ROOT = Path(__file__).resolve().parents[2]
SECRET_SIGNATURE = "4dabf18193072939515e22adb298388d"
PLANTED = "PLANTED"
"""Every made-up secret value starts with it, so that a search for it finds any that leaks."""

ROOMY = Engine(version="27.0.0", cpus=64, memory_mib=262_144, disk_free_mib=2_000_000)


@dataclass
class Resource:
    """One registered resource; ``inputs`` hold ``Secret`` where the engine would get a secret."""

    type: str
    name: str
    inputs: dict[str, Any]
    parent: str
    protect: bool
    urn: str = ""


@dataclass(frozen=True)
class Secret:
    """A value that the engine keeps encrypted."""

    value: Any


def _unwrap(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get(SECRET_SIGNATURE) == "1b47061264138c4ac30d75fd1eb44270":
            return Secret(_unwrap(value.get("value")))
        return {key: _unwrap(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unwrap(item) for item in value]
    return value


def revealed(value: Any) -> Any:
    """The same with every Secret opened."""
    if isinstance(value, Secret):
        return revealed(value.value)
    if isinstance(value, dict):
        return {key: revealed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [revealed(item) for item in value]
    return value


def clear_texts(value: Any) -> Iterator[str]:
    """Every string that is not inside a Secret."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from clear_texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from clear_texts(item)


class _DockerMocks(mocks.Mocks):
    """Outputs that the providers would compute; secrets are marked as the real providers mark them."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        state = dict(args.inputs)
        identity = hashlib.sha256(f"{args.typ} {args.name}".encode()).hexdigest()
        if args.typ == "random:index/randomPassword:RandomPassword":
            word = f"{PLANTED}-{args.name}-{identity[:12]}Aa1!"
            state |= {
                "result": pulumi.Output.secret(word),
                "bcryptHash": pulumi.Output.secret(f"$2a$10${identity[:53]}"),
            }
        elif args.typ == "random:index/randomBytes:RandomBytes":
            state |= {
                "hex": pulumi.Output.secret(identity),
                "base64": pulumi.Output.secret(f"{PLANTED}{identity[:37]}"),
            }
        elif args.typ == "tls:index/privateKey:PrivateKey":
            state["privateKeyPem"] = pulumi.Output.secret(f"-----BEGIN {PLANTED} KEY----- {args.name}")
        elif args.typ.startswith("tls:index/"):
            state |= {"certPem": f"CERT {args.name}", "certRequestPem": f"REQUEST {args.name}"}
        elif args.typ == "docker:index/remoteImage:RemoteImage":
            state |= {"imageId": f"sha256:{identity}", "repoDigest": state.get("name")}
        elif args.typ == "docker:index/container:Container":
            state |= {"exitCode": 0}
        return identity[:12], state

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        return {}, None


def _close_loop_of_thread() -> None:
    """The mocks give each of their worker threads an event loop and never close it."""
    if threading.current_thread() is not threading.main_thread():
        with contextlib.suppress(RuntimeError):
            asyncio.get_event_loop().close()
        asyncio.set_event_loop(None)


class Recording(mocks.MockMonitor):
    """What the program registered, and what it exported."""

    def __init__(self) -> None:
        super().__init__(_DockerMocks())
        self.resources_seen: list[Resource] = []
        self.exports: dict[str, Any] = {}

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the monitor's own spelling
        inputs = _unwrap(json_format.MessageToDict(request.object))
        self.resources_seen.append(Resource(request.type, request.name, inputs, request.parent, bool(request.protect)))
        try:
            return super().RegisterResource(request)  # type: ignore[no-untyped-call]
        finally:
            _close_loop_of_thread()

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - the monitor's own spelling
        if "::pulumi:pulumi:Stack::" in request.urn:
            self.exports = _unwrap(json_format.MessageToDict(request.outputs))
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


@dataclass
class Program:
    """One run of the program."""

    stack: str
    resources: list[Resource]
    exports: dict[str, Any] = field(default_factory=dict)

    def of_type(self, type_: str) -> dict[str, Resource]:
        """Resources of one Docker, tls or random type by name: ``of_type("docker:Container")``."""
        package, _, kind = type_.partition(":")
        token = f"{package}:index/{kind[0].lower()}{kind[1:]}:{kind}"
        return {resource.name: resource for resource in self.resources if resource.type == token}

    def containers(self, *roles: str) -> dict[str, Resource]:
        """Containers by name, only those with one of these roles when any is given."""
        found = self.of_type("docker:Container")
        return {n: r for n, r in found.items() if not roles or labels(r).get("io.agentstack.role") in roles}


def labels(resource: Resource) -> dict[str, str]:
    """Docker labels of a container, volume or network."""
    return {item["label"]: item["value"] for item in revealed(resource.inputs).get("labels", [])}


def stack_config(stack: str, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The object `agentstack:stack` of the real stack file, with overrides on top."""
    text = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())
    return {**(text["config"]["agentstack:stack"] or {}), **(overrides or {})}


def _run_file(main: Path) -> None:
    runpy.run_path(str(main), run_name="__main__")


def run_program(
    stack: str,
    overrides: Mapping[str, Any] | None = None,
    *,
    engine: Engine = ROOMY,
    main: Path = ROOT / "__main__.py",
    preview: bool = False,
) -> Program:
    """Run the program as `pulumi up` of ``stack`` would, against the real stack file.

    The images come from the registry in it (``imageSource: registry``), whatever this machine chose.
    """
    import components.engine as engine_module

    config = {"imageSource": "registry", **stack_config(stack, overrides)}
    loop = asyncio.new_event_loop()  # before set_mocks: otherwise its own Stack registration waits for ever
    asyncio.set_event_loop(loop)
    recording = Recording()
    original = engine_module.inspect_engine
    engine_module.inspect_engine = lambda stack: engine
    try:
        settings.reset_options(project="agentstack", stack=stack)
        pulumi.runtime.set_all_config({"agentstack:stack": json.dumps(config)}, [])
        mocks.set_mocks(recording.mocks, project="agentstack", stack=stack, preview=preview, monitor=recording)
        settings.SETTINGS.rpc_manager.clear()
        settings.SETTINGS.outputs.clear()
        settings.set_root_resource(cast("pulumi.Resource", None))
        loop.run_until_complete(asyncio.wait_for(run_in_stack(lambda: _run_file(main)), timeout=120))
        return Program(stack, recording.resources_seen, recording.exports)
    finally:
        engine_module.inspect_engine = original
        settings.reset_options()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        asyncio.set_event_loop(None)
