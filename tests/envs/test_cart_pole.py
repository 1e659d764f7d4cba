"""CartPole against Gymnasium's CartPole-v1."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from helpers.games import random_actions, single

from rlgames.engine.single_env import GameEnv

STATE = ["x", "x_dot", "theta", "theta_dot"]


def state_of(env: GameEnv) -> np.ndarray:
    record = env.snapshot()["records"][0]
    return np.array([record[name] for name in STATE])


def gymnasium_env() -> tuple[gym.Env, CartPoleEnv]:
    """Return CartPole-v1 and the environment inside its wrappers, whose state can be set."""
    env = gym.make("CartPole-v1")
    assert isinstance(env.unwrapped, CartPoleEnv)
    return env, env.unwrapped


@pytest.mark.parametrize(("policy", "seeds"), [("random", 20), ("balancing", 4)])
def test_every_step_equals_gymnasiums(policy: str, seeds: int) -> None:
    """Both start each step from the same state, because differences of one rounding double within ten steps."""
    ours, (theirs, cart) = single("CartPole"), gymnasium_env()
    lengths = []
    for seed, actions in enumerate(random_actions("CartPole", 3, (seeds, 600))):
        obs, _ = ours.reset(seed=seed)
        theirs.reset(seed=seed)
        assert np.abs(obs).max() <= 0.05
        state = state_of(ours)
        for step, action in enumerate(actions, 1):
            if policy == "balancing":
                action = int(obs @ (0.1, 0.5, 4, 1) > 0)
            cart.state = state
            obs, reward, terminated, truncated, info = ours.step(action)
            expected_obs, *expected = theirs.step(action)
            state = state_of(ours)
            assert np.allclose(state, cart.state, rtol=1e-12, atol=1e-14)  # pyright: ignore[reportArgumentType]  set above
            assert np.allclose(obs, expected_obs, rtol=1e-6, atol=1e-9)
            assert [reward, terminated, truncated] == expected[:3]
            assert info["score"] == step
            if terminated or truncated:
                lengths.append(step)
                break
    assert len(lengths) == seeds
    assert set(lengths) == {500} if policy == "balancing" else max(lengths) < 200


@pytest.mark.parametrize(
    ("state", "action", "terminates"),
    [
        ((2.39, 0.4, 0, 0), 1, False),  # 2.398 m
        ((2.39, 0.6, 0, 0), 1, True),  # 2.402 m
        ((-2.39, -0.6, 0, 0), 0, True),
        ((0, 0, 0.209, 0.01), 0, False),  # 11.99 degrees
        ((0, 0, 0.209, 0.03), 0, True),  # 12.01 degrees
        ((0, 0, -0.209, -0.03), 1, True),
    ],
)
def test_termination_at_the_limits_equals_gymnasiums(state: tuple[float, ...], action: int, terminates: bool) -> None:
    ours, (theirs, cart) = single("CartPole"), gymnasium_env()
    ours.reset(seed=0)
    snapshot = ours.snapshot()
    for name, value in zip(STATE, state, strict=True):
        snapshot["records"][name] = value
    ours.restore(snapshot)
    theirs.reset()
    cart.state = np.array(state, np.float64)
    assert ours.step(action)[1:4] == (1.0, terminates, False) == theirs.step(action)[1:4]


def test_initial_state_is_uniform_and_independent() -> None:
    """Each of the four numbers fills ten bins of +-0.05 evenly."""
    env = single("CartPole")
    env.reset(seed=0)
    starts = np.array([env.reset()[0] for _ in range(5000)])
    for column in starts.T:
        counts, _ = np.histogram(column, 10, (-0.05, 0.05))
        assert counts.sum() == 5000
        assert np.abs(counts - 500).max() < 100  # 4.7 standard deviations
    assert np.abs(np.corrcoef(starts.T) - np.eye(4)).max() < 0.06
