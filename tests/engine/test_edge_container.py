"""Both edges in real containers, hardened as in the stack, in front of a backend that answers with what it got.

Decides: who gets in (tokens, origins, sources, networks) and as whom; what is refused, and whether SDKs understand it;
what the interfaces' ports serve and close; that a reload loses no request and a stop lets requests end.
"""

import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from components.edge import maps
from components.edge.limits import LIMITS
from components.names import CONFIG_DIR, LIVE_DIR, Port, Service
from tests.engine.database_lab import docker, eventually
from tests.engine.edge_lab import ORIGIN, PUBLIC_NAME, SCRAPE_PASSWORD, TOKENS, TRACE_EXPORT, Answer, EdgeLab

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]

BEARER = {name: f"Bearer {token}" for name, token in TOKENS.items()}
DIGEST = maps.token_digest(TOKENS["chat"])
OTLP, UI = "edge-otlp", "edge-ui"


@pytest.fixture(scope="module")
def lab() -> Iterator[EdgeLab]:
    lab = EdgeLab()
    try:
        lab.start(lab.describe(Service.EDGE_OTLP), Port.OTLP_GRPC, Port.OTLP_HTTP, Port.PHOENIX)
        lab.start(lab.describe(Service.EDGE_UI), Port.PHOENIX, Port.GRAFANA_EDGE, Port.PROMETHEUS, Port.ALERTMANAGER)
        eventually(lambda: send(lab).status == 200, "a collector behind edge-otlp")
        eventually(lambda: lab.ask(lab.port(UI, Port.PHOENIX), path="/health").status == 200, "Phoenix behind edge-ui")
        yield lab
    finally:
        lab.close()


def send(lab: EdgeLab, app: str = "chat", body: bytes = b"{}", path: str = "/v1/traces", **headers: Any) -> Answer:
    """One OTLP/HTTP request to edge-otlp."""
    return lab.ask(lab.port(OTLP, Port.OTLP_HTTP), "POST", path, body, authorization=BEARER[app], **headers)


def refusal(lab: EdgeLab, message: bytes = b"x", token: str | None = TOKENS["chat"], **options: str) -> grpc.RpcError:
    """How edge-otlp refuses a gRPC export."""
    with pytest.raises(grpc.RpcError) as caught:
        lab.export(lab.port(OTLP, Port.OTLP_GRPC), message, token, **options)
    return caught.value


