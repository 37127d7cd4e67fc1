"""The command `agentstack`: which commands there are, and how a failure leaves.

Exit codes: 0 fine, 1 failed or could not tell, 2 bad usage or settings, 7 drift.
"""

import importlib
import importlib.util
import sys
from typing import Any, Final

import typer

from agentstack import console
from agentstack.commands import connect, database, observe, privacy, settings, traffic
from agentstack.errors import CommandError, ExitCode

FAMILIES: Final = ("images", "backup", "drift")
"""Modules of agentstack.commands that register commands of their own by ``register(app)``."""


class Command(typer.Typer):
    """Typer, with our errors told in two lines and an exit code instead of a traceback."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line."""
        try:
            return super().__call__(*args, **kwargs)
        except CommandError as error:
            tell(error.what, error.hint)
            sys.exit(error.code)
        except BrokenPipeError:
            sys.exit(ExitCode.FAILED)


def tell(what: str, hint: str) -> None:
    """An error for people, on standard error."""
    console.err.print("[bold red]error:[/bold red]", end=" ")
    console.err.print(what, markup=False, soft_wrap=True)
    if hint:
        console.err.print(f"  {hint}", markup=False, soft_wrap=True)


app = Command(
    name="agentstack",
    help="Operate an AgentStack observability stack. Exit codes: 0 fine, 1 failed or could not tell, 2 usage, 7 drift.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("status")(observe.show_status)
app.command("outputs")(observe.show_outputs)
app.command("smoke")(traffic.run_smoke)
app.command("demo")(traffic.run_demo)
app.command("connect")(connect.connect)
app.command("psql")(database.run_psql)
app.command("logs")(observe.logs)
app.command("config")(observe.show_config)
app.command("pseudonym")(privacy.show_pseudonym)
app.command("import-env")(settings.import_env)

for family in FAMILIES:
    if importlib.util.find_spec(f"agentstack.commands.{family}") is not None:
        importlib.import_module(f"agentstack.commands.{family}").register(app)
