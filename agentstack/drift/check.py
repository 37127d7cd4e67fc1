"""The whole comparison of one stack."""

import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from agentstack import engine, project
from agentstack.drift import contents, look, plan, probe
from agentstack.drift.declared import Declared, read
from agentstack.drift.finding import Finding, Report, merge
from agentstack.drift.kinds import Kind
from agentstack.errors import CommandError
from agentstack.outputs import explain, run_pulumi

DIFFERS: Final = 7
"""Pulumi's exit code when `--expect-no-changes` is not met."""
TIMEOUT_SECONDS: Final = 600


def digest(checkout: Path, stack: str, *arguments: str) -> dict[str, Any]:
    """The JSON of a comparison by Pulumi; nothing is written by it.

    Raises:
        CommandError: when it could not tell.
    """
    stack_file = checkout / f"Pulumi.{stack}.yaml"
    before = stack_file.read_bytes() if stack_file.is_file() else None
    try:
        done = subprocess.run(
            [
                "pulumi",
                *arguments,
                *("--expect-no-changes", "--json", "--stack", stack, "--non-interactive", "--color", "never"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=checkout,
            env=project.environment(checkout),
            timeout=TIMEOUT_SECONDS,
        )
    except FileNotFoundError as error:
        raise CommandError("the pulumi command was not found", "run `make up`, or `. .agentstack/env`") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(
            f"`pulumi {arguments[0]}` did not answer within {TIMEOUT_SECONDS} s", "could not tell: try again"
        ) from error
    finally:
        # Pulumi may put the passphrase's salt into the stack file: looking must change nothing.
        if before is not None and stack_file.read_bytes() != before:
            stack_file.write_bytes(before)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise explain(stack, done.stderr or done.stdout) from None
    errors = [entry["message"] for entry in found.get("diagnostics") or [] if entry.get("severity") == "error"]
    if done.returncode not in {0, DIFFERS}:
        raise explain(stack, "\n".join(errors) or done.stderr or f"exit code {done.returncode}")
    return found


def local_references(checkout: Path, declared: Declared) -> dict[str, str]:
    """Tags of the local builds that run -> the image ids that they had."""
    built = checkout / ".agentstack" / "images.json"
    if not built.is_file():
        return {}
    running = {container.image for container in declared.containers}
    images: Mapping[str, Mapping[str, Any]] = json.loads(built.read_text(encoding="utf-8"))
    return {str(entry["tag"]): str(entry["id"]) for entry in images.values() if entry["id"] in running}


def _read_directory(container: str, directory: str) -> bytes | None:
    try:
        return engine.docker("cp", f"{container}:{directory}", "-")
    except CommandError as error:
        if "No such container" in error.what:
            return None  # refresh says that it is gone
        if "Could not find the file" in error.what or "no such file" in error.what.lower():
            return _EMPTY_TAR
        raise


_EMPTY_TAR: Final = b"\0" * 1024


def _probe(stack: str, declared: Declared, references: Mapping[str, str]) -> list[Finding]:
    wanted = [container.image for container in declared.containers if not container.image.startswith("sha256:")]
    seen = look.take(stack, [*wanted, *references])
    return [
        *probe.findings(stack, declared, seen, datetime.now(UTC)),
        *probe.of_references(references, seen),
        *contents.findings(declared, _read_directory),
    ]


def declared_of(checkout: Path, stack: str) -> Declared:
    """What the state declares."""
    return read(json.loads(run_pulumi("stack", "export", "--show-secrets", checkout=checkout, stack=stack)))


def check(stack: str, checkout: Path) -> tuple[Report, Declared]:
    """Compare declaration, state and engine.

    Raises:
        CommandError: when one of them could not be asked: neither clean nor drift.
    """
    engine.docker("version", "--format", "{{.Server.Version}}")
    declared = declared_of(checkout, stack)
    if not declared.urns:
        raise CommandError(f"stack {stack!r} has nothing in its state", "run `make up`")
    refreshed = list(plan.of_refresh(digest(checkout, stack, "refresh", "--preview-only"), declared))
    explained = frozenset(finding.urn for finding in refreshed if finding.urn and finding.kind is not Kind.RENEWAL_DUE)
    previewed = plan.of_preview(digest(checkout, stack, "preview", "--refresh"), declared, explained)
    references = {**declared.images, **local_references(checkout, declared)}
    found = [*refreshed, *previewed, *_probe(stack, declared, references)]
    # A certificate that both comparisons name is one finding.
    renewals = {finding.urn: finding for finding in found if finding.kind is Kind.RENEWAL_DUE}
    rest = [finding for finding in found if finding.kind is not Kind.RENEWAL_DUE]
    return Report(stack, merge([*rest, *renewals.values()])), declared
