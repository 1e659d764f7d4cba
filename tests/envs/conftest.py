"""`game`: a test that asks for it runs over all games, "CatchBall:size=16" included."""

import pytest
from suite import NAMES


@pytest.fixture(scope="session", params=NAMES)
def game(request: pytest.FixtureRequest) -> str:
    return request.param
