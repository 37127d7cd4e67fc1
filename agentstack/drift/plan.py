"""What Pulumi's own comparisons say, as findings. Pure: the JSON of `refresh` and `preview` in, findings out.

Pulumi masks secret values itself ("[secret]"), so what is told here holds none.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from agentstack.drift.declared import CERTIFICATE, CONTAINER, NETWORK, VOLUME, Declared
from agentstack.drift.finding import Finding
from agentstack.drift.kinds import Kind
from agentstack.engine import parse_time
from components.names import PROJECT

LONGEST: Final = 80
"""Characters of a value that are told."""
_KIND_NAMES: Final = {CONTAINER: "container", NETWORK: "network", VOLUME: "volume", CERTIFICATE: "certificate"}
_DONE: Final = {
    "create": "to be made",
    "update": "to be changed",
    "replace": "to be replaced",
    "create-replacement": "to be replaced",
    "delete-replaced": "to be replaced",
    "delete": "to be removed",
}
_OPEN: Final = frozenset(_DONE)


def type_of(urn: str) -> str:
    """The resource type in a URN (the last of its chain of parents)."""
    return urn.split("::")[2].rsplit("$", 1)[-1]


def _grouping(urn: str) -> bool:
    """Whether a resource is a component or the stack itself: nothing on the engine, told by its parts."""
    return type_of(urn).split(":")[0] in {PROJECT, "pulumi"}


def noun(urn: str) -> str:
    """What a resource is, for people."""
    kind = type_of(urn)
    return _KIND_NAMES.get(kind, kind.rsplit(":", 1)[-1])


def _value(state: Mapping[str, Any] | None, path: str) -> str:
    """A property of a step's state, shortened."""
    top = path.split("[", maxsplit=1)[0].split(".", maxsplit=1)[0]
    value = ((state or {}).get("outputs") or {}).get(top)
    if isinstance(value, dict) and ("ciphertext" in value or "plaintext" in value):
        return "[secret]"
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _keys(step: Mapping[str, Any]) -> list[str]:
    return sorted(step.get("detailedDiff") or step.get("diffReasons") or [])


def _renewal(step: Mapping[str, Any], name: str) -> Finding:
    state = step.get("newState") or step.get("oldState") or {}
    outputs = state.get("outputs") or (step.get("oldState") or {}).get("outputs") or {}
    end = str(outputs.get("validityEndTime", ""))
    return Finding(
        kind=Kind.RENEWAL_DUE,
        resource=name,
        expected="a certificate outside its renewal window",
        actual=f"valid until {end}" if end else "in its renewal window",
        since=_window(end, outputs.get("earlyRenewalHours")),
        repair="renew it and restart or reload what serves it",
        urn=step["urn"],
    )


def _window(end: str, hours: Any) -> str | None:
    """When the renewal window of a certificate began."""
    moment = parse_time(end)
    if moment is None or not isinstance(hours, int | float):
        return None
    return (moment - timedelta(hours=hours)).isoformat(timespec="seconds").replace("+00:00", "Z")


def of_refresh(digest: Mapping[str, Any], declared: Declared) -> Iterator[Finding]:
    """State against engine: what is gone, what was changed there."""
    for step in digest.get("steps") or []:
        urn, operation = step["urn"], step["op"]
        name = declared.urns.get(urn, urn.rsplit("::", 1)[-1])
        if operation == "delete":
            yield Finding(
                kind=Kind.MISSING,
                resource=name,
                expected=f"{noun(urn)} {name}",
                actual="not on the engine",
                since=None,
                repair=f"make the {noun(urn)} again",
                urn=urn,
            )
        elif operation in {"update", "refresh"} and (keys := _keys(step)):
            if type_of(urn) == CERTIFICATE and "readyForRenewal" in keys:
                yield _renewal(step, name)
                continue
            old, new = step.get("oldState"), step.get("newState")
            yield Finding(
                kind=Kind.CHANGED,
                resource=name,
                expected="; ".join(f"{key} = {_value(old, key)}" for key in keys),
                actual="; ".join(f"{key} = {_value(new, key)}" for key in keys),
                since=None,
                repair=f"set the {noun(urn)} back to what was declared",
                urn=urn,
                details={"only_running": keys == ["mustRun"]},
            )


def of_preview(digest: Mapping[str, Any], declared: Declared, explained: frozenset[str]) -> Iterator[Finding]:
    """Declaration against state: what the next `up` would do, beyond mending what refresh found (``explained``).

    What is replaced only because a certificate is renewed, or because something that it is made from is gone, is no
    finding of its own.
    """
    operations: dict[str, list[str]] = {}
    steps: dict[str, Mapping[str, Any]] = {}
    for step in digest.get("steps") or []:
        if step["op"] in _OPEN and step["urn"] not in explained and not _grouping(step["urn"]):
            operations.setdefault(step["urn"], []).append(step["op"])
            steps.setdefault(step["urn"], step)
    renewals = frozenset(
        urn
        for urn, found in operations.items()
        if type_of(urn) == CERTIFICATE and _renews(steps[urn]) and not {"create", "delete"} & set(found)
    )
    causes = explained | renewals
    for urn, found in operations.items():
        name = declared.urns.get(urn, urn.rsplit("::", 1)[-1])
        if urn in renewals:
            yield _renewal(steps[urn], name)
            continue
        if urn in declared.urns and declared.rests_on(urn, causes):
            continue
        operation = next(op for op in ("replace", "create-replacement", *_DONE) if op in found)
        keys = [key for key in _keys(steps[urn]) if not key.startswith("__")]
        yield Finding(
            kind=Kind.PENDING,
            resource=name,
            expected=f"{noun(urn)} {_DONE[operation]}" + (f" ({', '.join(keys)})" if keys else ""),
            actual="not applied yet",
            since=None,
            repair="apply it",
            urn=urn,
        )


def _renews(step: Mapping[str, Any]) -> bool:
    """Whether a certificate is replaced because of its age alone."""
    outputs = (step.get("oldState") or {}).get("outputs") or {}
    return "readyForRenewal" in _keys(step) or outputs.get("readyForRenewal") is True
