"""The edges: what is rendered for which settings, what the maps hold, and what Docker is asked for.

Whether HAProxy does with it what is meant is decided by tests/engine/test_edge_container.py.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from components.collector.receive import MAX_REQUEST_MIB
from components.edge import maps
from components.edge.limits import LIMITS, SMOKE_LIMITS, retry
from components.edge.messages import MESSAGES
from components.edge.reload import KEEPS
from components.edge.render import LOOPBACK, Edge, interfaces, render_config, sizing
from components.names import SMOKE_APPLICATION, Service
from components.settings.access import Application
from components.settings.sizing import MAX_REPLICAS
from tests.unit.program import PLANTED, Program, Secret, clear_texts, revealed, run_program

pytestmark = pytest.mark.unit

APPLICATION_NET, MONITORING_NET = "172.24.0.0/16", "172.23.0.0/16"


def edge(service: Service = Service.EDGE_OTLP, **changes: Any) -> Edge:
    fields: dict[str, Any] = {
        "service": service,
        "sizing": sizing(112, 1.0),
        "takes_otlp": service is Service.EDGE_OTLP,
        "served_on": (LOOPBACK, APPLICATION_NET, MONITORING_NET),
        "near": (LOOPBACK, "172.24.0.1"),
        "monitored_from": MONITORING_NET,
        "collector_host": "collector.net",
        "metrics_pages": (("/metrics/applications", "/live/app-metrics.lf"),),
        "interfaces": interfaces("ph.net", "gr.net", "pr.net", "al.net") if service is Service.EDGE_UI else (),
    }
    return Edge(**(fields | changes))


def sections(config: str) -> dict[str, list[str]]:
    """Section -> its lines, stripped, without comments."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in config.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line.startswith(" "):
            current.append(line.strip())
        else:
            name = " ".join(line.split()[:2])
            assert name not in found, f"{name} stands there twice"
            current = found.setdefault(name, [])
    return found


BOTH = pytest.mark.parametrize("service", [Service.EDGE_OTLP, Service.EDGE_UI])


class TestListeners:
    def public_binds(self, config: str) -> set[str]:
        binds = {line.split()[1] for lines in sections(config).values() for line in lines if line.startswith("bind ")}
        return {bind for bind in binds if not bind.startswith(("abns@", "127.0.0.1:"))}

    def test_edge_otlp_listens_for_otlp_and_metrics_alone(self) -> None:
        assert self.public_binds(render_config(edge())) == {":4317", ":4318", ":6006", ":8405"}

    def test_edge_ui_listens_for_interfaces_and_metrics_alone(self) -> None:
        config = render_config(edge(Service.EDGE_UI))
        assert self.public_binds(config) == {":6006", ":3001", ":9090", ":9093", ":8405"}

    def test_edge_otlp_knows_no_interface(self) -> None:
        config = render_config(edge())
        assert not [name for name in ("grafana", "prometheus:", "alertmanager", "/readyz ver") if name in config]

    @BOTH
    def test_every_public_port_is_bound_to_its_networks(self, service: Service) -> None:
        for name, lines in sections(render_config(edge(service))).items():
            if any(re.match(r"bind :\d", line) for line in lines):
                assert [line for line in lines if re.match(r"tcp-request connection reject unless .*\bdst\b", line)], (
                    name
                )

    @BOTH
    def test_sources_are_filtered_only_when_the_settings_say_so(self, service: Service) -> None:
        allowed = "{ src 192.0.2.0/24 2001:db8::/32 }"
        entries = sum(1 for name in sections(render_config(edge(service))) if name.startswith("frontend in_"))
        restricted = render_config(edge(service, allowed_sources=("192.0.2.0/24", "2001:db8::/32")))
        assert restricted.count(allowed) == entries
        assert allowed not in render_config(edge(service))


