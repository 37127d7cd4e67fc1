"""`backup`, `restore`, `drill` and `escrow`: nothing is lost, and it is proved."""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.table import Table

from agentstack import console, project
from agentstack.commands.observe import JsonOption
from agentstack.engine import docker
from agentstack.errors import CommandError, ExitCode
from agentstack.outputs import read_outputs
from agentstack.recovery import drill as drills
from agentstack.recovery import escrow
from agentstack.recovery.pulumi_state import export_state, import_state, put_passphrase
from agentstack.recovery.restore import InPlace, target_words
from agentstack.recovery.sidecar import Sidecar, repository_name

RepositoryOption = Annotated[
    str, typer.Option("--repository", "--repo", metavar="1|2", help="1 is local, 2 is s3.", show_default=True)
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

backup = typer.Typer(no_args_is_help=True, help="Make, list, check and prove backups.")


def _say(text: str) -> None:
    console.err.print(text, markup=False)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _run_job(stack: str, job: str, repository: str) -> None:
    name = repository_name(repository)
    done = Sidecar.of(read_outputs(stack)).ask("now", f"{job}-{name}")
    console.out().print(f"{job} of repository {name}: done in {done['seconds']:.1f} s")


@backup.command("now")
def now(
    stack: project.StackOption = project.DEFAULT_STACK,
    repository: RepositoryOption = "1",
    full: Annotated[bool, typer.Option("--full", help="A full backup; otherwise a differential one.")] = False,
) -> None:
    """Make a backup now."""
    _run_job(stack, "full" if full else "diff", repository)


@backup.command("check")
def check(stack: project.StackOption = project.DEFAULT_STACK, repository: RepositoryOption = "1") -> None:
    """Read the whole repository and compare checksums. Exit 1 when anything is damaged."""
    _run_job(stack, "check", repository)


@backup.command("verify")
def verify(stack: project.StackOption = project.DEFAULT_STACK, repository: RepositoryOption = "1") -> None:
    """Restore the newest backup to a throw-away copy and compare it with the source. Exit 1 when it fails."""
    _run_job(stack, "verify", repository)


@backup.command("list")
def listing(stack: project.StackOption = project.DEFAULT_STACK, as_json: JsonOption = False) -> None:
    """The backups of every repository. Exit 1 when one can't be read."""
    found = Sidecar.of(read_outputs(stack)).ask("list")
    if as_json:
        console.print_json(found)
    else:
        for name, repository in found.items():
            console.out().print(_sets_table(name, repository))
    if any("error" in repository for repository in found.values()):
        raise typer.Exit(ExitCode.FAILED)


def _sets_table(name: str, repository: dict[str, Any]) -> Table:
    title = f"repository {name}"
    if "error" in repository:
        title += f": {repository['error']}"
    table = Table(title=title, title_justify="left")
    for heading in ("label", "kind", "ended", "database", "in the repository", "WAL"):
        table.add_column(heading, overflow="fold")
    for one in repository["sets"]:
        kind = one["kind"] + (" (damaged)" if one["failed"] else "")
        row = [one["label"], kind, _moment(one["stopped"])]
        row += [size(one["database_bytes"]), size(one["repository_bytes"])]
        table.add_row(*row, f"{one['wal_start']} to {one['wal_stop']}")
    return table


@backup.command("forget")
def forget(stack: project.StackOption = project.DEFAULT_STACK, yes: YesOption = False) -> None:
    """Remove the old data that restores have kept aside."""
    sidecar = Sidecar.of(read_outputs(stack))
    found = sidecar.ask("leftovers")["leftovers"]
    if not found:
        console.out().print("nothing is kept aside")
        return
    for one in found:
        console.out().print(f"{one['path']}: {size(one['bytes'])}")
    if not yes:
        typer.confirm("Remove it for good?", abort=True)
    sidecar.ask("forget")


def restore(
    stack: project.StackOption = project.DEFAULT_STACK,
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="A moment, with its time zone.")] = None,
    latest: Annotated[bool, typer.Option("--latest", help="All that was archived.")] = False,
    label: Annotated[str | None, typer.Option("--backup", metavar="LABEL", help="A backup as it is.")] = None,
    repository: RepositoryOption = "1",
    into: Annotated[
        Path | None, typer.Option("--into", metavar="DIR", help="Only restore to a directory here, for inspection.")
    ] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Restore the database: shows what it will do, asks, stops the writers, restores beside the data, swaps, verifies.

    A restore that fails leaves the running data untouched; the old data is kept aside until `backup forget`.
    """
    if [bool(to), latest, bool(label)].count(True) != 1:
        raise CommandError("say where to: one of --to TIME, --latest, --backup LABEL", code=ExitCode.USAGE)
    work = InPlace(read_outputs(stack), repository_name(repository), _say)
    words = target_words(to, label)
    plan = work.plan(words)
    _show_plan(plan, into)
    if not yes:
        typer.confirm("Copy it out?" if into else "Restore?", abort=True)
    done = _restore_into(work, words, into) if into else work.run(words)
    if as_json:
        console.print_json(done)
        return
    console.out().print(f"restored {done['label']}: {size(done['bytes'])}, {done['inside']['spans']} spans")
    for name, seconds in done["seconds"].items():
        console.out().print(f"  {name:<22} {seconds:8.1f} s")
    console.out().print(f"  {'in all':<22} {done['total_seconds']:8.1f} s")


def _show_plan(plan: dict[str, Any], into: Path | None) -> None:
    lost = plan["lost_seconds"]
    rows = {
        "from": f"{plan['label']} of repository {plan['repository']}, ended {plan['backup_ended']}",
        "log": f"{plan['wal_from']} to {plan['wal_to']}",
        "reaches": plan["reaches"],
        "lost": "nothing: it goes beside the running data"
        if into
        else f"what was stored in the last {lost} s"
        if lost is not None and plan["kind"] != "latest"
        else "nothing that the server still holds"
        if lost is not None
        else "what the server had not archived (it does not answer)",
        "size": f"{size(plan['database_bytes'])}; {size(plan['free_bytes'])} are free",
        "expected": f"{plan['expected_seconds']} s" if plan["expected_seconds"] else "not measured yet",
    }
    for name, text in rows.items():
        _say(f"  {name:<9} {text}")


def _restore_into(work: InPlace, words: list[str], into: Path) -> dict[str, Any]:
    if into.exists() and any(into.iterdir()):
        raise CommandError(f"{into} is not empty", "name a directory that does not exist yet")
    inside = f"/var/lib/agentstack-scratch/inspect-{int(time.time())}"
    arguments = ["--repository", work.repository, *words, "--into", inside]
    begun = time.monotonic()
    try:
        made = work.sidecar.ask("make", *arguments)
        into.parent.mkdir(parents=True, exist_ok=True)
        docker("cp", "--archive", f"{work.sidecar.container}:{inside}", str(into), timeout_seconds=24 * 3600)
    finally:
        docker("exec", work.sidecar.container, "rm", "-rf", inside)
    total = round(time.monotonic() - begun, 1)
    return {**made, "seconds": made["phases"], "total_seconds": total}


def drill(
    stack: project.StackOption = project.DEFAULT_STACK,
    repository: RepositoryOption = "1",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where the report goes; .agentstack/STACK/drills/ by default."),
    ] = None,
) -> None:
    """Restore to a copy as if the database were lost now; write a dated report. Exit 1 when an aim is missed."""
    name = repository_name(repository)
    found = Sidecar.of(read_outputs(stack)).ask("drill", "--repository", name)
    text = drills.report(stack, name, found)
    stamp = datetime.fromtimestamp(found["timestamp"], UTC).strftime("%Y%m%dT%H%M%SZ")
    path = out or project.private_directory(stack) / "drills" / f"{stamp}-{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    console.print_plain(text)
    _say(f"written to {path}")
    if not drills.passed(found):
        raise typer.Exit(ExitCode.FAILED)


def _passphrase(file: Path | None, *, twice: bool) -> str:
    if file:
        return escrow.read_passphrase_file(file)
    if not sys.stdin.isatty():
        raise CommandError("no terminal to ask for the escrow passphrase", "give --passphrase-file FILE")
    return str(typer.prompt("Escrow passphrase", hide_input=True, confirmation_prompt=twice))


def escrow_file(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    stack: project.StackOption = project.DEFAULT_STACK,
    passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase-file", metavar="FILE", help="Its first line; asked for otherwise.")
    ] = None,
    open_it: Annotated[
        bool,
        typer.Option("--open", help="On a new machine: put state, passphrase and files in place, before `make up`."),
    ] = False,
) -> None:
    """Write everything that a restore on a new machine needs into one encrypted file. Keep it elsewhere."""
    if open_it:
        _open_escrow(file, _passphrase(passphrase_file, twice=False))
        return
    root = project.root()
    stack_path = root / f"Pulumi.{stack}.yaml"
    text = stack_path.read_text(encoding="utf-8") if stack_path.is_file() else ""
    state, state_passphrase = export_state(stack)
    content = escrow.Content(
        stack=stack,
        created=int(time.time()),
        state=state,
        state_passphrase=state_passphrase,
        stack_file=text,
        files=escrow.credential_files(yaml.safe_load(text) or {}, root),
    )
    escrow.write_private(file, escrow.seal(content, _passphrase(passphrase_file, twice=True)))
    Sidecar.of(read_outputs(stack)).ask("escrowed")
    console.out().print(f"written to {file}: keep it away from this machine, and its passphrase away from it")


def _open_escrow(file: Path, passphrase: str) -> None:
    content = escrow.unseal(file.read_bytes(), passphrase)
    root = project.root()
    stack_path = root / f"Pulumi.{content.stack}.yaml"
    put_passphrase(content.state_passphrase)
    if not stack_path.is_file():
        stack_path.write_text(content.stack_file, encoding="utf-8")
    elif stack_path.read_text(encoding="utf-8") != content.stack_file:
        kept = project.private_directory(content.stack) / stack_path.name
        kept.write_text(content.stack_file, encoding="utf-8")
        _say(f"{stack_path.name} differs from the one in escrow, which is now {kept}: compare them before `make up`")
    for name, text in content.files.items():
        path = Path(name).expanduser()
        path = path if path.is_absolute() else root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        escrow.write_private(path, text.encode())
    import_state(content.stack, json.dumps(escrow.identity(content.state)))
    console.out().print(
        f"stack {content.stack} of {_moment(content.created)} is in place. Now: make up STACK={content.stack}, then "
        f"agentstack restore --latest --repository 2 --stack {content.stack}"
    )


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(backup, name="backup")
    app.command("restore")(restore)
    app.command("drill")(drill)
    app.command("escrow")(escrow_file)
