"""Who may not in, and what is limited: no token, wrong token, no trust, plaintext, too large, too many."""

import datetime as dt
import socket
import ssl

import grpc
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.stack import StackUnderTest, poll
from tests.e2e.telemetry import grpc_channel, llm_span, request, send_grpc, send_http

pytestmark = pytest.mark.e2e

ONE = request("refusals", [llm_span()])


def foreign_ca() -> bytes:
    """PEM of a CA that signed nothing here."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a foreign CA")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize("token", [None, "wrong", "Bearer"])
def test_http_without_a_known_token_is_refused(stack: StackUnderTest, token: str | None) -> None:
    assert send_http(stack, ONE, token).status_code == httpx.codes.UNAUTHORIZED


@pytest.mark.parametrize("token", [None, "wrong"])
def test_grpc_without_a_known_token_is_refused(stack: StackUnderTest, token: str | None) -> None:
    with grpc_channel(stack) as channel, pytest.raises(grpc.RpcError) as caught:
        send_grpc(channel, ONE, token)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_client_that_trusts_another_ca_gets_no_connection(stack: StackUnderTest) -> None:
    stranger = ssl.create_default_context(cadata=foreign_ca().decode())
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        send_http(stack, ONE, stack.token("chat"), trust=stranger)
    with grpc_channel(stack, ca=foreign_ca()) as channel, pytest.raises(grpc.RpcError) as caught:
        send_grpc(channel, ONE, stack.token("chat"), timeout=5)
    assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("key", ["phoenix", "grafana", "prometheus", "alertmanager", "otlp_grpc", "otlp_http"])
def test_no_port_speaks_tls_below_1_2(stack: StackUnderTest, key: str) -> None:
    url = httpx.URL(stack.endpoint(key))
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection((url.host, url.port or 0), timeout=10) as plain,
        pytest.raises((ssl.SSLError, OSError)),
    ):
        old.wrap_socket(plain)


def test_plaintext_on_an_otlp_port_is_answered_with_a_sentence(stack: StackUnderTest) -> None:
    url = stack.endpoint("otlp_http").replace("https", "http")
    answer = httpx.post(f"{url}/v1/traces", content=b"", timeout=10, trust_env=False)
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert "https" in answer.text.lower()


@pytest.mark.parametrize("key", ["phoenix", "grafana", "prometheus", "alertmanager"])
def test_plaintext_on_a_ui_port_is_sent_to_https(stack: StackUnderTest, key: str) -> None:
    url = stack.endpoint(key).replace("https", "http")
    answer = httpx.get(f"{url}/", timeout=10, trust_env=False)
    assert answer.is_redirect
    assert answer.headers["location"].startswith(stack.endpoint(key))


def test_an_oversize_body_is_refused(stack: StackUnderTest) -> None:
    large = request("refusals", [llm_span(size=17 * 1024 * 1024)])
    assert send_http(stack, large, stack.token("chat")).status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE
    with grpc_channel(stack) as channel, pytest.raises(grpc.RpcError) as caught:
        send_grpc(channel, large, stack.token("chat"))
    assert caught.value.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}


def test_one_applications_burst_is_limited_and_another_is_not(stack: StackUnderTest) -> None:
    with httpx.Client(verify=stack.trust, timeout=30, trust_env=False) as client:
        burst = [send_http(stack, ONE, stack.token("limited"), client=client) for _ in range(40)]
        other = [send_http(stack, ONE, stack.token("chat"), client=client) for _ in range(40)]
    refused = [answer for answer in burst if answer.status_code == httpx.codes.TOO_MANY_REQUESTS]
    assert refused
    assert {answer.headers["retry-after"] for answer in refused} <= {"1", "2"}
    assert {answer.status_code for answer in other} == {httpx.codes.OK}


def test_logs_are_refused_with_a_sentence(stack: StackUnderTest) -> None:
    with stack.client("otlp_http") as client:
        answer = client.post(
            "/v1/logs", json={"resourceLogs": []}, headers={"authorization": f"Bearer {stack.token('chat')}"}
        )
    assert answer.status_code in {httpx.codes.NOT_FOUND, httpx.codes.NOT_IMPLEMENTED}
    assert "logs" in answer.text


@pytest.mark.parametrize("key", ["prometheus", "alertmanager", "grafana"])
def test_a_ui_without_a_login_tells_nothing(stack: StackUnderTest, key: str) -> None:
    path = {"prometheus": "/api/v1/targets", "alertmanager": "/api/v2/status", "grafana": "/api/datasources"}[key]
    with stack.client(key) as client:
        assert client.get(path).status_code == httpx.codes.UNAUTHORIZED
        assert client.get(path, auth=("admin", "admin")).status_code == httpx.codes.UNAUTHORIZED


def test_phoenix_without_a_login_tells_nothing(stack: StackUnderTest) -> None:
    with stack.client("phoenix") as client:
        assert client.get("/v1/projects").status_code == httpx.codes.UNAUTHORIZED
        default = client.post("/auth/login", json={"email": "admin@localhost", "password": "admin"})
        assert default.status_code == httpx.codes.UNAUTHORIZED


def test_the_printed_login_opens_phoenix(stack: StackUnderTest) -> None:
    login = stack.outputs["credentials"]["phoenix"]
    with stack.client("phoenix") as client:
        answer = client.post("/auth/login", json={"email": login["email"], "password": login["password"]})
    assert answer.status_code == httpx.codes.NO_CONTENT
    assert all("Secure" in cookie and "HttpOnly" in cookie for cookie in answer.headers.get_list("set-cookie"))


def test_a_foreign_origin_is_refused_and_an_allowed_one_is_not(stack: StackUnderTest) -> None:
    secret = stack.outputs["credentials"]["phoenix"]["admin_secret"]
    with stack.client("phoenix", headers={"authorization": f"Bearer {secret}"}) as client:
        foreign = client.get("/v1/projects", headers={"origin": "https://evil.example"})
        allowed = client.get("/v1/projects", headers={"origin": "https://app.example.org"})
    assert foreign.status_code == httpx.codes.UNAUTHORIZED
    assert allowed.status_code == httpx.codes.OK
    assert allowed.headers["access-control-allow-origin"] == "https://app.example.org"
    assert "access-control-allow-origin" not in foreign.headers


def test_metrics_are_closed_on_the_phoenix_port_and_health_is_readiness(stack: StackUnderTest) -> None:
    with stack.client("phoenix") as client:
        assert client.get("/metrics").status_code == httpx.codes.NOT_FOUND
        poll(lambda: client.get("/health").status_code == httpx.codes.OK, 30, "/health")
