"""The report of a drill: what a loss of the database right now would have cost."""

from datetime import UTC, datetime
from typing import Any, Final

RTO_AIM_SECONDS: Final = 4 * 3600
RPO_AIM_SECONDS: Final = 15 * 60


def report(stack: str, repository: str, found: dict[str, Any]) -> str:
    """Markdown."""
    when = datetime.fromtimestamp(found["timestamp"], UTC)
    size = found["bytes"] / 1e6
    phases = found["phases"]
    rows = [f"| {name} | {seconds:.1f} |" for name, seconds in phases.items()]
    speed = size / phases["restore"] if phases.get("restore") else 0.0
    verdict = "Passed" if passed(found) else "FAILED"
    lines = [
        f"# Restore drill of stack {stack}, {when:%Y-%m-%d %H:%M} UTC",
        "",
        f"{verdict}: the newest backup of repository `{repository}` and the log behind it were "
        "restored to a copy, as if the database had been lost at that moment.",
        "",
        "| | measured | aim |",
        "| --- | --- | --- |",
        f"| time to recover (RTO), without the services' restart | {found['rto']:.1f} s | {RTO_AIM_SECONDS} s |",
        f"| data lost (RPO), at most | {found['rpo']:.1f} s | {RPO_AIM_SECONDS} s |",
        f"| restored | {size:.1f} MB at {speed:.1f} MB/s | |",
        f"| spans in it | {found['inside']['spans']} | |",
        "",
        f"Backup: `{found['label']}`.",
        "",
        "| phase | seconds |",
        "| --- | --- |",
        *rows,
        "",
        "The data lost is measured from the newest heartbeat row in the copy, which is written every five minutes: "
        "spans stored after it and archived are there too.",
    ]
    return "\n".join(lines) + "\n"


def passed(found: dict[str, Any]) -> bool:
    """True when both aims were met."""
    return bool(found["rto"] <= RTO_AIM_SECONDS and found["rpo"] <= RPO_AIM_SECONDS)
