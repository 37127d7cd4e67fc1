"""Prometheus' configuration as text: what is scraped and how, which rules, who is told. Pure.

Every target is spoken to over TLS 1.3, verified against our CA by the service's name. Two labels come with a target:
``component`` is the service of ours that answers (``service`` would collide with the label that spans bring along), and
``instance`` is where it was found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml
from cryptography.x509 import load_pem_x509_certificate

from components.contributions import ScrapeTarget
from components.names import CONFIG_DIR, TLS_CA, Port, Service

SCRAPE_PASSWORD_FILE: Final = f"{CONFIG_DIR}/secrets/scrape-password"
RULES_DIR: Final = "rules"
SCRAPE_TIMEOUT_SECONDS: Final = 10
SAMPLE_LIMIT: Final = 50_000
"""Samples per scrape: a page that grows without bound loses its own scrape, not Prometheus' memory."""
LABEL_VALUE_LIMIT: Final = 1024
FEATURES: Final = ("created-timestamp-zero-ingestion",)
"""A counter's first value counts: without it the first dollar of a new model would be spent unseen."""

Node = dict[str, Any]


@dataclass(frozen=True)
class Retention:
    """How long samples are kept, and how much of the disk they may take."""

    days: int
    mib: int


def tls_config(service: str) -> Node:
    """How a client of ours verifies a service."""
    return {"ca_file": TLS_CA, "server_name": service, "min_version": "TLS13"}


def _auth(target: ScrapeTarget, username: str) -> Node:
    if target.auth == "basic":
        return {"basic_auth": {"username": username, "password_file": SCRAPE_PASSWORD_FILE}}
    if target.auth == "bearer":
        return {"authorization": {"type": "Bearer", "credentials_file": SCRAPE_PASSWORD_FILE}}
    return {}


def _found(target: ScrapeTarget) -> Node:
    """Where the target is: one by its name; replicas by the addresses that their shared name has."""
    labels = {"component": target.service.value}
    if target.static_targets:
        return {"static_configs": [{"targets": list(target.static_targets), "labels": labels}]}
    if target.replicas == 1:
        return {"static_configs": [{"targets": [f"{target.service}:{target.port}"], "labels": labels}]}
    return {
        "dns_sd_configs": [
            {"names": [target.service.value], "type": "A", "port": target.port, "refresh_interval": "15s"}
        ]
    }


def _relabel(target: ScrapeTarget) -> list[Node]:
    """Probed addresses become a parameter; the exporter itself is what is connected to."""
    rules: list[Node] = []
    if target.static_targets:
        rules = [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"source_labels": ["__param_target"], "target_label": "instance"},
            {
                "source_labels": ["__param_target"],
                "regex": "(?:[a-z]+://)?([^:/]+).*",
                "target_label": "probed",
                "replacement": "$1",
            },
            {"target_label": "__address__", "replacement": f"{target.service}:{target.port}"},
        ]
    elif target.replicas > 1:
        rules = [{"target_label": "component", "replacement": target.service.value}]
    return [*rules, *target.relabel]


def scrape_config(target: ScrapeTarget, username: str) -> Node:
    """One job."""
    config: Node = {
        "job_name": target.job,
        "scheme": "https",
        "metrics_path": target.path,
        "scrape_interval": f"{target.interval_seconds}s",
        "scrape_timeout": f"{min(SCRAPE_TIMEOUT_SECONDS, target.interval_seconds)}s",
        "sample_limit": SAMPLE_LIMIT,
        "label_value_length_limit": LABEL_VALUE_LIMIT,
        "tls_config": tls_config(target.service.value),
        **_auth(target, username),
        **_found(target),
    }
    if target.params:
        config["params"] = dict(target.params)
    if relabel := _relabel(target):
        config["relabel_configs"] = relabel
    if target.metric_relabel:
        config["metric_relabel_configs"] = list(target.metric_relabel)
    return config


def render_config(
    *,
    stack: str,
    targets: Sequence[ScrapeTarget],
    username: str,
    rule_files: Sequence[str],
    retention: Retention,
    scrape_interval_seconds: int = 15,
) -> str:
    """prometheus.yml.

    Args:
        username: who Prometheus is at its targets and at Alertmanager.
        rule_files: names below ``rules/`` of the configuration volume.

    Raises:
        ValueError: when two targets have the same job.
    """
    jobs = [target.job for target in targets]
    twice = sorted({job for job in jobs if jobs.count(job) > 1})
    if twice:
        raise ValueError(f"scrape jobs contributed twice: {', '.join(twice)}; a job has one owner")
    config: Node = {
        "global": {
            "scrape_interval": f"{scrape_interval_seconds}s",
            "scrape_timeout": f"{SCRAPE_TIMEOUT_SECONDS}s",
            "evaluation_interval": "15s",
            "external_labels": {"stack": stack},
        },
        "storage": {"tsdb": {"retention": {"time": f"{retention.days}d", "size": f"{retention.mib}MB"}}},
        "rule_files": [f"{CONFIG_DIR}/{RULES_DIR}/{name}" for name in sorted(rule_files)],
        "alerting": {
            "alertmanagers": [
                {
                    "scheme": "https",
                    "tls_config": tls_config(Service.ALERTMANAGER.value),
                    "basic_auth": {"username": username, "password_file": SCRAPE_PASSWORD_FILE},
                    "static_configs": [{"targets": [f"{Service.ALERTMANAGER}:{Port.ALERTMANAGER}"]}],
                }
            ]
        },
        "scrape_configs": [scrape_config(target, username) for target in targets],
    }
    return yaml.safe_dump(config, sort_keys=False)


def command(external_url: str) -> tuple[str, ...]:
    """Prometheus' flags. Remote write, the lifecycle and admin APIs stay off: nothing changes what runs but `up`."""
    return (
        f"--config.file={CONFIG_DIR}/prometheus.yml",
        f"--web.config.file={CONFIG_DIR}/web.yml",
        f"--web.listen-address=0.0.0.0:{Port.PROMETHEUS}",
        f"--web.external-url={external_url}",
        "--web.route-prefix=/",
        "--storage.tsdb.path=/prometheus",
        f"--enable-feature={','.join(FEATURES)}",
        "--log.format=json",
    )


def client_config(username: str) -> str:
    """What ``promtool query --http.config.file`` needs inside the container; the runbooks' queries use it."""
    return yaml.safe_dump(
        {
            "basic_auth": {"username": username, "password_file": SCRAPE_PASSWORD_FILE},
            "tls_config": tls_config(Service.PROMETHEUS.value),
        },
        sort_keys=False,
    )


def certificate_rules(certificates: Mapping[str, str]) -> str:
    """A rule file that tells when certificates of ours end that no probe reaches.

    Args:
        certificates: service -> its certificate, PEM. What is no certificate (as in a dry run) is left out.
    """
    rules = [
        {
            "record": "agentstack_certificate_not_after_seconds",
            "expr": f"vector({load_pem_x509_certificate(pem.encode()).not_valid_after_utc.timestamp():.0f})",
            "labels": {"component": service},
        }
        for service, pem in sorted(certificates.items())
        if pem.startswith("-----BEGIN CERTIFICATE-----")
    ]
    return yaml.safe_dump({"groups": [{"name": "certificates", "interval": "1m", "rules": rules}]}, sort_keys=False)
