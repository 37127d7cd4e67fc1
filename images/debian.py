"""Debian for local builds: the host's own package sources, read at build time and never written into the project."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from images.recipes import DebianStep
from images.shell import BuildError, Step, find_program

KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PACKAGES: Final = {"mmdebstrap": "mmdebstrap", "zstd": "zstd"}
"""Program -> the Debian package that brings it."""
MIRROR_VARIABLE: Final = "AGENTSTACK_DEBIAN_MIRROR"
SECURITY_VARIABLE: Final = "AGENTSTACK_DEBIAN_SECURITY_MIRROR"
_SUITE: Final = re.compile(
    r"^(bullseye|bookworm|trixie|forky|sid|oldoldstable|oldstable|stable|testing|unstable)"
    r"(-updates|-security|-backports|/updates)?$"
)


@dataclass(frozen=True)
class DebianSources:
    """URIs of the archive and, where the host has one, of the security archive."""

    main: str
    security: str | None


def ensure_packages(step: Step) -> None:
    """Have mmdebstrap, zstd and Debian's keys on this host: installed when root, else asked for.

    Raises:
        BuildError: they are missing and can't be installed from here.
    """
    missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    if not KEYRING.is_file():
        missing.append("debian-archive-keyring")
    if not missing:
        return
    remedy = f"install them: sudo apt-get install {' '.join(missing)}"
    if shutil.which("apt-get") is None:
        raise BuildError(
            f"Local image builds need {', '.join(missing)}, and this host has no apt-get.",
            "build on Debian or Ubuntu, or use `imageSource: registry`",
        )
    if os.geteuid() != 0:
        raise BuildError(f"Local image builds need the packages {', '.join(missing)}.", remedy)
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    step.run(["apt-get", "-q", "update"], what="reading the host's package lists", remedy=remedy, env=quiet)
    step.run(
        ["apt-get", "-q", "install", "-y", "--no-install-recommends", *missing],
        what=f"installing {', '.join(missing)}",
        remedy=remedy,
        env=quiet,
    )


def read_sources(apt: Path = Path("/etc/apt")) -> DebianSources:
    """Find the Debian archive in apt's configuration, or in the two environment variables that override it.

    Raises:
        BuildError: apt knows no Debian archive (Ubuntu's can't serve Debian's suites).
    """
    if mirror := os.environ.get(MIRROR_VARIABLE):
        return DebianSources(main=mirror, security=os.environ.get(SECURITY_VARIABLE))
    main: str | None = None
    security: str | None = None
    for uri, suites in _entries(apt):
        for suite in suites:
            found = _SUITE.match(suite)
            if not found or not uri.startswith(("http://", "https://")):
                continue
            if found.group(2) in ("-security", "/updates"):
                security = security or uri
            elif found.group(2) != "-backports":
                main = main or uri
    if main is None:
        raise BuildError(
            f"No Debian archive found in {apt}/sources.list and {apt}/sources.list.d.",
            f"set {MIRROR_VARIABLE} (and {SECURITY_VARIABLE}) to the archive to build from",
        )
    return DebianSources(main=main, security=security)


def _entries(apt: Path) -> list[tuple[str, list[str]]]:
    """(URI, suites) of every enabled entry with binary packages of `main`, in both of apt's formats."""
    found: list[tuple[str, list[str]]] = []
    for path in [*sorted(apt.glob("sources.list.d/*.sources"))]:
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            fields = {
                name.strip().lower(): value.split()
                for line in stanza.splitlines()
                if ":" in line and not line.lstrip().startswith("#")
                for name, value in [line.split(":", 1)]
            }
            enabled = "no" not in [word.lower() for word in fields.get("enabled", [])]
            if enabled and "deb" in fields.get("types", []) and "main" in fields.get("components", []):
                found += [(uri, fields.get("suites", [])) for uri in fields.get("uris", [])]
    for path in [apt / "sources.list", *sorted(apt.glob("sources.list.d/*.list"))]:
        if not path.is_file():
            continue
        for line in path.read_text().splitlines():
            words = re.sub(r"\[[^]]*\]", " ", line.split("#", 1)[0]).split()
            if len(words) >= 4 and words[0] == "deb" and "main" in words[3:]:
                found.append((words[1], [words[2]]))
    return found


def make_root(debian: DebianStep, target: Path, arch: str, step: Step) -> None:
    """Write the root file system of `debian.suite` as the tar file `target`. Package signatures are verified."""
    sources = read_sources()
    signed = f"deb [signed-by={KEYRING}]"
    lines = [f"{signed} {sources.main} {debian.suite} main"]
    if debian.suite not in ("sid", "unstable"):
        lines.append(f"{signed} {sources.main} {debian.suite}-updates main")
        if sources.security:
            lines.append(f"{signed} {sources.security} {debian.suite}-security main")
    listing = target.with_suffix(".list")
    listing.write_text("\n".join(lines) + "\n")
    command = [
        find_program("mmdebstrap", "apt-get install mmdebstrap"),
        "--variant=minbase",
        f"--architectures={arch}",
        *(f"--aptopt={option}" for option in debian.apt_options),
        *(f"--dpkgopt={option}" for option in debian.dpkg_options),
        *([f"--include={','.join(debian.include)}"] if debian.include else []),
        *(f"--customize-hook={hook}" for hook in debian.hooks),
        debian.suite,
        str(target),
        str(listing),
    ]
    step.run(
        command,
        what=f"making Debian {debian.suite}",
        remedy="check that `apt-get update` works on this host; mmdebstrap uses the same archive",
    )
