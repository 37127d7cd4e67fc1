"""`psql`: the database's own prompt."""

import sys
from typing import Annotated

import typer

from agentstack import project, psql
from agentstack.commands.observe import one_service
from agentstack.commands.passthrough import replace_process
from agentstack.outputs import read_outputs
from components.names import Service


def run_psql(
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[-- ARGS]", help="Arguments for psql.")] = None,
    stack: project.StackOption = project.DEFAULT_STACK,
    role: Annotated[psql.Role, typer.Option("--role", help="admin may change everything.")] = "reader",
) -> None:
    """Open psql on Phoenix's database; `agentstack psql -- -c 'select 1'` runs one statement."""
    container = one_service(read_outputs(stack), Service.POSTGRES)[0]
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    replace_process(psql.command(container, role, arguments or [], terminal))