class TestTls:
    @BOTH
    def test_every_hop_to_a_backend_is_verified(self, service: Service) -> None:
        found = sections(render_config(edge(service)))
        assert any("ssl verify required ca-file ca.crt" in line for line in found["defaults base"])
        servers = [line for lines in found.values() for line in lines if line.startswith("server-template ")]
        assert servers
        assert all(" verifyhost " in line and " sni str(" in line for line in servers)
        assert "verify none" not in render_config(edge(service))

    @BOTH
    def test_backends_have_a_slot_for_every_replica(self, service: Service) -> None:
        servers = re.findall(r"server-template \S+ (\S+)", render_config(edge(service)))
        assert set(servers) == {f"1-{MAX_REPLICAS}"}

    @BOTH
    def test_no_listener_outside_loopback_lacks_tls(self, service: Service) -> None:
        """What is bound without TLS only looks at the first byte, or refuses plaintext."""
        for name, lines in sections(render_config(edge(service))).items():
            for line in lines:
                if line.startswith("bind ") and " ssl " not in line:
                    assert name.startswith(("frontend in_", "frontend plain_", "frontend health", "peers ")), name


class TestBrowsers:
    def test_without_allowed_origins_every_origin_is_foreign(self) -> None:
        assert "acl allowed_origin always_false" in render_config(edge())

    def test_allowed_origins_are_compared_in_lower_case(self) -> None:
        config = render_config(edge(allowed_origins=("https://App.Example.org",)))
        assert "acl allowed_origin var(txn.origin) -m str https://app.example.org\n" in config

    @pytest.mark.parametrize(
        ("names", "tests"),
        [
            ((), []),
            (("192.0.2.1", "2001:db8::1"), []),
            (("a.example.org", "*.b.example.org", "192.0.2.1"), ["str a.example.org", "end .b.example.org"]),
        ],
    )
    def test_hsts_is_for_public_dns_names(self, names: tuple[str, ...], tests: list[str]) -> None:
        config = render_config(edge(Service.EDGE_UI, public_names=names))
        assert re.findall(r"strict-transport-security .*,host_only -m (.*) }", config) == tests
        assert config.count("strict-transport-security") == len(tests)

    @pytest.mark.parametrize("origin", ["https://a b", 'https://a"', "https://a'", "https://a#b", "https://$x", "h\\x"])
    def test_what_would_change_the_meaning_of_the_configuration_is_refused(self, origin: str) -> None:
        with pytest.raises(ValueError, match="can't stand in the edge's configuration"):
            edge(allowed_origins=(origin,))


class TestSizing:
    def test_the_smallest_and_the_largest_edge_stay_in_bounds(self) -> None:
        small, large = sizing(16, 0.1), sizing(4_194_304, 256)
        assert (small.threads, large.threads) == (1, 16)
        assert small.clients >= 250
        assert large.clients == 20_000
        assert large.cache_object_bytes <= large.cache_mib * 1024 * 1024 // 2

    def test_descriptors_suffice_for_every_client(self) -> None:
        """A client costs three: its connection, both ends of the way inside are two more; a backend's is a fourth."""
        descriptors_of_a_workload = 8192
        assert sizing(112, 1.0).clients * 4 < descriptors_of_a_workload


class TestAnswers:
    def test_messages_can_stand_in_a_quoted_word(self) -> None:
        assert not [text for text in MESSAGES.values() if set(text) & set("\"'%\\{}[]$`\n")]

    def test_the_retry_headers_are_those_that_sdks_read(self) -> None:
        """Values that the Python and Go exporters were seen to heed."""
        told = retry(2, "rate limit")
        assert told.info == "CgIIAg"
        assert told.status_details == (
            "CAgSCnJhdGUgbGltaXQaMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIAg"
        )

    def test_a_limited_application_is_told_to_come_back_before_its_sdk_gives_up(self) -> None:
        config = render_config(edge())
        assert re.findall(r"hdr retry-after (\d+)", config) == ["2"]


