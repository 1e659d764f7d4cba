"""Fixtures of all tests."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from helpers import leaks
from helpers.games import NAMES
from helpers.ray_processes import all_end

from rlgames.engine.ray_cluster import connect


@pytest.fixture(autouse=True, scope="session")
def single_threaded_torch() -> None:
    """Small networks are fastest on one thread, and several test processes need not compete for the cores.

    The tests of games run where torch is not installed.
    """
    if find_spec("torch"):
        import torch  # noqa: PLC0415  heavy

        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that leaves a process, a thread or a socket fails itself, and not the next one.

    Tests share a cluster of Ray, which comes and goes with their module; it is checked there.
    """
    if "ray" in request.fixturenames:
        yield
        return
    before = leaks.held()
    yield
    left = leaks.left_since(before)
    assert not left, f"the test leaves behind: {', '.join(left)}"


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """Start one local cluster of Ray for all tests of a module, and end it, also if one has failed."""
    pytest.importorskip("ray")
    with connect() as connection:
        yield connection.ray
        with all_end():
            connection.ray.shutdown()


@pytest.fixture(scope="session", params=NAMES)
def game(request: pytest.FixtureRequest) -> str:
    """Every compiled game, with "CatchBall:size=16"."""
    return request.param


LONGEST_FILES = (  # started first, so that no process is left alone with one of them in the end
    *("test_resume.py", "test_saving.py", "test_main.py", "test_examples.py", "test_workers.py", "test_a3c.py"),
    *("test_own.py", "test_pong.py", "test_wheel.py", "test_loops.py", "test_agents.py", "test_evaluation.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests by file, the longest files first."""
    order = {name: i for i, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))
