"""Which commands of the guide the tests run, and how they are turned to another stack."""

from pathlib import Path

import pytest

from tests.e2e.guide_commands import commands, on_stack

pytestmark = pytest.mark.unit

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "guide.md").read_text()
PORTS = {
    "phoenix": 16006,
    "grafana": 13001,
    "prometheus": 19090,
    "alertmanager": 19093,
    "otlp_grpc": 14317,
    "otlp_http": 14318,
}
ENDPOINTS = {name: f"https://localhost:{port}" for name, port in PORTS.items()}


def test_every_block_that_only_looks_is_run() -> None:
    """What is not run changes the host, needs an image of the reader's, or prints secrets."""
    blocks = [block.split("```")[0] for block in PAGE.split("```bash\n")[1:]]
    run = {command.text for command in commands(PAGE)}
    left = [block.strip() for block in blocks if block.rstrip("\n") not in run]
    allowed = (
        "export PATH",
        'eval "$(',
        "agentstack connect checkout",
        "cp .agentstack",
        "iptables",
        "agentstack outputs --show-secrets",
    )
    assert [block for block in left if not block.startswith(allowed)] == []


def test_commands_are_turned_to_another_stack() -> None:
    text = "docker logs agentstack-dev-phoenix; curl --cacert .agentstack/dev/ca.crt https://localhost:4318/v1/traces"
    assert on_stack(text, "e2e", ENDPOINTS) == (
        "docker logs agentstack-e2e-phoenix; curl --cacert .agentstack/e2e/ca.crt https://localhost:14318/v1/traces"
    )


def test_what_the_output_must_hold_is_read() -> None:
    page = 'x\n<!-- run: "200" -->\n```bash\ncurl y\n```\n<!-- run -->\n```bash\nls\n```\n'
    assert [(command.line, command.text, command.expected) for command in commands(page)] == [
        (2, "curl y", "200"),
        (6, "ls", ""),
    ]


def test_a_marker_without_a_block_is_a_fault() -> None:
    with pytest.raises(ValueError, match="1 markers, but 0"):
        list(commands("<!-- run -->\n\n```bash\nls\n```\n"))


def test_no_command_names_the_default_stack_where_it_can_not_be_replaced() -> None:
    for command in commands(PAGE):
        turned = on_stack(command.text, "e2e", ENDPOINTS)
        assert "dev" not in turned.replace("/dev/", ""), command
