"""What the command makes of the stack's outputs, and of a Pulumi that can't tell them."""

import pytest

from agentstack.errors import CommandError, ExitCode
from agentstack.outputs import HIDDEN, StackOutputs, explain

pytestmark = pytest.mark.unit

RAW = {
    "containers": {
        "postgres": "agentstack-dev-postgres",
        "phoenix": ["agentstack-dev-phoenix", "agentstack-dev-phoenix-2"],
    },
    "endpoints": {"phoenix": "https://localhost:6006", "otlp_http": "https://localhost:4318"},
    "endpoints_internal": {"otlp_grpc": "https://otel-collector:4317"},
    "networks": {"application": "agentstack-dev-application-network"},
    "ca_certificate": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    "stand_ins": ["grafana"],
    "credentials": {
        "grafana": {"username": "admin", "password": "grafana-secret"},
        "phoenix": {"email": "admin@localhost", "password": "phoenix-secret", "admin_secret": "root-of-phoenix"},
        "ingest_tokens": {"agentstack-smoke": "smoke-token", "shop": "shop-token"},
    },
}


@pytest.fixture
def outputs() -> StackOutputs:
    return StackOutputs(stack="dev", raw=RAW)


def test_one_name_and_several_names_of_containers_read_alike(outputs: StackOutputs) -> None:
    assert outputs.containers["postgres"] == ("agentstack-dev-postgres",)
    assert outputs.containers["phoenix"] == ("agentstack-dev-phoenix", "agentstack-dev-phoenix-2")


def test_a_login_is_a_user_name_or_an_address(outputs: StackOutputs) -> None:
    assert outputs.login("grafana").username == "admin"
    assert outputs.login("phoenix").username == "admin@localhost"
    assert outputs.login("phoenix").password == "phoenix-secret"


def test_an_unknown_login_says_whose(outputs: StackOutputs) -> None:
    with pytest.raises(CommandError, match="'prometheus'"):
        outputs.login("prometheus")


def test_every_credential_but_names_is_a_secret(outputs: StackOutputs) -> None:
    assert set(outputs.secrets()) == {
        "grafana-secret",
        "phoenix-secret",
        "root-of-phoenix",
        "smoke-token",
        "shop-token",
    }


def test_outputs_hide_every_secret_unless_asked(outputs: StackOutputs) -> None:
    shown = repr(outputs.shown(show_secrets=False))
    assert all(secret not in shown for secret in outputs.secrets())
    assert "admin@localhost" in shown
    assert HIDDEN in shown
    assert outputs.shown(show_secrets=True) == RAW


def test_a_missing_endpoint_lists_those_there_are(outputs: StackOutputs) -> None:
    with pytest.raises(CommandError, match="no 'grafana'") as caught:
        outputs.endpoint("grafana")
    assert "otlp_http, phoenix" in caught.value.hint


def test_a_stack_that_did_not_finish_says_what_to_do() -> None:
    with pytest.raises(CommandError, match="no output 'containers'") as caught:
        _ = StackOutputs(stack="dev", raw={"endpoints": {}}).containers
    assert "make up" in caught.value.hint


@pytest.mark.parametrize(
    ("message", "what", "code"),
    [
        ("error: no stack named 'staging' found", "no such stack", ExitCode.USAGE),
        (
            'error: constructing secrets manager of type "passphrase": passphrase must be set with PULUMI_CONFIG_...',
            "no passphrase",
            ExitCode.FAILED,
        ),
        (
            "error: unable to read PULUMI_CONFIG_PASSPHRASE_FILE: open /x: no such file or directory",
            "can't be read",
            ExitCode.FAILED,
        ),
        (
            'error: unable to open state directory "file:///x": stat /x: no such file',
            "state directory",
            ExitCode.FAILED,
        ),
        ("error: incorrect passphrase", "not the one", ExitCode.FAILED),
        (
            "error: PULUMI_ACCESS_TOKEN must be set for login during non-interactive CLI sessions",
            "logged in",
            ExitCode.FAILED,
        ),
        ("error: something new", "something new", ExitCode.FAILED),
    ],
)
def test_pulumis_messages_become_advice(message: str, what: str, code: ExitCode) -> None:
    error = explain("staging", message)
    assert what in error.what
    assert "'staging'" in error.what
    assert error.hint
    assert error.code is code
