"""Sets how long Phoenix keeps traces, and when it deletes: Phoenix's own variable works only on an empty database.

A one-shot with the standard library alone. Idempotent: asks first, changes only what differs, and reads it back.

    retention.py --url https://phoenix:6006 --ca FILE --secret-file FILE --days 90 --cron "0 3 * * *"
"""

import argparse
import json
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

DEFAULT_POLICY: Final = "UHJvamVjdFRyYWNlUmV0ZW50aW9uUG9saWN5OjA="
"""Global id of the policy "Default", which holds for every project without one of its own."""
QUERY: Final = """
query($id: ID!) {
  node(id: $id) {
    ... on ProjectTraceRetentionPolicy {
      cronExpression
      rule { __typename ... on TraceRetentionRuleMaxDays { maxDays } }
    }
  }
}
"""
CHANGE: Final = """
mutation($input: PatchProjectTraceRetentionPolicyInput!) {
  patchProjectTraceRetentionPolicy(input: $input) { node { id } }
}
"""
WAIT_SECONDS: Final = 120.0
RETRY_SECONDS: Final = 2.0

Ask = Callable[[str, dict[str, Any]], dict[str, Any]]


class RetentionError(RuntimeError):
    """Phoenix refused."""


@dataclass(frozen=True)
class Policy:
    """Days that traces are kept (None: the rule is of another kind), and when the deletion runs (UTC)."""

    days: float | None
    cron: str


def client(url: str, ca: Path, secret: str) -> Ask:
    """Asks Phoenix's GraphQL over verified TLS. Raises OSError while Phoenix can't be reached."""
    context = ssl.create_default_context(cafile=str(ca))

    def ask(query: str, variables: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - https only: checked in main
            f"{url}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"authorization": f"Bearer {secret}", "content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, context=context, timeout=20) as response:  # noqa: S310
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            if error.code in {401, 403}:
                raise RetentionError(f"Phoenix does not accept the admin secret (HTTP {error.code})") from error
            raise
        if answer.get("errors"):
            raise RetentionError("; ".join(str(error.get("message")) for error in answer["errors"]))
        data: dict[str, Any] = answer["data"]
        return data

    return ask


def read(ask: Ask) -> Policy:
    """The policy in force."""
    node = ask(QUERY, {"id": DEFAULT_POLICY})["node"]
    return Policy(days=node["rule"].get("maxDays"), cron=node["cronExpression"])


def reconcile(ask: Ask, wanted: Policy) -> str:
    """Put ``wanted`` in force; says what was done.

    Raises:
        RetentionError: when it is not in force afterwards.
    """
    found = read(ask)
    if found == wanted:
        return f"traces are kept {wanted.days:g} days: nothing to change"
    change = {"id": DEFAULT_POLICY, "cronExpression": wanted.cron, "rule": {"maxDays": {"maxDays": wanted.days}}}
    ask(CHANGE, {"input": change})
    if (now := read(ask)) != wanted:
        raise RetentionError(f"asked for {wanted}, but {now} is in force")
    return f"traces are kept {wanted.days:g} days (were: {found.days}), deletion at cron {wanted.cron!r} UTC"


def patiently(action: Callable[[], str], deadline_seconds: float = WAIT_SECONDS) -> str:
    """Run ``action``; try again while Phoenix can't be reached."""
    end = time.monotonic() + deadline_seconds
    while True:
        try:
            return action()
        except OSError as error:
            if time.monotonic() >= end:
                raise
            sys.stderr.write(f"retention: {error}; trying again\n")
            time.sleep(RETRY_SECONDS)


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--ca", type=Path, required=True)
    parser.add_argument("--secret-file", type=Path, required=True)
    parser.add_argument("--days", type=float, required=True)
    parser.add_argument("--cron", required=True)
    options = parser.parse_args(arguments)
    if not options.url.startswith("https://"):
        parser.error("--url must be https")
    ask = client(options.url, options.ca, options.secret_file.read_text(encoding="utf-8").strip())
    try:
        done = patiently(lambda: reconcile(ask, Policy(days=options.days, cron=options.cron)))
    except (RetentionError, OSError) as error:
        sys.stderr.write(f"retention: {error}\n")
        return 1
    sys.stdout.write(f"retention: {done}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
