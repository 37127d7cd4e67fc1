"""What every engine test is given."""

import asyncio
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def _event_loop_of_the_thread() -> Iterator[None]:
    """Pulumi's outputs want an event loop where they are made; what ran before may have left none."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()
    asyncio.set_event_loop(None)
