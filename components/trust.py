"""The certificate authority of the stack, and a leaf certificate per service.

ECDSA P-256 throughout. The CA's key and certificate are protected: `make down` keeps them, so that clients
which trust the CA keep working after the next `up`. A leaf lives a year and is renewed by any `up` in its last
30 days (the plan then shows a replacement: that is a renewal, not drift).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_tls as tls

from components.names import ALIASES, Service
from components.workload import ConfigFile

CA_HOURS: Final = 10 * 365 * 24
LEAF_HOURS: Final = 365 * 24
RENEWAL_HOURS: Final = 30 * 24


@dataclass(frozen=True)
class Leaf:
    """A service's certificate and its private key, both PEM."""

    certificate_pem: pulumi.Output[str]
    key_pem: pulumi.Output[str]


def dns_names(service: str, names: Sequence[str] = ()) -> list[str]:
    """Exactly what a service answers to: its name, its aliases, localhost for its own probe, and ``names``."""
    aliases = ALIASES.get(Service(service), ()) if service in set(Service) else ()
    return list(dict.fromkeys([service, *aliases, "localhost", *names]))


class CertificateAuthority(pulumi.ComponentResource):
    """Our own CA. ``certificate_pem`` is what clients trust."""

    certificate_pem: pulumi.Output[str]
    leaves: dict[str, Leaf]
    """Every leaf that was made, by service."""

    def __init__(self, name: str, stack: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("agentstack:observability:CertificateAuthority", name, {}, opts)
        self.leaves = {}
        protected = pulumi.ResourceOptions(parent=self, protect=True)
        self._key = tls.PrivateKey(f"{name}-key", algorithm="ECDSA", ecdsa_curve="P256", opts=protected)
        self._certificate = tls.SelfSignedCert(
            f"{name}-certificate",
            private_key_pem=self._key.private_key_pem,
            subject=tls.SelfSignedCertSubjectArgs(
                common_name=f"AgentStack Observability CA ({stack})", organization="AgentStack Observability"
            ),
            is_ca_certificate=True,
            validity_period_hours=CA_HOURS,
            # Python 3.13 refuses a CA without keyUsage; key ids let verifiers build the chain.
            allowed_uses=["cert_signing", "crl_signing"],
            set_subject_key_id=True,
            set_authority_key_id=True,
            opts=protected,
        )
        self.certificate_pem = self._certificate.cert_pem
        self.register_outputs({"certificate_pem": self.certificate_pem})

    def leaf(
        self,
        service: str,
        names: Sequence[str] = (),
        addresses: Sequence[str] = (),
        client: bool = False,
        parent: pulumi.Resource | None = None,
    ) -> Leaf:
        """A leaf for ``service``: serverAuth, and clientAuth where the service shows it to others.

        Args:
            names: further DNS names (network aliases, public names).
            addresses: further IP addresses; loopback is always in it.
        """
        options = pulumi.ResourceOptions(parent=parent or self)
        key = tls.PrivateKey(f"{service}-key", algorithm="ECDSA", ecdsa_curve="P256", opts=options)
        request = tls.CertRequest(
            f"{service}-request",
            private_key_pem=key.private_key_pem,
            subject=tls.CertRequestSubjectArgs(common_name=service, organization="AgentStack Observability"),
            dns_names=dns_names(service, names),
            ip_addresses=list(dict.fromkeys(["127.0.0.1", "::1", *addresses])),
            opts=options,
        )
        certificate = tls.LocallySignedCert(
            f"{service}-certificate",
            cert_request_pem=request.cert_request_pem,
            ca_private_key_pem=self._key.private_key_pem,
            ca_cert_pem=self.certificate_pem,
            validity_period_hours=LEAF_HOURS,
            early_renewal_hours=RENEWAL_HOURS,
            allowed_uses=["digital_signature", "server_auth", *(["client_auth"] if client else [])],
            set_subject_key_id=True,
            opts=options,
        )
        self.leaves[service] = Leaf(certificate_pem=certificate.cert_pem, key_pem=key.private_key_pem)
        return self.leaves[service]


def tls_files(ca: CertificateAuthority, leaf: Leaf | None) -> dict[str, ConfigFile]:
    """The files of a workload that speaks TLS: the CA to verify others, its own certificate and key (0400)."""
    files = {"tls/ca.crt": ConfigFile(ca.certificate_pem, "0444")}
    if leaf is not None:
        files["tls/tls.crt"] = ConfigFile(leaf.certificate_pem, "0444")
        files["tls/tls.key"] = ConfigFile(leaf.key_pem, "0400")
    return files
