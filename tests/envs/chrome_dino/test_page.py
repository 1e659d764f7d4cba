"""Dino beside the page that it simulates: the same numbers after every frame, and nearly the same pictures.

Needs a browser, its driver and the extra `dino`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled
from helpers.dino_search import HOLD, plan
from helpers.games import random_actions, single

from rlgames.envs.chrome_dino.page import LISTS, NOOP, PLAIN
from rlgames.envs.dino.rules import RECORD
from rlgames.envs.registry import load_game

FIELDS = [field for field in PLAIN if field in (RECORD.names or ())]  # all that the page tells


def page(maker: Callable[..., Any] = gym.make, *args: Any, **options: Any) -> Any:
    try:
        return maker("rlgames/ChromeDino-v0", *args, **options)
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
    env = single("Dino:obs=state")
    env.reset(seed=seed)
    return plan(env.snapshot()["records"], frames, seed)


def differences(ours: np.ndarray, theirs: np.ndarray) -> list[str]:
    """Of records (n,); of the obstacles' fields what there are obstacles for."""
    there = np.arange(ours["x"].shape[1]) < ours["obstacles"][:, None]
    unlike = {field: ours[field] != theirs[field] for field in FIELDS}
    unlike |= {field: ((ours[field] != theirs[field]) & there).any(1) for field in LISTS}
    rows = [(field, i) for field, where in unlike.items() for i in np.flatnonzero(where)]
    return [f"{field} of row {i}: {ours[field][i]} for the page's {theirs[field][i]}" for field, i in rows]


def test_the_same_numbers(closing: list[Any]) -> None:
    """Of players who know what comes and then do nothing, and of those who play at random, again and again."""
    known = {4: survivor(4, 6000), 5: survivor(5, 12_000), 6: survivor(6, 1000)}
    actions = random_actions("Dino", 0, (12_300, len(known) + 1))
    for row, plan_ in enumerate(known.values()):
        actions[: len(plan_), row], actions[len(plan_) :, row] = plan_, NOOP
    n = len(known) + 1
    ours = load_game("Dino", obs="state").batch(n, autoreset_mode="SameStep")
    theirs = page(gym.make_vec, n, obs="state", autoreset_mode="SameStep")
    closing.append(theirs)
    assert np.array_equal(ours.reset(seed=4)[0], theirs.reset(seed=4)[0])
    seen = dict.fromkeys(("nights", "pterodactyls", "ends", "top speed"), 0.0)
    for frame, action in enumerate(actions):
        found, expected = ours.step(action), theirs.step(action)
        records, page_s = ours.snapshot()["records"], theirs._players.records
        assert not differences(records, page_s), f"frame {frame}: {differences(records, page_s)}"
        for one, other in zip(found[:4], expected[:4], strict=True):
            assert np.array_equal(one, other)
        assert np.array_equal(found[4]["score"], expected[4]["score"])
        seen["nights"] += int((records["night"] > 0).sum())
        seen["pterodactyls"] += int((records["kind"][:, 0] == 2).sum())
        seen["ends"] += int(found[2].sum())
        seen["top speed"] = max(seen["top speed"], records["speed"].max())
    assert actions.size > 40_000
    assert seen["nights"] > 3000
    assert seen["pterodactyls"] > 3000
    assert seen["ends"] > 20
    assert 13 <= seen["top speed"] < 13.001


def test_nearly_the_same_pictures(closing: list[Any]) -> None:
    """Mean differences in levels of 255. Moon, stars and best score are the page's alone."""
    theirs = page(frame_skip=HOLD)
    closing.append(theirs)
    ours = single("Dino", frame_skip=HOLD)
    actions, errors, blank, nights = survivor(4, 4500), [], [], 0
    pictures = ours.reset(seed=4)[0], theirs.reset(seed=4)[0]
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
