"""Fixtures of Mario's tests."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """A stack that closes environments after the test, also if it fails."""
    with ExitStack() as stack:
        yield stack