class TestTokens:
    def test_http_arrives_as_the_application_of_its_token_whatever_it_claims(self, lab: EdgeLab) -> None:
        got = send(lab, x_agentstack_application="forged", x_agentstack_anything="forged").json["headers"]
        named = {name: value for name, value in got.items() if name.startswith("x-agentstack-")}
        assert named == {"x-agentstack-application": "chat"}

    def test_grpc_arrives_as_the_application_of_its_token_whatever_it_claims(self, lab: EdgeLab) -> None:
        port = lab.port(OTLP, Port.OTLP_GRPC)
        got = lab.export(port, b"x", TOKENS["chat"], x_agentstack_application="forged")["headers"]
        assert got["x-agentstack-application"] == "chat"

    def test_lower_case_bearer_is_passed_on_as_the_collector_wants_it(self, lab: EdgeLab) -> None:
        port = lab.port(OTLP, Port.OTLP_HTTP)
        answer = lab.ask(port, "POST", "/v1/traces", b"{}", authorization=f"bearer {TOKENS['chat']}")
        assert answer.json["headers"]["authorization"] == BEARER["chat"]

    @pytest.mark.parametrize("value", [None, "Bearer wrong", f"Bearer {DIGEST}", "Basic eA=="])
    def test_http_without_a_known_token_is_refused(self, lab: EdgeLab, value: str | None) -> None:
        headers: dict[str, Any] = {"authorization": value} if value else {}
        answer = lab.ask(lab.port(OTLP, Port.OTLP_HTTP), "POST", "/v1/traces", b"{}", **headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")

    @pytest.mark.parametrize("token", [None, "wrong"])
    def test_grpc_without_a_known_token_is_refused(self, lab: EdgeLab, token: str | None) -> None:
        assert refusal(lab, token=token).code() is grpc.StatusCode.UNAUTHENTICATED

    def test_no_token_is_ever_logged(self, lab: EdgeLab) -> None:
        send(lab)
        lines = lab.log(OTLP)
        assert '"app": "chat"' in lines
        assert not [token for token in TOKENS.values() if token in lines]


class TestWhatIsTaken:
    def test_logs_are_refused_with_a_sentence(self, lab: EdgeLab) -> None:
        answer = send(lab, path="/v1/logs")
        assert answer.status == 404
        assert "logs are not taken" in answer.json["message"]

    def test_grpc_logs_are_unimplemented_with_a_sentence(self, lab: EdgeLab) -> None:
        refused = refusal(lab, method="/opentelemetry.proto.collector.logs.v1.LogsService/Export")
        assert refused.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "logs are not taken" in str(refused.details())

    def test_a_get_is_told_to_post(self, lab: EdgeLab) -> None:
        answer = lab.ask(lab.port(OTLP, Port.OTLP_HTTP), "GET", "/v1/traces", authorization=BEARER["chat"])
        assert (answer.status, answer.headers["allow"]) == (405, "POST")

    def test_a_body_over_the_limit_is_refused_before_it_is_sent(self, lab: EdgeLab) -> None:
        port = lab.port(OTLP, Port.OTLP_HTTP)
        raw = socket.create_connection(("127.0.0.1", port), timeout=10)
        with lab.authority.trust.wrap_socket(raw, server_hostname="127.0.0.1") as connection:
            head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nAuthorization: {BEARER['chat']}\r\n"
            connection.sendall(f"{head}Content-Length: {LIMITS.body_bytes + 1}\r\n\r\n".encode())
            assert connection.recv(100).split()[1] == b"413"

    def test_a_body_at_the_limit_passes(self, lab: EdgeLab) -> None:
        assert send(lab, body=bytes(LIMITS.body_bytes)).json["size"] == LIMITS.body_bytes

    def test_a_grpc_message_over_the_limit_is_refused_for_good(self, lab: EdgeLab) -> None:
        refused = refusal(lab, bytes(LIMITS.body_bytes + 1))
        assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT


class TestLimits:
    def test_one_application_is_limited_while_another_is_not(self, lab: EdgeLab) -> None:
        statuses = [send(lab, "slow").status for _ in range(12)]
        assert statuses == [200] * 10 + [429] * 2
        assert send(lab, "chat").status == 200
        assert send(lab, "slow").headers["retry-after"] == "2"

    def test_a_limited_grpc_export_is_told_when_to_send_again(self, lab: EdgeLab) -> None:
        eventually(lambda: send(lab, "slow").status == 429, "the limit of requests per second", 10)
        refused = refusal(lab, token=TOKENS["slow"])
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        told = {item.key for item in refused.trailing_metadata()}
        assert {"grpc-status-details-bin", "google.rpc.retryinfo-bin"} <= told

    def test_bytes_are_limited(self, lab: EdgeLab) -> None:
        assert send(lab, "thin", bytes(20_000)).status == 200
        assert send(lab, "thin").status == 429


class TestPlaintext:
    @pytest.mark.parametrize("port", [Port.OTLP_GRPC, Port.OTLP_HTTP, Port.PHOENIX])
    def test_otlp_in_plaintext_is_refused_with_a_sentence(self, lab: EdgeLab, port: int) -> None:
        answer = lab.ask(lab.port(OTLP, port), "POST", "/v1/traces", b"{}", plain=True, authorization=BEARER["chat"])
        assert answer.status == 400
        assert "OTLP over TLS only" in answer.json["message"]

    def test_a_plaintext_grpc_client_reads_the_sentence(self, lab: EdgeLab) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{lab.port(OTLP, Port.OTLP_GRPC)}") as channel:
            call = channel.unary_unary(TRACE_EXPORT, request_serializer=bytes, response_deserializer=bytes)
            with pytest.raises(grpc.RpcError) as caught:
                call(b"x", timeout=10)
        assert "OTLP over TLS only" in str(caught.value.details())

    @pytest.mark.parametrize("port", [Port.PHOENIX, Port.GRAFANA_EDGE, Port.PROMETHEUS, Port.ALERTMANAGER])
    def test_an_interface_redirects_to_the_same_address_over_tls(self, lab: EdgeLab, port: int) -> None:
        published = lab.port(UI, port)
        answer = lab.ask(published, path="/a?b=1", plain=True)
        assert (answer.status, answer.headers["location"]) == (307, f"https://127.0.0.1:{published}/a?b=1")

    def test_a_plaintext_post_to_an_interface_is_not_redirected(self, lab: EdgeLab) -> None:
        assert lab.ask(lab.port(UI, Port.PHOENIX), "POST", "/auth/login", b"{}", plain=True).status == 400

    def test_tls_below_1_2_is_refused(self, lab: EdgeLab) -> None:
        old = ssl.create_default_context(cadata=lab.authority.pem)
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with (
            socket.create_connection(("127.0.0.1", lab.port(OTLP, Port.OTLP_HTTP)), timeout=10) as raw,
            pytest.raises(ssl.SSLError),
        ):
            old.wrap_socket(raw, server_hostname="127.0.0.1")


class TestPhoenixPort:
    """6006 of edge-otlp takes spans alone; 6006 of edge-ui is Phoenix, and spans take the ingest path."""

    @pytest.mark.parametrize("edge", [OTLP, UI])
    def test_spans_take_the_ingest_path(self, lab: EdgeLab, edge: str) -> None:
        answer = lab.ask(lab.port(edge, Port.PHOENIX), "POST", "/v1/traces", b"{}", authorization=BEARER["chat"])
        got = answer.json
        assert (got["port"], got["headers"]["x-agentstack-application"]) == (Port.OTLP_HTTP, "chat")

    @pytest.mark.parametrize("edge", [OTLP, UI])
    @pytest.mark.parametrize("path", ["/v1/traces", "/v1/%74races"])
    def test_spans_without_a_token_are_refused_however_the_path_is_written(
        self, lab: EdgeLab, edge: str, path: str
    ) -> None:
        assert lab.ask(lab.port(edge, Port.PHOENIX), "POST", path, b"{}").status in {401, 404}

    @pytest.mark.parametrize("path", ["/metrics", "/%6detrics", "/metrics/", "/v1/traces/", "/v1/traces/x"])
    def test_what_is_closed_answers_404(self, lab: EdgeLab, path: str) -> None:
        assert lab.ask(lab.port(UI, Port.PHOENIX), path=path, authorization=BEARER["chat"]).status == 404

    def test_health_is_phoenix_readiness(self, lab: EdgeLab) -> None:
        assert lab.ask(lab.port(UI, Port.PHOENIX), path="/health").json["path"] == "/readyz"

    def test_edge_otlp_is_ready_with_a_collector_and_shows_nothing_of_phoenix(self, lab: EdgeLab) -> None:
        port = lab.port(OTLP, Port.PHOENIX)
        assert lab.ask(port, path="/health").status == 200
        answer = lab.ask(port, path="/graphql")
        assert answer.status == 404
        assert b"only POST /v1/traces" in answer.body


class TestBrowsers:
    def test_preflight_of_an_allowed_origin_is_answered(self, lab: EdgeLab) -> None:
        answer = lab.ask(
            lab.port(OTLP, Port.OTLP_HTTP),
            "OPTIONS",
            "/v1/traces",
            origin=ORIGIN,
            access_control_request_method="POST",
            access_control_request_headers="authorization,content-type",
        )
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert {"authorization", "content-type"} <= set(answer.headers["access-control-allow-headers"].split(", "))

    @pytest.mark.parametrize("method", ["OPTIONS", "POST"])
    def test_a_foreign_origin_is_refused(self, lab: EdgeLab, method: str) -> None:
        port = lab.port(OTLP, Port.OTLP_HTTP)
        answer = lab.ask(
            port, method, "/v1/traces", b"{}", origin="https://evil.example.net", authorization=BEARER["chat"]
        )
        assert answer.status == 403
        assert "access-control-allow-origin" not in answer.headers

    def test_an_allowed_origin_may_read_the_answer_even_of_a_refusal(self, lab: EdgeLab) -> None:
        accepted = send(lab, origin=ORIGIN)
        refused = lab.ask(lab.port(OTLP, Port.OTLP_HTTP), "POST", "/v1/traces", b"{}", origin=ORIGIN)
        assert (accepted.status, refused.status) == (200, 401)
        assert {a.headers["access-control-allow-origin"] for a in (accepted, refused)} == {ORIGIN}

    @pytest.mark.parametrize(
        ("origin", "status"), [("https://evil.example.net", 403), ("null", 403), (ORIGIN, 200), ("own", 200)]
    )
    def test_a_page_of_another_origin_can_change_nothing(self, lab: EdgeLab, origin: str, status: int) -> None:
        port = lab.port(UI, Port.PHOENIX)
        origin = f"https://127.0.0.1:{port}" if origin == "own" else origin
        assert lab.ask(port, "POST", "/graphql", b"{}", origin=origin).status == status

    def test_hsts_is_for_public_names_alone(self, lab: EdgeLab) -> None:
        port = lab.port(UI, Port.PHOENIX)
        assert "max-age" in lab.ask(port, host=PUBLIC_NAME).headers["strict-transport-security"]
        assert "strict-transport-security" not in lab.ask(port).headers

    def test_static_assets_are_served_from_the_cache(self, lab: EdgeLab) -> None:
        served = {lab.ask(lab.port(UI, Port.PHOENIX), path="/assets/a.js").json["assets_served"] for _ in range(3)}
        assert len(served) == 1


class TestInterfaces:
    def test_each_port_is_its_own_interface(self, lab: EdgeLab) -> None:
        admin = "Basic YWRtaW46cmlnaHQ="
        ports = {Port.PHOENIX: 6006, Port.GRAFANA_EDGE: 3000, Port.PROMETHEUS: 9090, Port.ALERTMANAGER: 9093}
        got = {port: lab.ask(lab.port(UI, port), authorization=admin).json["port"] for port in ports}
        assert got == ports

    def test_logins_are_limited_and_other_pages_stay_open(self, lab: EdgeLab) -> None:
        port = lab.port(UI, Port.GRAFANA_EDGE)
        statuses = [lab.ask(port, "POST", "/%6cogin", b"{}").status for _ in range(LIMITS.logins_per_minute + 1)]
        assert statuses == [200] * LIMITS.logins_per_minute + [429]
        assert lab.ask(port, path="/dashboards").status == 200

    def test_guessing_passwords_is_limited(self, lab: EdgeLab) -> None:
        port = lab.port(UI, Port.ALERTMANAGER)
        tries = LIMITS.refused_passwords_per_minute + 2
        statuses = [lab.ask(port, authorization="Basic YWRtaW46d3Jvbmc=").status for _ in range(tries)]
        assert statuses == [401] * (tries - 1) + [429]
        assert lab.ask(port).status == 401

    @pytest.mark.parametrize("path", ["/-/quit", "/-/reload", "/%2D/reload", "/api/v1/admin/tsdb/snapshot"])
    def test_prometheus_is_not_administered_through_the_edge(self, lab: EdgeLab, path: str) -> None:
        assert lab.ask(lab.port(UI, Port.PROMETHEUS), "POST", path, b"").status == 403

    def test_the_backend_learns_who_asks_and_not_from_the_client(self, lab: EdgeLab) -> None:
        forged: dict[str, Any] = {
            "x_forwarded_for": "192.0.2.1",
            "forwarded": "for=192.0.2.1",
            "x_webauth_user": "admin",
        }
        got = lab.ask(lab.port(UI, Port.GRAFANA_EDGE), **forged).json["headers"]
        gateway = lab.gateway("application")
        assert (got["x-forwarded-for"], got["x-forwarded-proto"]) == (gateway, "https")
        assert not {"forwarded", "x-webauth-user"} & set(got)


class TestNetworks:
    @pytest.mark.parametrize("edge", [OTLP, UI])
    def test_metrics_are_for_who_knows_the_password(self, lab: EdgeLab, edge: str) -> None:
        address = lab.address(edge, "monitoring")
        assert lab.ask(Port.EDGE_METRICS, path="/metrics", address=address).status == 401
        for path, series in {
            "/metrics?no-maint=": b"haproxy_backend_active_servers{",
            "/metrics/applications": b'edge_application_accepted_total{application="chat"} ',
        }.items():
            answer = lab.ask(Port.EDGE_METRICS, path=path, address=address, authorization=lab.scraper(SCRAPE_PASSWORD))
            assert answer.status == 200
            assert series in answer.body

    def test_series_per_application_count_what_happened(self, lab: EdgeLab) -> None:
        before, unknown_before = self._series(lab)
        send(lab)
        lab.ask(lab.port(OTLP, Port.OTLP_HTTP), "POST", "/v1/traces", b"{}")
        after, unknown_after = self._series(lab)
        assert (after - before, unknown_after - unknown_before) == (1, 1)

    @staticmethod
    def _series(lab: EdgeLab) -> tuple[int, int]:
        text = lab.ask(
            Port.EDGE_METRICS,
            path="/metrics/applications",
            address=lab.address(OTLP, "monitoring"),
            authorization=lab.scraper(SCRAPE_PASSWORD),
        ).body.decode()
        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        accepted = values['edge_application_accepted_total{application="chat"}']
        return int(accepted), int(values["edge_unknown_token_requests_total"])

    @pytest.mark.parametrize("network", ["application", "phoenix"])
    def test_metrics_are_on_monitoring_network_alone(self, lab: EdgeLab, network: str) -> None:
        assert not lab.answers(lab.address(OTLP, network), Port.EDGE_METRICS)

    @pytest.mark.parametrize(("edge", "port"), [(OTLP, Port.OTLP_HTTP), (UI, Port.PHOENIX)])
    def test_ports_are_not_served_on_phoenix_network(self, lab: EdgeLab, edge: str, port: int) -> None:
        assert not lab.answers(lab.address(edge, "phoenix"), port)
        assert lab.answers(lab.address(edge, "application"), port)

    def test_one_source_can_hold_so_many_connections_and_no_more(self, lab: EdgeLab) -> None:
        address, source = lab.address(OTLP, "application"), lab.gateway("phoenix")
        held = [lab.connect(address, Port.OTLP_HTTP, source) for _ in range(LIMITS.connections_per_source)]
        try:
            assert all(held)
            assert lab.connect(address, Port.OTLP_HTTP, source) is None
            assert send(lab).status == 200
        finally:
            for connection in held:
                if connection:
                    connection.close()

    def test_sources_that_are_not_allowed_are_refused(self, lab: EdgeLab) -> None:
        elsewhere = lab.gateway("phoenix")
        for name, allowed, answers in (("no", "192.0.2.0/24", False), ("yes", f"{elsewhere}/32", True)):
            edge = lab.describe(Service.EDGE_OTLP, allowed_sources=(allowed,))
            called = lab.start(edge, Port.OTLP_HTTP, name=f"sources-{name}")
            address = lab.address(called, "application")
            assert lab.answers(address, Port.OTLP_HTTP, source=elsewhere) is answers
            assert lab.answers(address, Port.OTLP_HTTP)


class TestLife:
    @pytest.mark.parametrize("service", [Service.EDGE_OTLP, Service.EDGE_UI])
    def test_the_configuration_is_valid_without_a_warning(self, lab: EdgeLab, service: Service) -> None:
        said = docker("exec", lab.container(service), "haproxy", "-c", "-f", f"{CONFIG_DIR}/haproxy.cfg")
        assert "WARNING" not in said
        assert "ALERT" not in said

    def test_a_reload_takes_up_a_new_token_and_loses_no_request(self, lab: EdgeLab) -> None:
        stop = threading.Event()

        def http_requests() -> list[int]:
            statuses = []
            while not stop.is_set():
                statuses.append(send(lab).status)
            return statuses

        def grpc_exports() -> list[int]:
            sizes = []
            credentials = grpc.ssl_channel_credentials(lab.authority.pem.encode())
            with grpc.secure_channel(f"127.0.0.1:{lab.port(OTLP, Port.OTLP_GRPC)}", credentials) as channel:
                call = channel.unary_unary(TRACE_EXPORT, request_serializer=bytes, response_deserializer=bytes)
                while not stop.is_set():
                    sizes.append(len(call(b"x", metadata=(("authorization", BEARER["chat"]),), timeout=15)))
            return sizes

        assert send(lab, "chat").status == 200
        assert lab.probe(OTLP).startswith("ok ")
        port = lab.port(OTLP, Port.OTLP_HTTP)
        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(http_requests), pool.submit(http_requests), pool.submit(grpc_exports)]
            try:
                rotated = lab.live_files(TOKENS) | {
                    maps.APPLICATIONS_MAP: maps.applications_map(
                        {"chat": tuple(maps.token_digest(token) for token in (TOKENS["chat"], "new-token"))}
                    )
                }
                lab.carry(f"{OTLP}-live", LIVE_DIR, rotated)
                before = lab.ask(port, "POST", "/v1/traces", b"{}", authorization="Bearer new-token").status
                lab.reload(OTLP)
                after = lab.ask(port, "POST", "/v1/traces", b"{}", authorization="Bearer new-token").status
                time_for_the_old_worker_to_end(lab)
            finally:
                stop.set()
            statuses = [status for future in running[:2] for status in future.result()]
            exports = running[2].result()
        assert (before, after) == (401, 200)
        assert set(statuses) == {200}
        assert len(exports) > 20
        assert "collector1: IP changed from '(none)'" not in lab.log(OTLP).rsplit("Reloading HAProxy", 1)[1]

    def test_a_worker_that_was_reloaded_finds_replicas_added_later(self, lab: EdgeLab) -> None:
        """The kept state names seven free slots as down: they must still be there for whoever comes."""

        def up() -> int:
            address, password = lab.address(OTLP, "monitoring"), lab.scraper(SCRAPE_PASSWORD)
            page = lab.ask(Port.EDGE_METRICS, path="/metrics", address=address, authorization=password)
            found = re.findall(rb'haproxy_backend_active_servers\{proxy="otlp_http"\} (\d+)', page.body)
            return int(found[0])

        assert "Reloading HAProxy" in lab.log(OTLP), "the test before this one reloads"
        assert up() == 1
        lab.backend("another")
        try:
            eventually(lambda: up() == 2, "both replicas are used", 30)
        finally:
            lab.remove("another")
        eventually(lambda: up() == 1, "the one that left is not", 30)

    def test_the_health_check_reloads_by_itself_once_live_files_changed(self, lab: EdgeLab) -> None:
        assert lab.probe(UI).startswith("ok ")
        loads = lab.log(UI).count("Loading success")
        tokens = TOKENS | {"chat": "another-token"}
        lab.carry(f"{UI}-live", LIVE_DIR, lab.live_files(tokens))
        said = [lab.probe(UI) for _ in range(3)]
        assert [line for line in said if "sent SIGUSR2" in line], said
        eventually(lambda: lab.log(UI).count("Loading success") == loads + 1, "one reload", 20)
        port = lab.port(UI, Port.PHOENIX)

        def status(token: str) -> int:
            return lab.ask(port, "POST", "/v1/traces", b"{}", authorization=f"Bearer {token}").status

        eventually(lambda: status("another-token") == 200, "the new token is known", 20)
        assert status(TOKENS["chat"]) == 401

    def test_a_stop_lets_requests_end(self, lab: EdgeLab) -> None:
        called = lab.start(lab.describe(Service.EDGE_UI), Port.PHOENIX, name="stopping")
        port = lab.port(called, Port.PHOENIX)
        eventually(lambda: lab.ask(port, path="/health").status == 200, "Phoenix behind the edge")
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(lab.ask, port, "GET", "/slow")
            eventually(lab.backend_is_busy, "the slow request is under way", 10)
            started = time.monotonic()
            lab.stop(called)
            assert slow.result().status == 200
        assert time.monotonic() - started < 30
        assert lab.exit_code(called) == 0


def time_for_the_old_worker_to_end(lab: EdgeLab) -> None:
    """Until one master and one worker are left."""

    def workers() -> int:
        return len(docker("top", lab.container(OTLP), "-o", "pid,comm").split("haproxy")) - 1

    eventually(lambda: workers() <= 2, "the old worker ends", 45)
