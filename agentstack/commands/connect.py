"""`connect`: what an application needs to send here."""

import json
import sys
from typing import Annotated, Literal

import typer

from agentstack import connect as connecting
from agentstack import console, project
from agentstack.access import token_of, write_ca
from agentstack.errors import CommandError
from agentstack.outputs import StackOutputs, pick, read_outputs, run_pulumi


def project_of(outputs: StackOutputs, application: str) -> str | None:
    """The Phoenix project of an application, where the stack file can be read.

    `phoenix.otel` would name the project "default" by itself, and the collector keeps what a span names.
    """
    from components.settings import Settings

    try:
        text = run_pulumi("config", "--json", checkout=project.root(), stack=outputs.stack)
        entry = json.loads(text).get("agentstack:stack", {})
        settings = entry.get("objectValue") or json.loads(entry.get("value", "{}"))
    except (CommandError, json.JSONDecodeError):
        return None
    named = ((settings.get("applications") or {}).get(application) or {}).get("project")
    return str(named or settings.get("defaultProject") or Settings.model_fields["default_project"].default)


def connect(
    application: Annotated[str, typer.Argument(metavar="APP", help="An application of the stack file.")],
    stack: project.StackOption = project.DEFAULT_STACK,
    origin: Annotated[
        Literal["host", "container"],
        typer.Option("--from", help="Where the application runs: on this machine, or on application-network."),
    ] = "host",
    style: Annotated[
        Literal["shell", "env-file"], typer.Option("--format", help="For `eval`, or for `docker run --env-file`.")
    ] = "shell",
    ca_path: Annotated[
        str, typer.Option("--ca", help="Where the application finds ca.crt, if not where this command writes it.")
    ] = "",
) -> None:
    """Print the environment with which an application sends its traces here, and write ca.crt.

    The printed token is a secret: `eval "$(agentstack connect APP)"` keeps it off the screen.
    """
    outputs = read_outputs(stack)
    inside = origin == "container"
    known = outputs.endpoints_internal if inside else outputs.endpoints
    where = "endpoints_internal" if inside else "endpoints"
    written = write_ca(outputs)
    found = connecting.variables(
        connecting.Connection(
            application=application,
            token=token_of(outputs, application),
            phoenix=pick(known, ("phoenix",), stack, where),
            otlp_grpc=pick(known, ("otlp_grpc",), stack, where),
            otlp_http=pick(known, ("otlp_http",), stack, where),
            ca_file=ca_path or (connecting.CA_IN_CONTAINER if inside else str(written)),
            project=project_of(outputs, application),
        )
    )
    console.print_plain(connecting.shell(found) if style == "shell" else connecting.env_file(found))
    console.err.print(f"The CA certificate is in {written}.", markup=False)
    if inside:
        console.err.print(
            f"Start the application with --network {outputs.networks['application']} "
            f"--volume {written}:{connecting.CA_IN_CONTAINER}:ro",
            markup=False,
        )
    if style == "env-file":
        console.err.print(
            f"The application's environment must not hold {' or '.join(connecting.UNSET)}: "
            "Python's HTTP exporter would prefer them to the stack's CA."
        )
    elif sys.stdout.isatty():
        console.err.print(f'For this shell: eval "$(agentstack connect {application})"', markup=False)
