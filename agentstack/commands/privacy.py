"""`pseudonym`: what stands in Phoenix in place of a user's id."""

from typing import Annotated, Final

import typer

from agentstack import console, project
from agentstack.errors import CommandError
from agentstack.generated import generated_secrets
from agentstack.outputs import run_pulumi

KEY: Final = "pseudonym-key"
"""The purpose under which the collector's key is generated."""


def show_pseudonym(
    user_id: Annotated[str, typer.Argument(metavar="USER", help="The id as the application sends it.")],
    stack: project.StackOption = project.DEFAULT_STACK,
) -> None:
    """Print the pseudonym under which a user's spans are stored: to find and delete them."""
    from components.collector.privacy import pseudonym

    exported = run_pulumi("stack", "export", "--show-secrets", checkout=project.root(), stack=stack)
    key = generated_secrets(exported).get(KEY)
    if key is None:
        raise CommandError(
            f"stack {stack!r} has no key for pseudonyms", "it is made by `make up` unless telemetry.pseudonyms is off"
        )
    console.print_plain(pseudonym(key, user_id))
