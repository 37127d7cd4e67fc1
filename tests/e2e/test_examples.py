"""The application side: the examples run in containers on application-network, and their spans stand in Phoenix.

They get what `agentstack connect` prints and nothing else; the guide's Python snippet runs as it stands there.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e import examples
from tests.e2e.stack import StackUnderTest, poll

pytestmark = pytest.mark.e2e

PROJECT: Final = "agentstack-production"
ANSWER: Final = "This is a canned answer of the fake OpenAI API: no model was asked."
GUIDE_SNIPPET: Final = """
from phoenix.otel import register
import litellm
import os

# Configure Phoenix tracer
tracer_provider = register(
    project_name="agentstack-production",
    auto_instrument=True
)

# Set API keys
os.environ["OPENAI_API_KEY"] = "your-api-key"

# Use LiteLLM with automatic tracing
response = litellm.completion(
    model="gpt-4",
    messages=[{"role": "user", "content": "Hello!"}]
)
"""


@pytest.fixture(scope="module")
def openai(stack: StackUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = examples.copy_of("fake_openai", tmp_path_factory.mktemp("fake") / "app")
    with examples.fake_openai(stack, folder) as url:
        yield {"OPENAI_BASE_URL": url, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def new_spans(stack: StackUnderTest, known: set[str]) -> list[dict[str, Any]]:
    return [span for span in stack.spans(PROJECT) if span["context"]["span_id"] not in known]


def check(span: dict[str, Any], service: str) -> None:
    """Model, tokens, input and output, as an LLM span."""
    kept = span["attributes"]
    assert span["span_kind"] == "LLM"
    assert kept["llm.model_name"] == "gpt-4"
    assert (kept["llm.token_count.prompt"], kept["llm.token_count.completion"]) == (11, 17)
    assert "Hello!" in kept["input.value"]
    assert kept["output.value"] == ANSWER
    assert kept["service.name"] == service


@pytest.mark.parametrize("program", ["app.py", "the guide's snippet"])
def test_python(stack: StackUnderTest, openai: dict[str, str], tmp_path: Path, program: str) -> None:
    folder = examples.copy_of("python", tmp_path / "app")
    if program != "app.py":
        (folder / "app.py").write_text(GUIDE_SNIPPET)
    known = stack.span_ids(PROJECT)
    printed = examples.Application(stack, folder).run(
        "chat",
        [examples.PYTHON, "/app/app.py"],
        {examples.python_packages(): "/packages"},
        {"PYTHONPATH": "/packages", **openai},
    )
    assert stack.token("chat") not in printed
    span = poll(lambda: new_spans(stack, known), 60, "the example's span in Phoenix")
    assert [one["name"] for one in span] == ["completion"]
    check(span[0], "chat")


def test_javascript(stack: StackUnderTest, openai: dict[str, str], tmp_path: Path) -> None:
    known = stack.span_ids(PROJECT)
    printed = examples.Application(stack, examples.copy_of("javascript", tmp_path / "app")).run(
        "chat",
        ["/node/bin/node", "/app/app.js"],
        {examples.node(): "/node", examples.node_packages(): "/node_modules"},
        openai,
    )
    assert printed.strip() == ANSWER
    span = poll(lambda: new_spans(stack, known), 60, "the example's span in Phoenix")
    assert [one["name"] for one in span] == ["chat"]
    check(span[0], "chat")
