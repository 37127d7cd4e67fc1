"""`status`, `outputs`, `logs`, `config`: look at the stack, change nothing."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from agentstack import config_view, console, engine, project, status
from agentstack.commands.passthrough import replace_process
from agentstack.errors import CommandError, ExitCode
from agentstack.generated import generated_secrets
from agentstack.outputs import StackOutputs, read_outputs, run_pulumi

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
_COLOURS = {"healthy": "green", "starting": "yellow", "running": "yellow"}


def current_rows(outputs: StackOutputs) -> list[status.Row]:
    """The status rows of a stack, as the engine tells them now.

    Raises:
        CommandError: when the engine can't be asked.
    """
    declared = outputs.containers
    found = engine.containers(outputs.stack)
    ours = [found[name] for names in declared.values() for name in names if name in found]
    return status.rows(
        declared,
        found,
        engine.memory_use([container.name for container in ours if container.status == "running"]),
        engine.image_names([container.image_id for container in ours]),
        outputs.stand_ins,
        datetime.now(UTC),
    )


def status_table(rows: list[status.Row], stack: str) -> Table:
    """The rows for people."""
    table = Table(title=f"stack {stack}", title_justify="left")
    for heading in ("service", "container", "health", "up", "memory", "limit", "restarts", "image"):
        right = heading in {"memory", "limit", "restarts"}
        table.add_column(heading, justify="right" if right else "left", no_wrap=heading != "image", overflow="fold")
    for row in rows:
        colour = _COLOURS.get(row.health, "red")
        table.add_row(
            row.service,
            row.container,
            f"[{colour}]{row.health}[/{colour}]",
            status.duration(row.uptime_seconds),
            status.mebibytes(row.memory_bytes),
            status.mebibytes(row.memory_limit_bytes),
            str(row.restarts),
            f"{row.image} [yellow](stand-in)[/yellow]" if row.stand_in else row.image,
        )
    return table


def show_status(stack: project.StackOption = project.DEFAULT_STACK, as_json: JsonOption = False) -> None:
    """Show every service: healthy, since when, how much memory. Exit 1 when one is not healthy or can't be told."""
    rows = current_rows(read_outputs(stack))
    if as_json:
        console.print_json([row.as_json() for row in rows])
    else:
        console.out().print(status_table(rows, stack))
    sick = status.sick(rows)
    if sick:
        for row in sick:
            console.err.print(f"[red]{row.container} is {row.health}[/red]: see `agentstack logs {row.service}`")
        raise typer.Exit(ExitCode.FAILED)


def show_outputs(
    stack: project.StackOption = project.DEFAULT_STACK,
    as_json: JsonOption = False,
    show_secrets: Annotated[bool, typer.Option("--show-secrets", help="Print passwords and tokens too.")] = False,
) -> None:
    """Show what the stack made: addresses, containers, networks, and (on demand) the logins."""
    shown = read_outputs(stack).shown(show_secrets)
    if as_json:
        console.print_json(shown)
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for key, value in flatten(shown):
        table.add_row(key, value)
    console.out().print(table, markup=False)
    if not show_secrets:
        console.err.print("Logins: `agentstack outputs --show-secrets`.")


def flatten(value: object, prefix: str = "") -> list[tuple[str, str]]:
    """Nested values as dotted keys; long text (a certificate) by its first line."""
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in flatten(item, f"{prefix}.{key}" if prefix else key)]
    if isinstance(value, list):
        return [(prefix, ", ".join(str(item) for item in value))]
    text = str(value)
    return [(prefix, f"{text.splitlines()[0]} ..." if "\n" in text.strip() else text)]


def one_service(outputs: StackOutputs, service: str) -> tuple[str, ...]:
    """The containers of a service.

    Raises:
        CommandError: (usage) when there is no such service; lists those there are.
    """
    declared = outputs.containers
    if service not in declared:
        raise CommandError(
            f"stack {outputs.stack!r} has no service {service!r}",
            f"its services: {', '.join(sorted(declared))}",
            ExitCode.USAGE,
        )
    return declared[service]


def logs(
    service: Annotated[str, typer.Argument(help="A service of `agentstack status`.")],
    stack: project.StackOption = project.DEFAULT_STACK,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing; one replica only.")] = False,
    tail: Annotated[int, typer.Option("--tail", "-n", min=0, help="Last lines; 0 for all.")] = 200,
    since: Annotated[str, typer.Option("--since", help="Such as 10m, 2h or 2026-01-31T12:00:00Z.")] = "",
    replica: Annotated[int, typer.Option("--replica", min=1, help="Which replica.")] = 1,
) -> None:
    """Print a service's log."""
    names = one_service(read_outputs(stack), service)
    if replica > len(names):
        raise CommandError(f"{service} has {len(names)} replica(s)", "", ExitCode.USAGE)
    replace_process(log_command(names[replica - 1], follow, tail, since))


def log_command(container: str, follow: bool, tail: int, since: str) -> list[str]:
    """`docker logs` for a container."""
    options = ["--timestamps", "--tail", str(tail) if tail else "all"]
    options += ["--follow"] if follow else []
    options += ["--since", since] if since else []
    return ["docker", "logs", *options, container]


def show_config(
    service: Annotated[str, typer.Argument(help="A service of `agentstack status`.")],
    stack: project.StackOption = project.DEFAULT_STACK,
    as_json: JsonOption = False,
    replica: Annotated[int, typer.Option("--replica", min=1, help="Which replica.")] = 1,
) -> None:
    """Show what a service runs with: image, command, environment, files. Secrets are taken out."""
    outputs = read_outputs(stack)
    names = one_service(outputs, service)
    if replica > len(names):
        raise CommandError(f"{service} has {len(names)} replica(s)", "", ExitCode.USAGE)
    container = engine.containers(stack).get(names[replica - 1])
    if container is None:
        raise CommandError(f"container {names[replica - 1]} is not on the engine", "run `make up`")
    exported = run_pulumi("stack", "export", "--show-secrets", checkout=project.root(), stack=stack)
    secrets = [*outputs.secrets(), *generated_secrets(exported).values()]
    view = config_view.view(container, config_view.archives_of(container), secrets)
    if as_json:
        console.print_json(view.as_json())
        return
    console.print_plain(config_text(view))


def config_text(view: config_view.View) -> str:
    """The view for people: facts first, then each file under its path."""
    lines = [
        f"container    {view.container}",
        f"image        {view.image}",
        f"user         {view.user}",
        f"entrypoint   {' '.join(view.entrypoint)}",
        f"command      {' '.join(view.command)}",
        f"networks     {', '.join(view.networks)}",
        *(f"mount        {mount}" for mount in view.mounts),
        *(f"environment  {key}={value}" for key, value in view.environment.items()),
    ]
    for file in view.files:
        lines += ["", f"==> {file.path} ({file.mode}, {file.owner}, {file.size} bytes)", file.text.rstrip("\n")]
    return "\n".join(lines)