class TestMaps:
    def test_tokens_are_known_by_their_digest_alone(self) -> None:
        digest = hashlib.sha256(b"secret").hexdigest()
        assert maps.applications_map({"chat": (maps.token_digest("secret"),)}) == f"{digest} chat\n"

    def test_an_application_may_have_two_tokens_while_they_are_rotated(self) -> None:
        text = maps.applications_map({"chat": (maps.token_digest("old"), maps.token_digest("new"))})
        assert [line.split()[1] for line in text.splitlines()] == ["chat", "chat"]

    def test_one_token_never_names_two_applications(self) -> None:
        digest = maps.token_digest("same")
        with pytest.raises(ValueError, match="a and b have the same token"):
            maps.applications_map({"a": (digest,), "b": (digest,)})

    def test_a_token_in_place_of_its_digest_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"application a: .* is not a SHA-256 digest"):
            maps.applications_map({"a": ("a-token",)})

    def test_limits_are_those_of_the_stack_file(self) -> None:
        applications = maps.with_smoke({"chat": Application.model_validate({"requestsPerSecond": 7})}, SMOKE_LIMITS)
        assert maps.requests_map(applications) == "agentstack-smoke 1000\nchat 7\n"
        assert maps.bytes_map(applications) == "agentstack-smoke 100000000\nchat 10000000\n"

    def test_scrapers_are_known_by_the_digest_of_what_they_send(self) -> None:
        """The header of RFC 7617 for prometheus:secret, written by hand."""
        sent = b"Basic cHJvbWV0aGV1czpzZWNyZXQ="
        assert maps.scrapers_map("prometheus", "secret") == f"{hashlib.sha256(sent).hexdigest()} prometheus\n"

    def test_a_page_of_metrics_fits_haproxys_buffer(self) -> None:
        """16 KiB, 1 KiB of it kept for rewriting; with a longer one HAProxy does not start. Names are the longest."""
        pages = maps.metrics_pages(f"{'a' * 37}{number:03}" for number in range(100))
        assert list(pages)[:2] == ["/metrics/applications", "/metrics/applications/2"]
        assert all(len(text) <= 15 * 1024 for _, text in pages.values())

    def test_every_application_is_on_exactly_one_page(self) -> None:
        names = {f"app-{number}" for number in range(40)}
        found = [
            name
            for _, text in maps.metrics_pages(names).values()
            for name in re.findall(r'edge_application_accepted_total{application="([^"]*)"}', text)
        ]
        assert sorted(found) == sorted(names)


class TestReload:
    def test_a_new_worker_finds_the_servers_where_the_probe_keeps_them(self) -> None:
        config = render_config(edge())
        assert f"stats socket {KEEPS.socket} mode 600 level user\n" in config
        assert f"server-state-file {KEEPS.answer}\n" in config


MAIN = """
import pulumi
from components.edge import EdgeOtlp, EdgeUi, IngestTokens
from components.foundation import lay_foundation
from components.stack import read_settings
settings, engine = read_settings(pulumi.get_stack())
context, _ = lay_foundation(pulumi.get_stack(), settings, engine)
tokens = IngestTokens("tokens", context)
edges = [EdgeOtlp("edge-otlp", context, tokens=tokens), EdgeUi("edge-ui", context, tokens=tokens)]
for edge in edges:
    for target in edge.scrape_targets:
        pulumi.export(target.job, [target.service, target.port, target.path, target.auth])
"""

