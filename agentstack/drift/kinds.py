"""The kinds of drift, what each means and what a repair does. docs/drift.md is written from here."""

from enum import StrEnum
from typing import Final, NamedTuple


class Kind(StrEnum):
    """What a finding is."""

    MISSING = "missing"
    CHANGED = "changed"
    STOPPED = "stopped"
    PAUSED = "paused"
    UNHEALTHY = "unhealthy"
    RESTART_LOOP = "restart_loop"
    JOB_FAILED = "job_failed"
    NETWORK = "network"
    INTRUDER = "intruder"
    CONFIG_CONTENT = "config_content"
    IMAGE = "image"
    FOREIGN = "foreign"
    RENEWAL_DUE = "renewal_due"
    PENDING = "pending"


class About(NamedTuple):
    """What a kind means, what finds it, what repairs it."""

    meaning: str
    found_by: str
    repair: str


ABOUT: Final[dict[Kind, About]] = {
    Kind.MISSING: About(
        "a container, network or volume of the state is not on the engine",
        "refresh",
        "made again, and what depends on it",
    ),
    Kind.CHANGED: About(
        "a property on the engine is not what the state says (a memory limit, a label, a port)",
        "refresh",
        "set back, or the resource replaced where the engine can't",
    ),
    Kind.STOPPED: About("a service's container does not run", "probe", "started"),
    Kind.PAUSED: About("a service's container is paused", "probe", "unpaused"),
    Kind.UNHEALTHY: About(
        "a service's container runs and its health check fails", "probe", "the container is replaced"
    ),
    Kind.RESTART_LOOP: About(
        "a service's container ends again and again",
        "probe",
        "the container is replaced; `agentstack logs` says why it ends",
    ),
    Kind.JOB_FAILED: About("a one-shot ended with an error", "probe", "run again"),
    Kind.NETWORK: About(
        "a container is not on the networks, or not under the names, that were declared",
        "probe",
        "connected and disconnected as declared, without a restart",
    ),
    Kind.INTRUDER: About(
        "a container that is not the stack's is attached to one of its inner networks",
        "probe",
        "disconnected, once it is named by `--remove`",
    ),
    Kind.CONFIG_CONTENT: About(
        "the files of a configuration volume are not those that were declared",
        "probe, by hash",
        "volume, carrier and service are made again",
    ),
    Kind.IMAGE: About(
        "a container runs another image than declared, or a reference means another image now",
        "probe",
        "the name is given back to the image, or the container replaced",
    ),
    Kind.FOREIGN: About(
        "a container, network or volume carries the stack's label or name and is not the stack's",
        "probe",
        "a container or network is removed once it is named by `--remove`; a volume never",
    ),
    Kind.RENEWAL_DUE: About(
        "a certificate is in its renewal window (its last 30 days): no fault, `up` renews it", "preview", "renewed"
    ),
    Kind.PENDING: About("the stack file or the program declares what was not applied yet", "preview", "applied"),
}


def markdown() -> str:
    """The table of docs/drift.md."""
    lines = ["| kind | meaning | found by | repair |", "| --- | --- | --- | --- |"]
    lines += [f"| `{kind}` | {about.meaning} | {about.found_by} | {about.repair} |" for kind, about in ABOUT.items()]
    return "\n".join(lines)
