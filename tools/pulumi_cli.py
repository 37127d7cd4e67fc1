"""Getting the Pulumi command line with its Python language host and the provider plugins.

In this order: what the user has (on PATH, plugins in PULUMI_HOME or ~/.pulumi) if it is complete; what an earlier run
left in the cache; the official installer, if it can be reached within 10 s; a build from Go modules (tools/engine/).
Everything that we get lies in the cache, none of it in the user's ~/.pulumi.
"""

import os
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools import gobuild
from tools.console import Failure, Progress, capture, must_run, succeeds
from tools.layout import Layout, locked_version
from tools.versions import MINIMUM_PULUMI, at_least, plugin_versions

INSTALLER: Final = "https://get.pulumi.com/install.sh"
CONNECT_SECONDS: Final = 10
INSTALL_SECONDS: Final = 600


@dataclass(frozen=True)
class Pulumi:
    """A complete command line. ``bin`` and ``home`` are None where PATH and the usual home serve."""

    bin: Path | None
    home: Path | None

    def environment(self) -> dict[str, str]:
        env = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
        if self.home:
            env["PULUMI_HOME"] = str(self.home)
        if self.bin:
            env["PATH"] = f"{self.bin}{os.pathsep}{env.get('PATH', os.defpath)}"
        return env


def has_plugins(home: Path, wanted: dict[str, str]) -> bool:
    """Whether a Pulumi home holds every plugin in its version, none of them half written."""
    for name, version in wanted.items():
        folder = home / "plugins" / f"resource-{name}-v{version}"
        if not (folder / f"pulumi-resource-{name}").is_file() or folder.with_name(f"{folder.name}.partial").exists():
            return False
    return True


def is_complete(binary: Path, home: Path, wanted: dict[str, str]) -> bool:
    """Whether a command line is new enough, has its language host, and finds its plugins."""
    beside = binary.parent / "pulumi-language-python"
    if not binary.is_file() or not (beside.is_file() or shutil.which("pulumi-language-python")):
        return False
    try:
        version = capture(
            [str(binary), "version"], {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}, timeout_seconds=20
        )
    except Failure:
        return False
    return at_least(version, MINIMUM_PULUMI) and has_plugins(home, wanted)


def of_the_user(wanted: dict[str, str]) -> Pulumi | None:
    """What is on PATH, if it is complete. Nothing of it is changed."""
    found = shutil.which("pulumi")
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    candidates = [Path(found)] if found else []
    candidates.append(home / "bin" / "pulumi")
    for binary in candidates:
        if is_complete(binary.resolve(), home, wanted):
            on_path = found is not None and binary == Path(found)
            return Pulumi(bin=None if on_path else binary.parent, home=home if os.environ.get("PULUMI_HOME") else None)
    return None


def in_cache(folder: Path, wanted: dict[str, str]) -> Pulumi | None:
    """What an earlier run finished: the stamp is written last."""
    if (
        (folder / "complete").is_file()
        and has_plugins(folder / "home", wanted)
        and (folder / "bin" / "pulumi").is_file()
    ):
        return Pulumi(bin=folder / "bin", home=folder / "home")
    return None


def fetch_installer(url: str, seconds: float = CONNECT_SECONDS) -> bytes | None:
    """The official installer's script; None where it can't be reached within the deadline."""
    try:
        with urllib.request.urlopen(url, timeout=seconds) as answer:  # noqa: S310 - a constant https address
            return bytes(answer.read(1_000_000))
    except (urllib.error.URLError, TimeoutError, OSError, ValueError):
        return None


def install_officially(
    layout: Layout, progress: Progress, folder: Path, wanted: dict[str, str], url: str = INSTALLER
) -> bool:
    """By Pulumi's own installer and plugin downloads; False, and nothing left, where they can't be reached."""
    version = locked_version(layout.lock, "pulumi")
    script = fetch_installer(url)
    if script is None:
        progress.say(f"Pulumi's installer did not answer within {CONNECT_SECONDS} s")
        return False
    with gobuild.staged(folder) as stage:
        file = stage / "install.sh"
        file.write_bytes(script)
        log = layout.logs / "pulumi-install.log"
        pulumi = Pulumi(bin=stage / "bin", home=stage / "home")
        try:
            with progress.step(f"installing Pulumi {version} by its own installer"):
                must_run(
                    ["sh", str(file), "--version", version, "--install-root", str(stage), "--no-edit-path"],
                    log,
                    "Pulumi's installer",
                    timeout_seconds=INSTALL_SECONDS,
                )
                for name, plugin in wanted.items():
                    must_run(
                        [str(stage / "bin" / "pulumi"), "plugin", "install", "resource", name, f"v{plugin}"],
                        log,
                        f"getting the plugin {name} {plugin}",
                        env=pulumi.environment(),
                        timeout_seconds=INSTALL_SECONDS,
                    )
        except Failure as failure:
            progress.say(f"the official way did not work: {failure.what.splitlines()[0]}")
            return False
        if not has_plugins(stage / "home", wanted):
            progress.say("the official way did not leave the plugins where they are looked for")
            return False
        gobuild.finish(stage, folder)
    return True


def ensure_pulumi(layout: Layout, progress: Progress, installer: str = INSTALLER) -> Pulumi:
    """A complete command line.

    Raises:
        Failure: when none of the ways works.
    """
    wanted = plugin_versions(layout)
    engines = layout.cache / "engine"
    official = engines / f"official-{locked_version(layout.lock, 'pulumi')}-{gobuild.platform_name()}"
    built = engines / gobuild.key(layout.root / "tools" / "engine", wanted)
    found = of_the_user(wanted) or in_cache(official, wanted) or in_cache(built, wanted)
    if found:
        return found
    with gobuild.exclusive(engines / "lock", progress):
        found = in_cache(official, wanted) or in_cache(built, wanted)
        if found is None and install_officially(layout, progress, official, wanted, installer):
            found = in_cache(official, wanted)
        if found is None:
            gobuild.build(layout, progress, built, wanted)
            found = in_cache(built, wanted)
    if found is None or not succeeds(["pulumi", "version"], found.environment()):
        raise Failure(
            "the Pulumi command line was made but does not run", f"remove {engines} and run the same command again"
        )
    return found
