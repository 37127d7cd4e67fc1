"""`import-env`: from the guide's environment file to a stack file."""

from pathlib import Path
from typing import Annotated

import typer

from agentstack import console
from agentstack import import_env as importing
from agentstack.errors import CommandError, ExitCode


def import_env(
    file: Annotated[Path, typer.Argument(help="Such as .env.phoenix-observability.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write here instead of to standard output; never overwrites.")
    ] = None,
) -> None:
    """Turn the guide's environment file into settings, with a warning for each variable that has no counterpart."""
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} can't be read: {error}", "name the environment file", ExitCode.USAGE) from error
    imported = importing.convert(text)
    for warning in imported.warnings:
        console.err.print("[yellow]warning:[/yellow]", end=" ")
        console.err.print(warning, markup=False, soft_wrap=True)
    rendered = importing.to_yaml(imported.settings)
    if output is None:
        console.print_plain(rendered)
        return
    try:
        with output.open("x") as handle:
            handle.write(rendered)
    except FileExistsError:
        raise CommandError(
            f"{output} exists already; nothing was written", "choose another name, or merge by hand", ExitCode.USAGE
        ) from None
    console.err.print(f"Wrote {output}.", markup=False)
