"""`drift` and `repair`: is what runs what was declared, and if not, make it so."""

import subprocess
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from agentstack import console, engine, project
from agentstack.commands.observe import JsonOption
from agentstack.errors import CommandError, ExitCode

HEALTHY_SECONDS: Final = 300
STEP_SECONDS: Final = 300
"""The longest that one step on the engine may take: stopping a database takes its time."""
POLL_SECONDS: Final = 2


def _table(report: Any) -> Table:
    table = Table(title=f"drift of stack {report.stack}", title_justify="left", show_lines=True)
    for heading in ("kind", "resource", "expected", "actual", "since", "repair"):
        table.add_column(heading, overflow="fold")
    for finding in report.findings:
        row = finding.as_json()
        table.add_row(*(str(row[key] or "") for key in ("kind", "resource", "expected", "actual", "since", "repair")))
    return table


def drift(
    stack: project.StackOption = project.DEFAULT_STACK,
    as_json: JsonOption = False,
    github: Annotated[
        bool, typer.Option("--github", help="Also write the job summary and keep one GitHub issue per stack (by gh).")
    ] = False,
) -> None:
    """Compare declaration, state and engine; change nothing. Exit 0 clean, 7 drift, 1 could not tell."""
    from agentstack.drift import ticket
    from agentstack.drift.check import check

    try:
        report, _ = check(stack, project.root())
    except CommandError as error:
        untold: dict[str, Any] = {"stack": stack, "clean": None, "findings": [], "error": error.what}
        if as_json:
            console.print_json(untold)
        if github:
            ticket.tell(untold)
        raise
    if as_json:
        console.print_json(report.as_json())
    elif report.clean:
        console.out().print(f"stack {stack}: everything is as declared")
    else:
        console.out().print(_table(report))
        console.err.print(f"`agentstack repair --stack {stack}` shows what would mend it, and asks.")
    if github:
        ticket.tell(report.as_json())
    if not report.clean:
        raise typer.Exit(ExitCode.DRIFT)


def repair(
    stack: project.StackOption = project.DEFAULT_STACK,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    remove: Annotated[
        list[str] | None,
        typer.Option("--remove", metavar="NAME", help="A foreign container or network that may be removed."),
    ] = None,
) -> None:
    """Show what mends the drift, ask, and mend the findings' resources and what depends on them; nothing else.

    A foreign container or network is removed only when --remove names it; a volume never is.
    """
    from agentstack.drift.check import check
    from agentstack.drift.repair import plan

    checkout = project.root()
    report, declared = check(stack, checkout)
    if report.clean:
        console.out().print(f"stack {stack}: everything is as declared, nothing to repair")
        return
    planned = plan(report.findings, declared, remove or ())
    console.out().print(_table(report))
    for line in planned.lines():
        console.out().print(f"- {line}", markup=False)
    for line in planned.left:
        console.err.print(f"left to you: {line}", markup=False, soft_wrap=True)
    if not planned.empty:
        if not yes and not typer.confirm("Do this?"):
            raise typer.Exit(ExitCode.DRIFT)
        for step in (*planned.engine, *planned.removals):
            engine.docker(*step.command[1:], timeout_seconds=STEP_SECONDS)
        if planned.targets:
            _pulumi(stack, checkout, planned.pulumi())
        _await_healthy(stack)
    after, _ = check(stack, checkout)
    if after.clean:
        console.out().print(f"stack {stack}: everything is as declared")
        return
    console.out().print(_table(after))
    raise typer.Exit(ExitCode.DRIFT)


def _pulumi(stack: str, checkout: Path, arguments: list[str]) -> None:
    """Run Pulumi on the targets, its output shown; the stack file stays as it is."""
    stack_file = checkout / f"Pulumi.{stack}.yaml"
    before = stack_file.read_bytes() if stack_file.is_file() else None
    try:
        done = subprocess.run(
            ["pulumi", *arguments, "--stack", stack, "--non-interactive", "--color", "never"],
            check=False,
            cwd=checkout,
            env=project.environment(checkout),
        )
    finally:
        if before is not None and stack_file.read_bytes() != before:
            stack_file.write_bytes(before)
    if done.returncode:
        raise CommandError(
            f"stack {stack!r}: the repair by pulumi failed", "see its message above; the repair can be run again"
        )


def _await_healthy(stack: str) -> None:
    """Wait for what was started: a targeted `up` with a refresh would bless a container that never gets well."""
    deadline = time.monotonic() + HEALTHY_SECONDS
    with console.err.status("waiting for health"):
        while time.monotonic() < deadline:
            states = [container for container in engine.containers(stack).values() if container.role == "service"]
            if all(container.health in {None, "healthy", "unhealthy"} for container in states):
                return
            time.sleep(POLL_SECONDS)


def register(app: typer.Typer) -> None:
    """Add this family to the command line."""
    app.command("drift")(drift)
    app.command("repair")(repair)
