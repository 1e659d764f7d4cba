"""Dino simulates the page: the same numbers after every frame, and nearly the same pixels."""

from contextlib import ExitStack
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from helpers.chrome import skip_without_browser, state_differences
from helpers.dino_search import HOLD, plan
from helpers.games import random_actions

from rlgames.envs.chrome_dino.page import NOOP

skip_without_browser()

BEFORE_NIGHT = {"speed": 8.6, "distance": 27_200.0}  # 680 points: the night begins at 700, pterodactyls at speed 8.5
BEFORE_TOP_SPEED = {"speed": 12.9, "distance": 58_000.0}
PTERODACTYL = 2


def jump_ahead(page_env: Any, simulator: Any, speed: float, distance: float) -> None:
    """Change speed and distance of the first environment of both sides."""
    changes = f"{{currentSpeed: {speed}, distanceRan: {distance}}}"
    page_env._state.page._page.evaluate(f"Object.assign(Runner.getInstance(), {changes}) && null")
    state = simulator.snapshot()
    state["records"]["speed"][0], state["records"]["distance"][0] = speed, distance
    simulator.restore(state)


class Comparison:
    """Steps vector environments of the page and of the simulator, and compares all that they return."""

    def __init__(self, num_envs: int, opened: ExitStack):
        settings: dict[str, Any] = {"obs": "state", "autoreset_mode": "SameStep"}
        self.page_envs: Any = gym.make_vec("rlgames/ChromeDino-v0", num_envs, **settings)
        self.simulators: Any = gym.make_vec("rlgames/Dino-v0", num_envs, **settings)
        opened.callback(self.page_envs.close)
        self.nights = self.pterodactyls = self.ends = 0
        self.top_speed = 0.0

    def reset(self, seed: int) -> None:
        assert np.array_equal(self.page_envs.reset(seed=seed)[0], self.simulators.reset(seed=seed)[0])

    def records(self) -> np.ndarray:
        return self.simulators.snapshot()["records"]

    def step(self, actions: np.ndarray) -> None:
        (*found, info), (*expected, expected_info) = self.page_envs.step(actions), self.simulators.step(actions)
        records = self.records()
        assert not state_differences(records, self.page_envs._state.records)
        for array, other in zip(found, expected, strict=True):
            assert np.array_equal(array, other)
        assert np.array_equal(info["score"], expected_info["score"])
        self.nights += int((records["night"] > 0).sum())
        self.pterodactyls += int((records["kind"][:, 0] == PTERODACTYL).sum())
        self.ends += int(found[2].sum())
        self.top_speed = max(self.top_speed, records["speed"].max())


@pytest.mark.slow
def test_states_equal_the_simulators_frame_by_frame(opened: ExitStack) -> None:
    """A night with pterodactyls and the top speed, of an environment that survives; two others act at random."""
    both = Comparison(3, opened)
    for start, frames in ((BEFORE_NIGHT, 840), (BEFORE_TOP_SPEED, 360)):
        both.reset(seed=4)
        jump_ahead(both.page_envs, both.simulators, **start)
        actions = random_actions("Dino", 0, (frames, 3))
        actions[:, 0] = plan(both.records()[:1], frames, seed=4)
        for row in actions:
            both.step(row)
    assert both.nights > 700
    assert both.pterodactyls > 100
    assert both.ends >= 4
    assert 13 <= both.top_speed < 13.001


@pytest.mark.slow
def test_states_of_long_episodes_equal_the_simulators_frame_by_frame(opened: ExitStack) -> None:
    """Three environments that survive and then crash, and one that acts at random."""
    both = Comparison(4, opened)
    both.reset(seed=4)
    actions = random_actions("Dino", 0, (12_300, 4))
    for i, frames in enumerate((6000, 12_000, 1000)):
        actions[:frames, i] = plan(both.records()[i : i + 1], frames, seed=4 + i)
        actions[frames:, i] = NOOP
    for row in actions:
        both.step(row)
    assert both.nights > 3000
    assert both.pterodactyls > 3000
    assert both.ends > 20
    assert 13 <= both.top_speed < 13.001


def check_pixels(frames: int, start: dict[str, float] | None, opened: ExitStack) -> None:
    """Bound mean differences in levels of 255. Moon, stars and the high score are only on the page."""
    page_env: Any = gym.make("rlgames/ChromeDino-v0", frame_skip=HOLD, disable_env_checker=True).unwrapped
    opened.callback(page_env.close)
    simulator: Any = gym.make("rlgames/Dino-v0", frame_skip=HOLD, disable_env_checker=True).unwrapped
    both = page_env.reset(seed=4)[0], simulator.reset(seed=4)[0]
    if start:
        jump_ahead(page_env, simulator, **start)
    actions = plan(simulator.snapshot()["records"], frames, seed=4)[::HOLD]
    errors, contents, nights = [], [], 0
    for action in actions:
        found, simulated = (pixels.astype(float) for pixels in both)
        nights += simulated.mean() < 128
        errors.append(np.abs(found - simulated).mean())
        contents.append(np.abs(np.median(found) - found).mean())  # the error of an empty picture
        both = page_env.step(action)[0], simulator.step(action)[0]
    assert nights > 100
    assert np.mean(errors) < 0.8
    assert np.max(errors) < 3
    assert np.mean(errors) < np.mean(contents) / 5


def test_pixels_are_close_to_the_simulators(opened: ExitStack) -> None:
    check_pixels(510, BEFORE_NIGHT, opened)


@pytest.mark.slow
def test_pixels_of_a_long_episode_are_close_to_the_simulators(opened: ExitStack) -> None:
    check_pixels(4500, None, opened)