OVERRIDES = {
    "applications": {"chat": {"requestsPerSecond": 5}},
    "publicNames": ["traces.example.org", "192.0.2.7"],
    "allowedOrigins": ["https://app.example.org"],
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    main = tmp_path_factory.mktemp("program") / "__main__.py"
    main.write_text(MAIN)
    return run_program("dev", OVERRIDES, main=main)


class TestComponents:
    def files(self, program: Program, carrier: str) -> dict[str, Any]:
        """Path -> content of what a carrier uploads."""
        uploads = program.of_type("docker:Container")[carrier].inputs["uploads"]
        return {
            upload["file"]: upload["content"]
            for upload in (revealed(uploads) if isinstance(uploads, Secret) else uploads)
        }

    @pytest.mark.parametrize("name", ["edge-otlp", "edge-ui"])
    def test_files_are_digests_and_never_a_secret(self, program: Program, name: str) -> None:
        for role in ("config", "live"):
            for path, content in self.files(program, f"{name}-{role}").items():
                if not path.endswith("tls.key"):
                    assert PLANTED not in str(revealed(content)), path

    @pytest.mark.parametrize("name", ["edge-otlp", "edge-ui"])
    def test_nothing_secret_is_in_clear(self, program: Program, name: str) -> None:
        container = program.of_type("docker:Container")[name]
        assert not [text for text in clear_texts(container.inputs) if PLANTED in text]

    def test_each_application_and_the_stack_itself_have_a_token(self, program: Program) -> None:
        text = revealed(self.files(program, "edge-otlp-live")["/etc/agentstack-live/maps/apps.map"])
        assert sorted(line.split()[1] for line in text.splitlines()) == sorted([SMOKE_APPLICATION, "chat"])

    def test_both_edges_hold_the_same_maps(self, program: Program) -> None:
        otlp, ui = (revealed(self.files(program, f"{name}-live")) for name in ("edge-otlp", "edge-ui"))
        assert otlp == ui

    @pytest.mark.parametrize(
        ("name", "network", "aliases"),
        [
            ("edge-otlp", "application-network", ["edge-otlp", "otel-collector", "phoenix"]),
            ("edge-ui", "ui-network", None),
        ],
    )
    def test_networks(self, program: Program, name: str, network: str, aliases: list[str] | None) -> None:
        joined = revealed(program.of_type("docker:Container")[name].inputs["networksAdvanced"])
        found = {item["name"].removeprefix("agentstack-dev-"): item.get("aliases") for item in joined}
        assert found == {network: aliases, "phoenix-network": [name], "monitoring-network": [name]}

    def test_published_ports_are_those_of_the_settings(self, program: Program) -> None:
        containers = program.of_type("docker:Container")
        published = {
            name: {(port["external"], port["internal"]) for port in revealed(containers[name].inputs["ports"])}
            for name in ("edge-otlp", "edge-ui")
        }
        assert published == {
            "edge-otlp": {(4317, 4317), (4318, 4318)},
            "edge-ui": {(6006, 6006), (3001, 3001), (9090, 9090), (9093, 9093)},
        }

    def test_certificates_carry_what_clients_call_the_edges(self, program: Program) -> None:
        requests = program.of_type("tls:CertRequest")
        names = {name: revealed(requests[f"{name}-request"].inputs) for name in ("edge-otlp", "edge-ui")}
        assert names["edge-otlp"]["dnsNames"] == [
            "edge-otlp",
            "localhost",
            "otel-collector",
            "phoenix",
            "traces.example.org",
        ]
        assert names["edge-ui"]["dnsNames"] == ["edge-ui", "localhost", "traces.example.org"]
        assert names["edge-ui"]["ipAddresses"] == ["127.0.0.1", "::1", "192.0.2.7"]

    def test_backends_are_found_on_their_own_network(self, program: Program) -> None:
        """Whoever calls a container `collector` on application-network must not become one."""
        config = str(revealed(self.files(program, "edge-ui-config")["/etc/agentstack/haproxy.cfg"]))
        hosts = set(re.findall(r"server-template \S+ \S+ (\S+):\d+", config))
        assert hosts == {
            "collector.agentstack-dev-phoenix-network",
            "phoenix.agentstack-dev-phoenix-network",
            "grafana.agentstack-dev-monitoring-network",
            "prometheus.agentstack-dev-monitoring-network",
            "alertmanager.agentstack-dev-monitoring-network",
        }

    def test_stop_lets_requests_end_within_the_grace(self, program: Program) -> None:
        inputs = program.of_type("docker:Container")["edge-otlp"].inputs
        config = str(revealed(self.files(program, "edge-otlp-config")["/etc/agentstack/haproxy.cfg"]))
        hard_stop = re.search(r"hard-stop-after (\d+)s", config)
        assert hard_stop is not None
        assert inputs["stopSignal"] == "SIGUSR1"
        assert int(hard_stop[1]) < inputs["stopTimeout"]

    def test_scrape_targets(self, program: Program) -> None:
        assert program.exports == {
            "edge-otlp": ["edge-otlp", 8405, "/metrics", "basic"],
            "edge-otlp-applications": ["edge-otlp", 8405, "/metrics/applications", "basic"],
            "edge-ui": ["edge-ui", 8405, "/metrics", "basic"],
            "edge-ui-applications": ["edge-ui", 8405, "/metrics/applications", "basic"],
        }


def test_templates_hold_no_tabs_and_end_with_a_newline() -> None:
    folder = Path(__file__).resolve().parents[2] / "components" / "edge" / "templates"
    for path in folder.glob("*.j2"):
        text = path.read_text()
        assert "\t" not in text, path.name
        assert text.endswith("\n"), path.name


def test_the_edge_refuses_before_the_collector_does() -> None:
    """The edge does it with a sentence, and before the body is sent."""
    assert LIMITS.body_bytes <= MAX_REQUEST_MIB * 1024 * 1024
