"""`make preview`: what `make up` would change, without changing anything.

    python -m tools.preview [--stack NAME] [pulumi preview's own options]

Exit codes: Pulumi's own.
"""

import argparse
import subprocess
import sys

from tools.console import Progress, main
from tools.driver import Stack, untouched
from tools.layout import layout, stack_name


def cli() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.preview", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--stack", help="the stack (default: PULUMI_STACK, then dev)")
    given, rest = parser.parse_known_args()
    stack = Stack(layout(), stack_name(given.stack), Progress())
    stack.select()
    with untouched(stack.file):
        command = ["pulumi", "preview", "--stack", stack.name, "--diff", "--non-interactive", *rest]
        return subprocess.run(command, env=stack.env, cwd=stack.layout.root, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(cli))
