"""Fixtures of all tests."""

import pytest
import torch
from helpers.games import NAMES


@pytest.fixture(autouse=True, scope="session")
def single_threaded_torch() -> None:
    """Small networks are fastest on one thread, and several test processes need not compete for the cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", params=NAMES)
def game(request: pytest.FixtureRequest) -> str:
    """Every compiled game, with "CatchBall:size=16"."""
    return request.param
