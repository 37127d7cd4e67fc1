"""`images verify|update`: the lock of image references against the registries."""

from typing import Annotated

import typer

from images import registry

MirrorOption = Annotated[str | None, typer.Option("--mirror", metavar="HOST[:PORT]", help="Ask this registry alone.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

_app = typer.Typer(help="The lock of image references (images/lock.json).", no_args_is_help=True)


@_app.command()
def verify(mirror: MirrorOption = None, as_json: JsonOption = False) -> None:
    """Ask the registries about every digest of the lock. Exit 1 when one is not there, or could not be told."""
    raise typer.Exit(registry.main(["verify", *_options(mirror, as_json)]))


@_app.command()
def update(
    mirror: MirrorOption = None,
    as_json: JsonOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show, don't write.")] = False,
) -> None:
    """Move every digest of the lock to what its tag means today."""
    dry = ["--dry-run"] if dry_run else []
    raise typer.Exit(registry.main(["update", *dry, *_options(mirror, as_json)]))


def _options(mirror: str | None, as_json: bool) -> list[str]:
    return [*(["--mirror", mirror] if mirror else []), *(["--json"] if as_json else [])]


def register(app: typer.Typer) -> None:
    """Add this family to the command line."""
    app.add_typer(_app, name="images")
