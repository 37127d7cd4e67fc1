"""`make up`: mend what an interrupted run left, bring the stack to life, prove that it works, say where everything is.

    python -m tools.up [--stack NAME]

Exit codes: those of the status check that ends it (0 all healthy); 1 when a step before it failed, 2 bad settings.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from images.lock import load_lock
from tools import heal, registry
from tools.console import Failure, Progress, main
from tools.driver import Stack, forget_salt, salt_of
from tools.layout import Layout, layout, private, stack_name
from tools.state import write_private

IMAGES_SECONDS: Final = 5400


def images(stack: Stack) -> None:
    """Decide where the images come from; build them here where no registry answers.

    Raises:
        Failure: when a build fails.
    """
    here = stack.layout
    repositories = [reference.name for reference in load_lock().pulled().values()]
    if registry.choose(here, stack.name, stack.progress, repositories) != "local":
        return
    # What is built already answers within a second, so this runs every time: a changed recipe is built anew.
    with stack.progress.step("local images (about 15 min when none is built yet)"):
        build = subprocess.run(
            [sys.executable, "-m", "images.build"],
            cwd=here.root,
            env=stack.env,
            check=False,
            timeout=IMAGES_SECONDS,
            stdout=subprocess.DEVNULL,
        )
    if build.returncode:
        raise Failure(
            "the local images could not be built",
            "mend what the lines above say, then run the same command again: what is built is kept",
        )


def write_ca(here: Layout, stack: str, outputs: dict[str, Any]) -> Path:
    """Keep the CA's certificate where people and programs find it."""
    path = private(here.stack(stack)) / "ca.crt"
    certificate = str(outputs.get("ca_certificate") or "")
    if not certificate.startswith("-----BEGIN CERTIFICATE-----"):
        raise Failure("the stack has no output `ca_certificate`", "run the same command again")
    if not path.is_file() or path.read_text(encoding="utf-8") != certificate:
        write_private(path, certificate)
    path.chmod(0o644)
    return path


def operator(stack: Stack, *arguments: str) -> int:
    """Run the operator's command on this stack, its output shown; its exit code."""
    command = [str(stack.layout.venv / "bin" / "agentstack"), *arguments, "--stack", stack.name]
    return subprocess.run(command, cwd=stack.layout.root, env=stack.env, check=False).returncode


# What each address is, and where its login is to be found: a command, never a value.
ADDRESSES: Final = (
    ("phoenix", "Phoenix: traces, projects, evaluations", "phoenix"),
    ("grafana", "Grafana: dashboards", "grafana"),
    ("prometheus", "Prometheus: metrics and rules", "prometheus"),
    ("alertmanager", "Alertmanager: alerts and silences", "alertmanager"),
    ("otlp_grpc", "OTLP over gRPC, for applications", "connect"),
    ("otlp_http", "OTLP over HTTP, for applications", "connect"),
)


def login(kind: str, stack: str) -> str:
    """The command that shows a login."""
    chosen = "" if stack == "dev" else f" --stack {stack}"
    if kind == "connect":
        return f".venv/bin/agentstack connect APPLICATION{chosen}"
    return f".venv/bin/agentstack outputs --show-secrets{chosen}  (credentials.{kind})"


def table(outputs: dict[str, Any], stack: str) -> Table:
    """URL, what it is, where its login is to be found."""
    made = Table(title=f"The stack {stack}", title_justify="left", show_lines=False)
    made.add_column("URL", no_wrap=True)
    made.add_column("what it is")
    made.add_column("login: run", overflow="fold")
    stand_ins = set(outputs.get("stand_ins") or [])
    for key, text, kind in ADDRESSES:
        url = (outputs.get("endpoints") or {}).get(key)
        if url:
            made.add_row(url, text + (" (a stand-in)" if key in stand_ins else ""), login(kind, stack))
    return made


def say_trust(certificate: Path, outputs: dict[str, Any]) -> None:
    """How to trust the CA."""
    phoenix = (outputs.get("endpoints") or {}).get("phoenix", "https://localhost:6006")
    print(f"\nTrust the stack's CA ({certificate}):")
    print(f"  curl:      curl --cacert {certificate} {phoenix}/health")
    print(f"  Python:    SSL_CERT_FILE={certificate} (`agentstack connect APP` prints all that an application needs)")
    print(f"  this host: cp {certificate} /usr/local/share/ca-certificates/agentstack.crt && update-ca-certificates")
    print("  browsers:  import that file as an authority\n")


def bring_up(name: str) -> int:
    """The whole of it; the exit code of the status check."""
    here = layout()
    progress = Progress()
    if not (here.root / f"Pulumi.{name}.yaml").is_file():
        raise Failure(
            f"there is no Pulumi.{name}.yaml",
            "write one (Pulumi.dev.yaml is the example) or name another: make up STACK=dev",
            code=2,
        )
    removed = heal.remove_dead_locks(here.state, name)
    stack = Stack(here, name, progress)
    if removed:
        progress.say(f"removed {removed} lock(s) of a pulumi that is no longer there")
    stack.select()
    export = heal.heal(stack)
    forget_salt(stack.file, salt_of(export))
    images(stack)
    problem: Failure | None = None
    try:
        stack.operation("up", "pulumi up", "--skip-preview")
        outputs = stack.outputs()
        certificate = write_ca(here, name, outputs)
        progress.say("sending a demo trace and reading it back")
        if operator(stack, "smoke"):
            problem = Failure(
                "the demo trace did not come back",
                f"`make logs SERVICE=collector STACK={name}` and `SERVICE=phoenix` show where it went",
            )
        Console().print(table(outputs, name))
        say_trust(certificate, outputs)
    except Failure as failure:
        problem = failure
    # Always the last word: what runs, and how it is.
    if problem:
        print(f"\nerror: {problem.what}\nwhat to do: {problem.todo}\n", file=sys.stderr)
    status = operator(stack, "status")
    return status or (problem.code if problem else 0)


def cli() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.up", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--stack", help="the stack (default: PULUMI_STACK, then dev)")
    given = parser.parse_args()
    return bring_up(stack_name(given.stack))


if __name__ == "__main__":
    sys.exit(main(cli))
