"""Prometheus' configuration: verified TLS to every target, its own credential, rules, retention; the web configuration.

What promtool says about it is decided in tests/rules.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import bcrypt
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from components.contributions import ScrapeTarget
from components.exporters import blackbox, node
from components.names import Service
from components.prometheus import render
from components.web_config import render_web_config
from tests.unit.program import labels, revealed, run_program

pytestmark = pytest.mark.unit

ONE = ScrapeTarget(job="node", service=Service.NODE_EXPORTER, port=9100)
MANY = ScrapeTarget(job="phoenix", service=Service.PHOENIX, port=6006, auth="bearer", replicas=3)
OPEN = ScrapeTarget(job="open", service=Service.COLLECTOR, port=1, auth="none", interval_seconds=5)
PROBES = blackbox.probe_target(
    "https", {"https://edge-ui:6006/health": Service.PHOENIX, "edge-otlp:4317": Service.EDGE_OTLP}
)


def config(*targets: ScrapeTarget) -> dict[str, Any]:
    """The rendered configuration, read back."""
    text = render.render_config(
        stack="dev",
        targets=targets,
        username="prometheus",
        rule_files=["b.yml", "a.yml"],
        retention=render.Retention(days=90, mib=2048),
    )
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def job(target: ScrapeTarget) -> dict[str, Any]:
    """The rendered job of one target."""
    found: dict[str, Any] = config(target)["scrape_configs"][0]
    return found


@pytest.mark.parametrize("target", [ONE, MANY, OPEN, PROBES])
def test_every_target_is_verified_by_the_services_name(target: ScrapeTarget) -> None:
    found = job(target)
    assert found["scheme"] == "https"
    assert found["tls_config"] == {
        "ca_file": "/etc/agentstack/tls/ca.crt",
        "server_name": target.service.value,
        "min_version": "TLS13",
    }


def test_credentials_are_files() -> None:
    assert job(ONE)["basic_auth"] == {
        "username": "prometheus",
        "password_file": "/etc/agentstack/secrets/scrape-password",
    }
    assert job(MANY)["authorization"] == {
        "type": "Bearer",
        "credentials_file": "/etc/agentstack/secrets/scrape-password",
    }
    assert not {"basic_auth", "authorization"} & set(job(OPEN))


def test_one_target_is_found_by_name_and_replicas_by_their_addresses() -> None:
    assert job(ONE)["static_configs"] == [{"targets": ["node-exporter:9100"], "labels": {"component": "node-exporter"}}]
    many = job(MANY)
    assert many["dns_sd_configs"] == [{"names": ["phoenix"], "type": "A", "port": 6006, "refresh_interval": "15s"}]
    assert {"target_label": "component", "replacement": "phoenix"} in many["relabel_configs"]


def test_probed_addresses_become_the_parameter_and_the_instance() -> None:
    found = job(PROBES)
    assert found["params"] == {"module": ["https"]}
    assert found["metrics_path"] == "/probe"
    assert found["static_configs"][0]["targets"] == ["https://edge-ui:6006/health", "edge-otlp:4317"]
    by_label = {rule["target_label"]: rule for rule in found["relabel_configs"]}
    behind = {
        rule["regex"]: rule["replacement"] for rule in found["relabel_configs"] if rule["target_label"] == "component"
    }
    assert {service for pattern, service in behind.items() if re.fullmatch(pattern, "https://edge-ui:6006/health")} == {
        "phoenix"
    }
    assert by_label["__param_target"]["source_labels"] == ["__address__"]
    assert by_label["instance"]["source_labels"] == ["__param_target"]
    assert by_label["__address__"] == {"target_label": "__address__", "replacement": "blackbox-exporter:9115"}


def test_a_scrape_ends_before_the_next_begins() -> None:
    assert (job(OPEN)["scrape_interval"], job(OPEN)["scrape_timeout"]) == ("5s", "5s")
    assert (job(ONE)["scrape_interval"], job(ONE)["scrape_timeout"]) == ("15s", "10s")


def test_a_job_has_one_owner() -> None:
    with pytest.raises(ValueError, match="contributed twice: node"):
        config(ONE, ONE)


def test_rules_retention_and_alertmanager() -> None:
    found = config(ONE)
    assert found["rule_files"] == ["/etc/agentstack/rules/a.yml", "/etc/agentstack/rules/b.yml"]
    assert found["storage"]["tsdb"]["retention"] == {"time": "90d", "size": "2048MB"}
    assert found["global"]["external_labels"] == {"stack": "dev"}
    (alertmanager,) = found["alerting"]["alertmanagers"]
    assert alertmanager["scheme"] == "https"
    assert alertmanager["tls_config"]["server_name"] == "alertmanager"
    assert alertmanager["basic_auth"]["password_file"] == "/etc/agentstack/secrets/scrape-password"


def test_nothing_but_up_changes_what_runs() -> None:
    flags = render.command("https://localhost:9090")
    assert not [flag for flag in flags if "lifecycle" in flag or "admin-api" in flag or "remote-write" in flag]
    assert "--web.external-url=https://localhost:9090" in flags
    assert "--web.route-prefix=/" in flags


def certificate(end: datetime) -> str:
    """A self-signed certificate, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "postgres")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(end - timedelta(days=365))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_the_end_of_a_certificate_that_no_probe_reaches_is_a_series() -> None:
    end = datetime(2030, 3, 17, 17, 46, 40, tzinfo=UTC)
    text = render.certificate_rules({"postgres": certificate(end), "pgbouncer": "not known yet"})
    (group,) = yaml.safe_load(text)["groups"]
    assert group["rules"] == [
        {
            "record": "agentstack_certificate_not_after_seconds",
            "expr": "vector(1900000000)",
            "labels": {"component": "postgres"},
        }
    ]


