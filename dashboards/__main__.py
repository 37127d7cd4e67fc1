"""Writes every dashboard as JSON, for people who import by hand: ``python -m dashboards [OUT_DIR] [--stack NAME]``.

Exit codes: 0 written, 2 bad usage or settings.
"""

import argparse
import os
import sys
from pathlib import Path

import yaml

from components.settings import Settings, SettingsError, load_settings
from dashboards import dashboard_files

ROOT = Path(__file__).resolve().parent.parent


def stack_settings(stack: str) -> Settings:
    """The settings of a stack file; thresholds and links come from there.

    Raises:
        SettingsError: when it can't be used.
        OSError: when there is none.
    """
    content = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))
    return load_settings((content.get("config") or {}).get("agentstack:stack") or {})


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m dashboards", description="Write the Grafana dashboards as JSON.")
    parser.add_argument("folder", nargs="?", default=".agentstack/dashboards", help="where to (default: %(default)s)")
    parser.add_argument("--stack", default=os.environ.get("PULUMI_STACK") or "dev", help="whose thresholds and links")
    options = parser.parse_args(arguments)
    try:
        files = dashboard_files(stack_settings(options.stack))
    except (SettingsError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for name, text in files.items():
        path = Path(options.folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
