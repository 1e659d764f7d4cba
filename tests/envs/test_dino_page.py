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

FIELDS = [field for field in PLAIN if field in (RECORD.names or ())]  # all that the page tells


def page(**options: Any) -> Any:
    try:
        return gym.make("rlgames/ChromeDino-v0", **options)
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
    """Of players who know what comes and then do nothing, and of one who plays at random, again and again."""
    ours, theirs = solo("Dino:obs=state"), page(obs="state")
    closing.append(theirs)
    nothing, seen = np.zeros(300, np.int64), dict.fromkeys(("frames", "nights", "pterodactyls", "ends", "top speed"), 0)
    wild = random_actions("Dino", 0, 3000)
    games = [(4, survivor(4, 6000)), (5, survivor(5, 12_000)), (6, wild), (7, survivor(7, 1000)), (8, wild[::-1])]
    for seed, actions in games:
        assert np.array_equal(ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0])
        for action in np.concatenate([actions, nothing]):
            (obs, *outcome, info), (expected, *their_outcome, their_info) = ours.step(action), theirs.step(action)
            s, their_s = ours.snapshot()["records"][0], theirs.unwrapped._players.records[0]
            assert not differences(s, their_s), f"seed {seed}, frame {s['age']}: {differences(s, their_s)}"
            assert np.array_equal(obs, expected)
            assert outcome == their_outcome
            assert info["score"] == their_info["score"]
            seen["frames"] += 1
            seen["nights"] += int(s["night"])
            seen["pterodactyls"] += int(s["kind"][0] == 2)
            seen["top speed"] = max(seen["top speed"], s["speed"])
            if outcome[1]:
                seen["ends"] += 1
                assert np.array_equal(ours.reset()[0], theirs.reset()[0])
    assert seen["frames"] > 20_000
    assert seen["nights"] > 3000
    assert seen["pterodactyls"] > 3000
    assert seen["ends"] > 20
    assert 13 <= seen["top speed"] < 13.001


def test_nearly_the_same_pictures(closing: list[Any]) -> None:
    """Mean differences in levels of 255. Moon, stars and best score are the page's alone."""
    theirs = page(frame_skip=HOLD)
    closing.append(theirs)
    ours = solo("Dino", frame_skip=HOLD)
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
