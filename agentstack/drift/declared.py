"""What the state says the stack is made of (`pulumi stack export --show-secrets`). Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from components.names import Label, Role

CONTAINER: Final = "docker:index/container:Container"
NETWORK: Final = "docker:index/network:Network"
VOLUME: Final = "docker:index/volume:Volume"
IMAGE: Final = "docker:index/remoteImage:RemoteImage"
CERTIFICATE: Final = "tls:index/locallySignedCert:LocallySignedCert"


@dataclass(frozen=True)
class File:
    """A file that a carrier brought: its text, mode and owner."""

    content: str
    mode: str
    owner: str


@dataclass(frozen=True)
class DeclaredContainer:
    """A container of the state."""

    urn: str
    id: str
    name: str
    role: str
    service: str
    image: str
    networks: Mapping[str, tuple[str, ...]]
    """Network (name or id as declared) -> aliases."""
    files: Mapping[str, File]
    mounts: Mapping[str, str]
    """Mount point -> volume."""

    @property
    def runs(self) -> bool:
        """Whether it is a service, which must run."""
        return self.role == Role.SERVICE

    @property
    def carries(self) -> bool:
        """Whether it is the carrier of a configuration volume."""
        return self.role in {Role.CONFIG, Role.LIVE} and bool(self.files)


@dataclass(frozen=True)
class Declared:
    """Everything of the stack that is on the engine, by the state."""

    containers: tuple[DeclaredContainer, ...] = ()
    networks: Mapping[str, str] = field(default_factory=dict)
    """Name -> id."""
    volumes: Mapping[str, str] = field(default_factory=dict)
    """Name -> URN."""
    images: Mapping[str, str] = field(default_factory=dict)
    """Reference -> image id."""
    urns: Mapping[str, str] = field(default_factory=dict)
    """URN -> the resource's name on the engine, or in Pulumi."""
    dependencies: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """URN -> URNs whose outputs it is made from (not those that it merely starts after)."""

    def rests_on(self, urn: str, others: frozenset[str]) -> bool:
        """Whether a resource is made from one of ``others``, directly or not."""
        seen: set[str] = set()
        open_ = [urn]
        while open_:
            for dependency in self.dependencies.get(open_.pop(), ()):
                if dependency in others:
                    return True
                if dependency not in seen:
                    seen.add(dependency)
                    open_.append(dependency)
        return False


def plain(value: Any) -> Any:
    """A value of the state, a secret as what it hides."""
    if isinstance(value, dict) and "plaintext" in value:
        return json.loads(value["plaintext"])
    return value


def _labels(inputs: Mapping[str, Any]) -> dict[str, str]:
    return {entry["label"]: entry["value"] for entry in plain(inputs.get("labels")) or []}


def _container(resource: Mapping[str, Any]) -> DeclaredContainer:
    inputs = resource.get("inputs") or {}
    labels = _labels(inputs)
    return DeclaredContainer(
        urn=resource["urn"],
        id=resource.get("id", ""),
        name=str(plain(inputs["name"])),
        role=labels.get(Label.ROLE, ""),
        service=labels.get(Label.SERVICE, ""),
        image=str(plain(inputs.get("image", ""))),
        networks={
            str(plain(entry["name"])): tuple(plain(entry.get("aliases")) or ())
            for entry in plain(inputs.get("networksAdvanced")) or []
        },
        files={
            upload["file"]: File(
                plain(upload.get("content", "")),
                upload.get("permissions", "0644"),
                f"{upload.get('owner', '0')}:{upload.get('group', '0')}",
            )
            for upload in plain(inputs.get("uploads")) or []
        },
        mounts={mount["target"]: str(mount.get("source", "")) for mount in plain(inputs.get("mounts")) or []},
    )


def read(exported: Mapping[str, Any]) -> Declared:
    """The declaration that a state holds."""
    resources = (exported.get("deployment") or {}).get("resources") or []
    live = [resource for resource in resources if not resource.get("delete")]

    def of(kind: str) -> list[dict[str, Any]]:
        return [resource for resource in live if resource.get("type") == kind and resource.get("id")]

    def name(resource: Mapping[str, Any]) -> str:
        return str(plain((resource.get("inputs") or {}).get("name", ""))) or resource["urn"].rsplit("::", 1)[-1]

    return Declared(
        containers=tuple(_container(resource) for resource in of(CONTAINER)),
        networks={name(resource): resource["id"] for resource in of(NETWORK)},
        volumes={name(resource): resource["urn"] for resource in of(VOLUME)},
        images={name(resource): str((resource.get("outputs") or {}).get("imageId", "")) for resource in of(IMAGE)},
        urns={resource["urn"]: name(resource) for resource in live},
        dependencies={
            resource["urn"]: frozenset(
                urn for urns in (resource.get("propertyDependencies") or {}).values() for urn in urns or ()
            )
            for resource in live
        },
    )
