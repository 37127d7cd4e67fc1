"""The two things that a sender needs from a stack: its CA certificate as a file, and an application's token."""

from pathlib import Path

from agentstack import project
from agentstack.errors import CommandError, ExitCode
from agentstack.outputs import StackOutputs


def write_ca(outputs: StackOutputs) -> Path:
    """The stack's CA certificate as a file of this machine: `.agentstack/<stack>/ca.crt`."""
    path = project.private_directory(outputs.stack) / "ca.crt"
    if not path.is_file() or path.read_text() != outputs.ca_certificate:
        path.write_text(outputs.ca_certificate)
    path.chmod(0o644)
    return path


def token_of(outputs: StackOutputs, application: str) -> str:
    """An application's token.

    Raises:
        CommandError: (usage) when the stack knows no such application.
    """
    tokens = outputs.ingest_tokens
    if application not in tokens:
        raise CommandError(
            f"stack {outputs.stack!r} has no application {application!r}",
            f"it has: {', '.join(sorted(tokens))}. Add yours below `applications` in Pulumi.{outputs.stack}.yaml "
            "and run `pulumi up`",
            ExitCode.USAGE,
        )
    return tokens[application]
