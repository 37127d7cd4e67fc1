"""The commands of a Markdown page that are to be run: each ```bash block after a line `<!-- run -->`.

`<!-- run: "text" -->` also says what the output must hold. Pure.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_BLOCK = re.compile(r'<!-- run(?:: "(?P<expected>[^"]+)")? -->\n```bash\n(?P<text>.*?)\n```', re.DOTALL)


@dataclass(frozen=True)
class Command:
    """One block, and what its output must hold (empty: it must only succeed)."""

    line: int
    text: str
    expected: str


def commands(page: str) -> Iterator[Command]:
    """Every block that is to be run, in order.

    Raises:
        ValueError: when a marker stands before something else than a bash block.
    """
    found = list(_BLOCK.finditer(page))
    markers = len(re.findall(r"^<!-- run.*-->$", page, flags=re.MULTILINE))
    if markers != len(found):
        raise ValueError(f"{markers} markers, but {len(found)} of them stand right before a ```bash block")
    for match in found:
        yield Command(page.count("\n", 0, match.start()) + 1, match["text"], match["expected"] or "")


def on_stack(text: str, stack: str, endpoints: Mapping[str, str]) -> str:
    """The command for another stack than `dev` with its default ports.

    Args:
        endpoints: the stack's endpoints by name.
    """
    defaults = {"phoenix": 6006, "grafana": 3001, "prometheus": 9090, "alertmanager": 9093}
    defaults |= {"otlp_grpc": 4317, "otlp_http": 4318}
    text = text.replace("agentstack-dev-", f"agentstack-{stack}-").replace(".agentstack/dev/", f".agentstack/{stack}/")
    for name, port in defaults.items():
        text = text.replace(f"https://localhost:{port}", endpoints[name])
    return text
