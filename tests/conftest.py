"""Fixtures of all tests."""

from collections.abc import Iterator

import pytest
import torch
from helpers import leaks
from helpers.games import NAMES


@pytest.fixture(autouse=True, scope="session")
def single_threaded_torch() -> None:
    """Small networks are fastest on one thread, and several test processes need not compete for the cores."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """A test that leaves a process, a thread or a socket fails itself, and not the next one."""
    before = leaks.held()
    yield
    left = leaks.left_since(before)
    assert not left, f"the test leaves behind: {', '.join(left)}"


@pytest.fixture(scope="session", params=NAMES)
def game(request: pytest.FixtureRequest) -> str:
    """Every compiled game, with "CatchBall:size=16"."""
    return request.param
