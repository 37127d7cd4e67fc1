"""The entry point in the container: the supervisor, one job, or what the operator's command asks for.

Answers to the operator's command are one JSON object on stdout; the log goes to stderr. Exit codes: 0 done, 1 failed
(the reason is the last line of stderr), 2 bad usage.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.backup.container import restore
from components.backup.container.config import LOCAL, Config, load
from components.backup.container.jobs import Jobs
from components.backup.container.pgbackrest import PgBackRest
from components.backup.container.shell import JobError, say
from components.backup.container.state import State
from components.backup.container.supervisor import Supervisor, record


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="backup", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("supervise", help="run the jobs when they are due")
    job = commands.add_parser("run", help="run one job (for the supervisor)")
    job.add_argument("job")
    now = commands.add_parser("now", help="run one job for the operator and record its outcome")
    now.add_argument("job")
    listing = commands.add_parser("list", help="the backups of every repository")
    listing.add_argument("--repository")
    for name, text in (("plan", "what a restore would do"), ("make", "restore beside the present data")):
        one = commands.add_parser(name, help=text)
        one.add_argument("--repository", default=LOCAL)
        target = one.add_mutually_exclusive_group(required=True)
        target.add_argument("--latest", action="store_true")
        target.add_argument("--to", metavar="TIME")
        target.add_argument("--backup", metavar="LABEL")
        if name == "make":
            one.add_argument("--into", type=Path)
            one.add_argument("--point", help="restore point at the end of the log, made by close-log")
    commands.add_parser("close-log", help="archive all that the server has written, before it is stopped")
    for name in ("swap", "swap-back"):
        commands.add_parser(name).add_argument("name")
    commands.add_parser("adopt", help="let the local repository take on a cluster that came from elsewhere")
    commands.add_parser("leftovers", help="directories that earlier restores left")
    commands.add_parser("forget", help="remove them")
    drill = commands.add_parser("drill", help="restore to a copy as if the database were lost right now")
    drill.add_argument("--repository", default=LOCAL)
    commands.add_parser("escrowed", help="record that an escrow file with the present secrets was written")
    return parser


def _target(arguments: argparse.Namespace) -> restore.Target:
    if arguments.to:
        return restore.Target("time", moment=restore.parse_moment(arguments.to))
    if arguments.backup:
        return restore.Target("backup", label=arguments.backup)
    return restore.Target("latest")


def _list(config: Config, only: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for repository in config.repositories:
        if only and repository.name != only:
            continue
        try:
            found[repository.name] = {"sets": [asdict(item) for item in PgBackRest(repository).sets()]}
        except JobError as error:
            found[repository.name] = {"error": str(error), "sets": []}
    return found


def _now(jobs: Jobs, name: str) -> dict[str, Any]:
    started = time.time()
    try:
        _job(jobs, name)
    except JobError:
        record(jobs.state, name, started, 1)
        raise
    record(jobs.state, name, started, 0)
    return {"job": name, "seconds": round(time.time() - started, 3)}


def _job(jobs: Jobs, name: str) -> None:
    known = jobs.named()
    if name not in known:
        raise JobError(f"there is no job {name!r}; this stack has: {', '.join(sorted(known))}")
    known[name]()


def _escrowed(state: State) -> None:
    told = {"time": int(time.time()), "fingerprint": state.fingerprint}
    state.update(lambda store: store.update(escrow=told))


def _answer(arguments: argparse.Namespace, config: Config, state: State) -> dict[str, Any]:
    command: str = arguments.command
    repository = getattr(arguments, "repository", None) or LOCAL
    work = restore.Restore(config, config.repository(repository), state)
    answers: dict[str, Callable[[], dict[str, Any] | None]] = {
        "plan": lambda: asdict(work.plan(_target(arguments))),
        "make": lambda: work.make(_target(arguments), arguments.point, arguments.into),
        "list": lambda: _list(config, arguments.repository),
        "now": lambda: _now(Jobs(config, state), arguments.job),
        "drill": work.drill,
        "escrowed": lambda: _escrowed(state),
        "close-log": lambda: {"point": work.close_log()},
        "swap": lambda: work.swap(arguments.name),
        "swap-back": lambda: work.swap_back(arguments.name),
        "adopt": lambda: restore.adopt_stanza(config),
        "leftovers": lambda: {"leftovers": work.leftovers()},
        "forget": lambda: {"removed": work.forget()},
    }
    return answers[command]() or {"done": command}


def main(words: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    arguments = _parser().parse_args(words)
    config = load()
    state = State(config.state, config.page, config.secrets_fingerprint, config.escrow_maximum_days)
    try:
        if arguments.command == "supervise":
            return Supervisor(config, state).run()
        if arguments.command == "run":
            _job(Jobs(config, state), arguments.job)
            return 0
        sys.stdout.write(json.dumps(_answer(arguments, config, state)) + "\n")
    except (JobError, KeyError) as error:
        say(f"failed: {error.args[0] if error.args else error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
