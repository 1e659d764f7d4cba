"""CartPole against Gymnasium's CartPole-v1."""

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import SyncVectorEnv
from helpers.games import random_actions, single

import rlgames
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


# ---- what programs for Gymnasium's CartPole use ----

CONSTANTS = [
    *("gravity", "masscart", "masspole", "total_mass", "length", "polemass_length", "force_mag", "tau"),
    *("kinematics_integrator", "theta_threshold_radians", "x_threshold"),
]


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_are_gymnasiums_and_cannot_be_changed(name: str) -> None:
    envs: list[Any] = [rlgames.make("CartPole").unwrapped, rlgames.make_vec("CartPole", 2).unwrapped]
    for env, theirs in zip(envs, (CartPoleEnv(), CartPoleVectorEnv(2)), strict=True):
        assert getattr(env, name) == getattr(theirs, name)
        with pytest.raises(AttributeError, match=name):  # it would have no effect
            setattr(env, name, 0.1)


def test_state_can_be_read_and_set_as_gymnasiums() -> None:
    ours: Any = rlgames.make("CartPole")
    theirs: Any = CartPoleEnv()
    assert getattr(ours.unwrapped, "state") is None  # noqa: B009  pyright would keep it in mind
    obs, _ = ours.reset(seed=0)
    theirs.reset(seed=0)
    np.testing.assert_array_equal(ours.unwrapped.state.astype(np.float32), obs)
    for state in np.random.default_rng(0).uniform(-0.1, 0.1, (5, 4)):
        ours.unwrapped.state = theirs.state = state
        np.testing.assert_allclose(ours.step(1)[0], theirs.step(1)[0], rtol=1e-6)
        np.testing.assert_allclose(ours.unwrapped.state, theirs.state, rtol=1e-12)
    np.testing.assert_array_equal(copy.deepcopy(ours).unwrapped.state, ours.unwrapped.state)


def test_states_of_a_vector_environment_can_be_read_and_set_as_gymnasiums() -> None:
    ours: Any = rlgames.make_vec("CartPole", 3, autoreset_mode="NextStep")
    theirs: Any = CartPoleVectorEnv(3)
    assert ours.state is None
    ours.reset(seed=0)
    theirs.reset(seed=0)
    ours.state = theirs.state = np.random.default_rng(0).uniform(-0.1, 0.1, (4, 3))
    actions = np.array([0, 1, 1])
    np.testing.assert_allclose(ours.step(actions)[0], theirs.step(actions)[0], rtol=1e-6)
    np.testing.assert_allclose(ours.state, theirs.state, rtol=1e-12)


@pytest.mark.parametrize(
    "options", [{"low": -0.2, "high": 0.1}, {"low": -0.01}, {"high": 0.3}, {"low": 0.2, "high": 0.2}]
)
def test_reset_draws_from_the_bounds_of_the_options(options: dict[str, float]) -> None:
    """Uniformly, as without options: the same numbers are drawn, between other bounds."""
    low, high = options.get("low", -0.05), options.get("high", 0.05)
    env = rlgames.make("CartPole")
    plain = np.stack([env.reset(seed=seed)[0] for seed in range(50)])
    drawn = np.stack([env.reset(seed=seed, options=dict(options))[0] for seed in range(50)])
    np.testing.assert_allclose(drawn, low + (high - low) * (plain + 0.05) / 0.1, atol=1e-6)
    np.testing.assert_array_equal(env.reset(seed=0)[0], plain[0])  # for that reset only

    envs = rlgames.make_vec("CartPole", 50)
    np.testing.assert_allclose(envs.reset(seed=0, options=dict(options))[0], drawn, atol=1e-6)
    sync = SyncVectorEnv([lambda: rlgames.make("CartPole")] * 50)
    np.testing.assert_array_equal(sync.reset(seed=0, options=dict(options))[0], drawn)


def test_options_apply_to_the_environments_of_the_mask() -> None:
    envs = rlgames.make_vec("CartPole", 3, autoreset_mode="Disabled")
    before, _ = envs.reset(seed=0)
    mask = np.array([False, True, False])
    obs, _ = envs.reset(options={"reset_mask": mask, "low": 2.0, "high": 2.0})
    np.testing.assert_array_equal(obs[~mask], before[~mask])
    np.testing.assert_array_equal(obs[mask], np.full((1, 4), 2.0, np.float32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 0.2, "high": 0.1}, "low <= high of CartPole's reset.*, got 0.2 and 0.1"),
        ({"low": 0.2}, "low <= high of CartPole's reset.*, got 0.2 and 0.05"),
        ({"high": float("nan")}, "finite options"),
        ({"low": "left"}, "expected options.'low'. to be a number, got 'left'"),
    ],
)
def test_bounds_that_are_none_are_refused(options: dict[str, Any], message: str) -> None:
    for env in (rlgames.make("CartPole"), rlgames.make_vec("CartPole", 2)):
        with pytest.raises(ValueError, match=message):
            env.reset(options=options)
