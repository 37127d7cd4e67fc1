"""A small Pulumi project of a test: the product's real components, a program of a few lines, the real engine.

Each project has a state backend, a passphrase, a stack name (`t` and this process's number) and subnets of its own.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.names import Label
from tests.e2e.stack import docker, free_subnets, inspect
from tools.layout import ROOT, layout
from tools.state import environment

UP_SECONDS = 400


def built_images() -> dict[str, str]:
    """Name -> id of the local builds."""
    path = ROOT / ".agentstack" / "images.json"
    assert path.is_file(), f"{path} does not exist: run `make images`"
    return {name: str(built["id"]) for name, built in json.loads(path.read_text()).items()}


@dataclass(frozen=True)
class Project:
    """One project with one stack.

    The program finds its scene in scene.json beside it, and imports `components` from ``checkout``.
    """

    root: Path
    stack: str
    checkout: Path = ROOT
    home: Path | None = None
    """Where state and passphrase are, if not in ``root``."""

    @property
    def settings(self) -> dict[str, Any]:
        """The stack file's object with address ranges that are free on this engine."""
        found: dict[str, Any] = json.loads((self.root / "settings.json").read_text())
        return found

    def name(self, thing: str) -> str:
        """The engine's name of a thing of this stack."""
        return f"agentstack-{self.stack}-{thing}"

    def scene(self, scene: Mapping[str, Any]) -> None:
        """What the program is to declare from now on."""
        (self.root / "scene.json").write_text(json.dumps(scene))

    def pulumi(self, *arguments: str, check: bool = True, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run `pulumi` in the project; output and errors together."""
        env = {
            **environment(layout()),
            "PULUMI_BACKEND_URL": f"file://{(self.home or self.root) / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str((self.home or self.root) / "passphrase"),
            "PULUMI_STACK": self.stack,
            "PYTHONPATH": str(self.checkout),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NO_COLOR": "1",
        }
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive", "--color", "never"],
            cwd=cwd or self.root,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=UP_SECONDS,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"pulumi {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}"
        return done

    def up(self, *, check: bool = True, cwd: Path | None = None) -> str:
        """`pulumi up`; its output."""
        return self.pulumi("up", "--yes", "--skip-preview", check=check, cwd=cwd).stdout

    def refused(self) -> str:
        """The output of a `pulumi up` that must fail."""
        done = self.pulumi("up", "--yes", "--skip-preview", check=False)
        assert done.returncode != 0, done.stdout
        return done.stdout

    def started(self) -> dict[str, tuple[str, str]]:
        """Every container of the stack: name -> (id, StartedAt)."""
        names = docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"label={Label.STACK}={self.stack}").split()
        return {name: (str((found := inspect(name))["Id"]), str(found["State"]["StartedAt"])) for name in names}

    def volumes(self) -> set[str]:
        """Every volume of the stack."""
        return set(
            docker(
                "volume", "ls", "--format", "{{.Name}}", "--filter", f"label={Label.STACK}={self.stack}"
            ).split()
        )  # fmt: skip

    def clear(self) -> None:
        """Remove everything that carries the stack's label."""
        label = f"label={Label.STACK}={self.stack}"
        for listing, removal in (
            (("ps", "--all", "--quiet"), ("rm", "--force", "--volumes")),
            (("volume", "ls", "--quiet"), ("volume", "rm", "--force")),
            (("network", "ls", "--quiet"), ("network", "rm")),
        ):
            if names := docker(*listing, "--filter", label).split():
                docker(*removal, *names, timeout=300)


def write_project(root: Path, stack: str, program: str, settings: Mapping[str, Any]) -> None:
    """The files of a project: Pulumi.yaml, the stack file, the program, its settings, state and passphrase."""
    (root / "state").mkdir(parents=True)
    (root / "passphrase").write_text("for this test alone\n")
    (root / "Pulumi.yaml").write_text(
        f"name: agentstack\nruntime: {{name: python, options: {{toolchain: pip, virtualenv: {layout().venv}}}}}\n"
    )
    (root / f"Pulumi.{stack}.yaml").write_text("config: {}\n")
    (root / "__main__.py").write_text(program)
    (root / "settings.json").write_text(json.dumps(settings))


@contextmanager
def project(
    root: Path, stack: str, program: str, settings: Mapping[str, Any] | None = None, checkout: Path = ROOT
) -> Iterator[Project]:
    """A project in ``root`` (made if it is not there), gone from the engine at the end."""
    ranges = free_subnets(stack, ["phoenix", "monitoring", "application", "ui", "egress"])
    write_project(root, stack, program, {"networks": ranges, **(settings or {})})
    made = Project(root, stack, checkout)
    try:
        made.pulumi("stack", "init", stack)
        yield made
    finally:
        made.clear()
        shutil.rmtree(root / "state", ignore_errors=True)
