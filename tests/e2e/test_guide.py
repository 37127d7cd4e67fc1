"""The guide's commands do what the guide says, as they stand there."""

import os
from pathlib import Path

import pytest

from tests.e2e.guide_commands import Command, commands, on_stack
from tests.e2e.stack import ROOT, StackUnderTest, poll

pytestmark = pytest.mark.e2e

PAGES = ("docs/guide.md",)
BLOCKS = [(page, command) for page in PAGES for command in commands((ROOT / page).read_text())]


def names(value: object) -> str:
    return f"line-{value.line}" if isinstance(value, Command) else str(value)


def run(stack: StackUnderTest, text: str) -> tuple[int, str, str]:
    """A command as a reader's shell would run it, after `export PATH="$PWD/.venv/bin:$PATH"`."""
    path = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{stack.environment['PATH']}"
    endpoints = {key: stack.endpoint(key) for key in stack.outputs["endpoints"]}
    done = stack.run(
        "/bin/bash",
        "-o",
        "pipefail",
        "-c",
        f'export PATH="{path}"\n{on_stack(text, stack.name, endpoints)}',
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(("page", "command"), BLOCKS, ids=names)
def test_a_command_of_the_guide_works(stack: StackUnderTest, page: str, command: Command) -> None:
    code, out, err = run(stack, command.text)
    assert code == 0, f"{page}:{command.line}\n{out}\n{err}"
    assert command.expected in out


def test_the_guides_python_lines_send_a_span(stack: StackUnderTest, tmp_path: Path) -> None:
    """With the environment of `agentstack connect`, OpenTelemetry's own exporter needs no argument at all."""
    project = f"guide-{os.urandom(3).hex()}"
    program = tmp_path / "send.py"
    program.write_text(
        "from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter\n"
        "from opentelemetry.sdk.resources import Resource\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import SimpleSpanProcessor\n"
        f"provider = TracerProvider(resource=Resource.create({{'openinference.project.name': '{project}'}}))\n"
        "provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))\n"
        "with provider.get_tracer('guide').start_as_current_span('hello'):\n"
        "    pass\n"
    )
    code, out, err = run(stack, f'eval "$(agentstack connect default)"\npython {program}')
    assert code == 0, f"{out}\n{err}"
    spans = poll(lambda: stack.spans(project), 60, "the span in Phoenix")
    assert [span["name"] for span in spans] == ["hello"]
