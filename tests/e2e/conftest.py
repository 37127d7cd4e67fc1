"""One stack for all end-to-end tests: made by the code of `make up`, cleared of what an earlier run left."""

import hashlib
import os
from collections.abc import Iterator

import pytest

from tests.e2e.stack import ROOT, StackUnderTest, docker

# Python's OTLP/HTTP exporter prefers these to the CA file that it is given.
for _name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
    os.environ.pop(_name, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The stack's birth is looked at first, its end last; then the other way to one."""
    place = {"test_birth.py": -1, "test_end.py": 1, "test_plain_pulumi.py": 2}
    items.sort(key=lambda item: place.get(item.path.name, 0) if item.path.parent.name == "e2e" else -2)


@pytest.fixture(scope="session")
def unborn() -> Iterator[StackUnderTest]:
    """The stack before its first `up`. Taken down for good at the end, whatever happened."""
    docker("version")
    made = StackUnderTest("t" + hashlib.sha256(str(ROOT).encode()).hexdigest()[:7])
    made.clear()
    made.run("make", "setup", timeout=2400)
    made.write_settings()
    try:
        yield made
    finally:
        made.close()
        if not os.environ.get("AGENTSTACK_KEEP"):
            made.clear()


@pytest.fixture(scope="session")
def stack(unborn: StackUnderTest) -> StackUnderTest:
    """The stack, up and healthy."""
    unborn.first_up = unborn.up()
    return unborn