def test_the_web_configuration_holds_hashes_over_tls() -> None:
    hashed = bcrypt.hashpw(b"word", bcrypt.gensalt(4)).decode()
    found = yaml.safe_load(render_web_config({"admin": hashed, "prometheus": hashed}))
    assert found["basic_auth_users"] == {"admin": hashed, "prometheus": hashed}
    assert bcrypt.checkpw(b"word", found["basic_auth_users"]["admin"].encode())
    assert found["tls_server_config"] == {
        "cert_file": "/etc/agentstack/tls/tls.crt",
        "key_file": "/etc/agentstack/tls/tls.key",
        "min_version": "TLS12",
    }
    with pytest.raises(ValueError, match="at least one user"):
        render_web_config({})


def test_probes_verify_too() -> None:
    modules = yaml.safe_load(blackbox.render_modules())["modules"]
    for name, prober in (("https", "http"), ("tls", "tcp")):
        assert modules[name]["prober"] == prober
        tls = modules[name][prober]["tls_config"]
        assert tls["ca_file"] == "/etc/agentstack/tls/ca.crt"
        assert tls["insecure_skip_verify"] is False
    assert modules["https"]["http"]["fail_if_not_ssl"] is True
    assert modules["tls"]["tcp"]["tls"] is True
    assert all(target.startswith("https://") for target in blackbox.HTTPS_TARGETS)


def test_the_host_is_read_with_few_collectors() -> None:
    flags = node.command()
    assert "--collector.disable-defaults" in flags
    assert {"--collector.filesystem", "--collector.textfile", "--collector.meminfo"} <= set(flags)
    assert "--path.rootfs=/host/root" in flags


def test_the_program_scrapes_every_component() -> None:
    """What the components contribute arrives in Prometheus' configuration volume, with the rules of every area."""
    program = run_program("dev")
    carrier = next(
        resource
        for name, resource in program.containers("config").items()
        if labels(resource)["io.agentstack.service"] == "prometheus"
    )
    files = {upload["file"]: upload["content"] for upload in revealed(carrier.inputs)["uploads"]}
    jobs = {one["job_name"] for one in yaml.safe_load(files["/etc/agentstack/prometheus.yml"])["scrape_configs"]}
    assert {
        "phoenix", "collector", "edge-otlp", "edge-otlp-applications", "edge-ui", "postgres", "node", "blackbox",
        "blackbox-https", "blackbox-tls", "alertmanager", "grafana", "prometheus",
    } <= jobs  # fmt: skip
    assert {"/etc/agentstack/rules/services.yml", "/etc/agentstack/rules/certificates.yml"} <= set(files)
    expected = yaml.safe_load(files["/etc/agentstack/rules/recording.yml"])["groups"]
    listed = {
        rule["labels"]["job"]
        for group in expected
        for rule in group["rules"]
        if rule["record"] == "agentstack_expected_targets"
    }
    assert listed == jobs
