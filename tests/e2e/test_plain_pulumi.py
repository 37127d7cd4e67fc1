"""The README's way for people who have Pulumi and Docker: its commands word for word, in a checkout of its own."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.e2e.stack import HOME, ROOT, StackUnderTest, docker

pytestmark = pytest.mark.e2e

LEFT_BEHIND = (".git", ".venv", ".agentstack*", "Pulumi.t*.yaml", "*_cache", "__pycache__", ".hypothesis")
"""What a fresh clone would not have."""


def readme_block() -> str:
    """The commands below the README's heading."""
    section = (ROOT / "README.md").read_text().split("### With plain Pulumi")[1]
    found = re.search(r"```bash\n(.*?)```", section, re.DOTALL)
    assert found
    return found[1]


@dataclass
class Checkout:
    """A copy of this checkout with a stack of its own."""

    path: Path
    stack: StackUnderTest

    def sh(self, script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a script as a person would, at a prompt that answers yes."""
        environment = {k: v for k, v in self.stack.environment.items() if k != "AGENTSTACK_HOME"}
        done = subprocess.run(
            # The commands of the README are about `dev`, which needs no naming: PULUMI_STACK names this one instead.
            # Pulumi itself is the one that `make test` got; state and passphrase are what the script says.
            ["/bin/bash", "-ec", f". {ROOT / HOME}/env\nunset AGENTSTACK_HOME PULUMI_CONFIG_PASSPHRASE\n{script}"],
            cwd=self.path,
            env={**environment, "PULUMI_SKIP_CONFIRMATIONS": "true"},
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(
                f"{script}\nended with {done.returncode}:\n{done.stdout[-6000:]}\n{done.stderr[-4000:]}"
            )
        return done

    def ours(self, script: str) -> str:
        """A script with the README's stack name replaced by this one's."""
        return re.sub(r"\bdev\b", self.stack.name, script)


@pytest.fixture(scope="module")
def checkout(unborn: StackUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    path = tmp_path_factory.mktemp("plain") / "agentstack"
    shutil.copytree(ROOT, path, ignore=shutil.ignore_patterns(*LEFT_BEHIND))
    stack = StackUnderTest(f"{unborn.name}p")
    stack.clear()
    stack.write_settings()
    settings = {**stack.settings, "imageSource": "local"}
    del settings["applications"]
    stack.file.unlink()
    (path / f"Pulumi.{stack.name}.yaml").write_text(yaml.safe_dump({"config": {"agentstack:stack": settings}}))
    (path / ".agentstack").mkdir(mode=0o700)
    # `make images`, which the README asks for where no registry answers, has run for this checkout.
    shutil.copy(ROOT / ".agentstack" / "images.json", path / ".agentstack" / "images.json")
    try:
        yield Checkout(path, stack)
    finally:
        if not os.environ.get("AGENTSTACK_KEEP"):
            stack.clear()


def test_its_commands_bring_a_healthy_stack_to_life(checkout: Checkout) -> None:
    done = checkout.sh(checkout.ours(readme_block()))
    assert "PHOENIX_API_KEY" in done.stdout
    assert (checkout.path / ".agentstack" / checkout.stack.name / "ca.crt").read_text().startswith("-----BEGIN")
    assert oct((checkout.path / ".agentstack" / "passphrase").stat().st_mode)[-2:] == "00"


EXPORTS = """
export PULUMI_BACKEND_URL="file://$PWD/.agentstack/state"
export PULUMI_CONFIG_PASSPHRASE_FILE="$PWD/.agentstack/passphrase"
"""


def test_destroy_keeps_data_and_identity_until_they_are_unprotected(checkout: Checkout) -> None:
    name = checkout.stack.name
    kept = set(docker("volume", "ls", "--quiet", "--filter", f"label=io.agentstack.stack={name}").split())
    assert any(volume.endswith("postgres-data") for volume in kept), kept

    refused = checkout.sh(f"{EXPORTS}pulumi destroy --stack {name}", check=False)
    assert refused.returncode != 0
    assert "protect" in refused.stdout + refused.stderr

    checkout.sh(f"{EXPORTS}pulumi destroy --exclude-protected --stack {name}")
    assert docker("ps", "--all", "--quiet", "--filter", f"label=io.agentstack.stack={name}").split() == []
    left = set(docker("volume", "ls", "--quiet", "--filter", f"label=io.agentstack.stack={name}").split())
    assert any(volume.endswith("postgres-data") for volume in left), left
    assert left <= kept

    checkout.sh(f"{EXPORTS}pulumi state unprotect --all --yes --stack {name}\npulumi destroy --stack {name}")
    assert checkout.stack.left_over() == []
