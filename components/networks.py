"""The five networks. Three carry the services, one publishes the user interfaces, one lets out what must call out.

phoenix- and monitoring-network are `internal`: no route to the outside. From an internal network the host's own
services still answer on the bridge's gateway address (docs/guide.md has the firewall rule).
"""

import ipaddress

import pulumi
import pulumi_docker as docker

from components.names import Label, NetworkName, Role, docker_name
from components.settings import Settings

INTERNAL = frozenset({NetworkName.PHOENIX, NetworkName.MONITORING})


def subnet_of(settings: Settings, network: NetworkName) -> ipaddress.IPv4Network:
    """The address range of a network."""
    return settings.networks.all()[network.value.removesuffix("-network")]


class Networks(pulumi.ComponentResource):
    """All networks, by name: ``networks[NetworkName.PHOENIX]``."""

    def __init__(self, name: str, stack: str, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("agentstack:observability:Networks", name, {}, opts)
        self._networks: dict[NetworkName, docker.Network] = {}
        for network in NetworkName:
            subnet = subnet_of(settings, network)
            self._networks[network] = docker.Network(
                network.value,
                name=docker_name(stack, network.value),
                driver="bridge",
                internal=network in INTERNAL,
                ipam_configs=[docker.NetworkIpamConfigArgs(subnet=str(subnet), gateway=str(subnet[1]))],
                labels=[
                    docker.NetworkLabelArgs(label=Label.STACK, value=stack),
                    docker.NetworkLabelArgs(label=Label.ROLE, value=Role.NETWORK),
                ],
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs({"names": {n.value: r.name for n, r in self._networks.items()}})

    def __getitem__(self, network: NetworkName) -> docker.Network:
        return self._networks[network]
