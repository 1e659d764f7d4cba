"""CartPole moves as Gymnasium's CartPole-v1 does."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from helpers.games import random_actions, single

STATE = ["x", "speed", "angle", "spin"]


def state_of(env) -> np.ndarray:
    return np.array([env.snapshot()["records"][name][0] for name in STATE])


@pytest.mark.parametrize("balanced", [False, True])
def test_each_step_is_gymnasiums(balanced: bool) -> None:
    """From the same state each time: an upside-down pendulum doubles any difference within ten steps."""
    ours, theirs = single("CartPole"), gym.make("CartPole-v1")
    cart = theirs.unwrapped
    assert isinstance(cart, CartPoleEnv)
    lengths = []
    for seed, actions in enumerate(random_actions("CartPole", 3, (20, 600))):
        obs, _ = ours.reset(seed=seed)
        theirs.reset(seed=seed)
        assert np.abs(obs).max() <= 0.05
        for step, action in enumerate(actions, 1):
            if balanced:
                action = int(obs @ (0.1, 0.5, 4, 1) > 0)
            cart.state = state_of(ours)
            obs, reward, terminated, truncated, info = ours.step(action)
            expected, *outcome = theirs.step(action)
            assert cart.state == pytest.approx(state_of(ours), rel=1e-12, abs=1e-14)
            assert obs == pytest.approx(expected, rel=1e-6, abs=1e-9)
            assert [reward, terminated, truncated] == outcome[:3]
            assert info["score"] == step
            if terminated or truncated:
                lengths.append(step)
                break
    assert len(lengths) == 20
    assert set(lengths) == {500} if balanced else max(lengths) < 200


@pytest.mark.parametrize(
    ("state", "action", "ends"),
    [
        ((2.39, 0.4, 0, 0), 1, False),  # 2.398 m
        ((2.39, 0.6, 0, 0), 1, True),  # 2.402 m
        ((-2.39, -0.6, 0, 0), 0, True),
        ((0, 0, 0.209, 0.01), 0, False),  # 11.99 degrees
        ((0, 0, 0.209, 0.03), 0, True),  # 12.01 degrees
        ((0, 0, -0.209, -0.03), 1, True),
    ],
)
def test_where_it_ends(state: tuple[float, ...], action: int, ends: bool) -> None:
    env, theirs = single("CartPole"), gym.make("CartPole-v1")
    env.reset(seed=0)
    place = env.snapshot()
    for name, value in zip(STATE, state, strict=True):
        place["records"][name] = value
    env.restore(place)
    theirs.reset()
    theirs.unwrapped.state = np.array(state, np.float64)  # pyright: ignore[reportAttributeAccessIssue]
    assert env.step(action)[1:4] == (1.0, ends, False) == theirs.step(action)[1:4]


def test_it_starts_uniformly_near_the_middle() -> None:
    """Each of the four numbers fills all ten parts of +- 0.05 evenly."""
    env = single("CartPole")
    env.reset(seed=0)
    starts = np.array([env.reset()[0] for _ in range(5000)])
    for column in starts.T:
        counts, _ = np.histogram(column, 10, (-0.05, 0.05))
        assert counts.sum() == 5000
        assert np.abs(counts - 500).max() < 100  # 4.7 standard deviations
    assert np.abs(np.corrcoef(starts.T) - np.eye(4)).max() < 0.06
