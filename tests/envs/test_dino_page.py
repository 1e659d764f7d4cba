"""Dino beside the page that it simulates: the same numbers after every frame, and nearly the same pictures.

Needs a browser, its driver and the extra `dino`.
"""

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from dino_search import HOLD, plan
from gymnasium.error import DependencyNotInstalled
from suite import random_actions, solo

from rlgames.envs.chrome_dino_page import LISTS, PLAIN
from rlgames.envs.dino import RECORD

SEED, FRAMES = 4, 6000  # of each of the players
FIELDS = [field for field in PLAIN if field in RECORD.names]  # all that the page tells


def page(many: int | None = None, **options: Any) -> Any:
    try:
        if many is None:
            return gym.make("rlgames/ChromeDino-v0", **options)
        return gym.make_vec("rlgames/ChromeDino-v0", many, **options)
    except DependencyNotInstalled as missing:
        pytest.skip(str(missing))


@pytest.fixture
def closing() -> Iterator[list[Any]]:
    """Environments that are closed at the end."""
    opened: list[Any] = []
    yield opened
    for env in opened:
        env.close()


def survivor(seed: int, frames: int) -> np.ndarray:
    env = solo("Dino:obs=state")
    env.reset(seed=seed)
    return plan(env.snapshot()["records"], frames, seed)


def differences(ours: np.void, theirs: np.void) -> list[str]:
    n = ours["obstacles"]
    pairs = [(field, ours[field], theirs[field]) for field in FIELDS]
    pairs += [(field, ours[field][:n].tolist(), theirs[field][:n].tolist()) for field in LISTS]
    return [f"{field}: {a} for the page's {b}" for field, a, b in pairs if a != b]


def test_the_same_numbers(closing: list[Any]) -> None:
    """Four players: two who know what comes, one who does for a while, and one who plays at random, again and again."""
    theirs = page(4, obs="state")
    closing.append(theirs)
    ours = gym.make_vec("rlgames/Dino-v0", 4, obs="state")
    actions = random_actions("Dino", 0, (FRAMES, 4))
    actions[:, 0], actions[:, 1], actions[:2000, 2] = (
        survivor(SEED, FRAMES),
        survivor(SEED + 1, FRAMES),
        survivor(6, 2000),
    )
    assert np.array_equal(ours.reset(seed=SEED)[0], theirs.reset(seed=SEED)[0])
    nights, pterodactyls, ends, speed = 0, 0, 0, 0.0
    for frame, row in enumerate(actions):
        (obs, *outcome, info), (expected, *their_outcome, their_info) = ours.step(row), theirs.step(row)
        records, pages = ours.unwrapped.snapshot()["records"], theirs.unwrapped._players.records
        found = {i: differences(*both) for i, both in enumerate(zip(records, pages, strict=True))}
        assert not any(found.values()), f"frame {frame + 1}, action {row}: {found}"
        assert np.array_equal(obs, expected)
        for a, b in zip([*outcome, info["score"]], [*their_outcome, their_info["score"]], strict=True):
            assert np.array_equal(a, b)
        nights += records["night"].sum()
        pterodactyls += (records["kind"][:, 0] == 2).sum()
        ends += outcome[1].sum()
        speed = max(speed, records["speed"].max())
    assert nights > 1000
    assert pterodactyls > 1000
    assert ends > 20
    assert speed > 11.9


def test_nearly_the_same_pictures(closing: list[Any]) -> None:
    """Mean differences in levels of 255. Moon, stars and best score are the page's alone."""
    theirs = page(frame_skip=HOLD)
    closing.append(theirs)
    ours = gym.make("rlgames/Dino-v0", frame_skip=HOLD)
    actions, errors, blank, nights = survivor(SEED, 4500), [], [], 0
    pictures = ours.reset(seed=SEED)[0], theirs.reset(seed=SEED)[0]
    for action in actions[::HOLD]:
        mine, page_s = (picture.astype(float) for picture in pictures)
        nights += mine.mean() < 128
        errors.append(np.abs(mine - page_s).mean())
        blank.append(np.abs(np.median(page_s) - page_s).mean())
        pictures = ours.step(action)[0], theirs.step(action)[0]
    assert nights > 100
    assert np.mean(errors) < 0.8
    assert np.max(errors) < 3
    assert np.mean(errors) < np.mean(blank) / 5
