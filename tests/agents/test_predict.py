"""`predict` against Stable-Baselines3's, for all agents, and its `evaluate_policy` on them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from helpers.toys import GuessBitEnv, RandomLengthEnv, quick_config, sync_vector
from stable_baselines3 import PPO as SB3PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

import rlgames
from rlgames.agents.registry import AGENTS, find
from rlgames.evaluation import evaluate

agents = pytest.mark.parametrize("name", AGENTS)
games = pytest.mark.parametrize("game", ["CartPole-v1", "rlgames/CatchBall-v0"])


def trained(name: str, game: str, seed: int = 0) -> Any:
    """Return a small agent that was trained for a few updates."""
    return find(name)(sync_vector(lambda: gym.make(game), 2), quick_config(name), seed=seed).learn(64)


@pytest.fixture(scope="module")
def sb3_agents() -> dict[str, Any]:
    return {
        game: SB3PPO("MlpPolicy", gym.make(game), n_steps=8, batch_size=8)
        for game in ("CartPole-v1", "rlgames/CatchBall-v0")
    }


@agents
@games
def test_actions_have_the_shapes_and_dtypes_of_stable_baselines(name: str, game: str, sb3_agents: dict[str, Any]):
    sb3, agent, env = sb3_agents[game], trained(name, game), gym.make(game)
    obs = env.reset(seed=0)[0]
    for deterministic in (True, False):
        for observation in (obs, np.stack([obs] * 4), obs[None]):
            expected, no_state = sb3.predict(observation, deterministic=deterministic)
            actions, state = agent.predict(observation, deterministic=deterministic)
            assert state is no_state is None
            assert type(actions) is type(expected) is np.ndarray
            assert (actions.shape, actions.dtype) == (expected.shape, expected.dtype)
            assert all(env.action_space.contains(action) for action in np.atleast_1d(actions))
    env.step(agent.predict(obs)[0])


@agents
def test_a_batch_gives_the_actions_of_its_observations(name: str):
    agent, obs = trained(name, "CartPole-v1"), np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    if name != "random":
        actions = agent.predict(obs)[0].tolist()
        assert actions == [int(agent.predict(each)[0]) for each in obs] == agent.predict(obs)[0].tolist()
        assert set(actions) == {0, 1}
    sampled = agent.predict(np.repeat(obs[:1], 400, 0), deterministic=False)[0]
    assert set(sampled.tolist()) == {0, 1}


@agents
def test_actions_start_where_the_action_space_does(name: str):
    agent = find(name)(sync_vector(RandomLengthEnv, 2), quick_config(name)).learn(64)
    for deterministic in (True, False):
        actions = agent.predict(np.random.default_rng(0).normal(size=(300, 3)), deterministic=deterministic)[0]
        assert actions.dtype == np.int64
        assert set(actions.tolist()) <= {5, 6, 7}
    assert set(actions.tolist()) == {5, 6, 7}


@agents
def test_predict_takes_lists_and_any_memory_layout(name: str):
    """Lists, other integers, and arrays that torch cannot take: read-only, with negative strides, in Fortran order."""
    agents = [find(name)("CatchBall", quick_config(name), num_envs=2) for _ in range(6)]
    obs = agents[0].start_training().envs.reset(seed=1)[0]
    read_only = obs.copy()
    read_only.flags.writeable = False
    backwards = obs[::-1, ::-1].copy()[::-1, ::-1]
    given = [obs, obs.tolist(), obs.astype(np.int64), read_only, backwards, np.asfortranarray(obs)]
    for deterministic in (True, False):
        actions = [
            agent.predict(x, deterministic=deterministic)[0].tolist() for agent, x in zip(agents, given, strict=True)
        ]
        assert actions == [actions[0]] * 6


@agents
@pytest.mark.parametrize("shape", [(3,), (5,), (2, 5), (2, 2, 4), ()])
def test_predict_rejects_other_shapes(name: str, shape: tuple[int, ...]):
    agent = find(name)("CartPole", quick_config(name), num_envs=2)
    with pytest.raises(ValueError, match="expected an observation of shape .4,., or a batch of them, got"):
        agent.predict(np.zeros(shape, np.float32))


@agents
def test_predict_passes_the_state_on(name: str):
    agent, obs = find(name)(sync_vector(GuessBitEnv, 2), quick_config(name)), np.zeros((2, 2), np.float32)
    actions, state = agent.predict(obs, None, np.ones(2, np.bool_), deterministic=True)
    again, _ = agent.predict(obs, state=state, episode_start=np.zeros(2, np.bool_))
    assert actions.shape == again.shape == (2,)


@agents
@games
def test_evaluate_policy_of_stable_baselines_equals_evaluate(name: str, game: str):
    """In one environment: the same episodes in the same order, deterministic or sampled."""
    agent, other = trained(name, game), trained(name, game)
    for deterministic in (True, False):
        env = DummyVecEnv([lambda: Monitor(gym.make(game))])
        env.seed(7)
        scores, lengths = evaluate_policy(
            agent, env, n_eval_episodes=6, deterministic=deterministic, return_episode_rewards=True
        )
        result = evaluate(other, gym.make(game), episodes=6, seed=7, deterministic=deterministic)
        assert (result.scores, result.lengths) == (scores, lengths)


@agents
def test_evaluate_policy_of_a_batch_plays_the_same_episodes(name: str):
    """SB3 lists episodes as they end, `evaluate` by environment: here three with two each."""
    env = VecMonitor(DummyVecEnv([lambda: gym.make("CartPole-v1")] * 3))
    env.seed(7)
    scores, lengths = evaluate_policy(trained(name, "CartPole-v1"), env, n_eval_episodes=6, return_episode_rewards=True)
    envs = sync_vector(lambda: gym.make("CartPole-v1"), 3)
    result = evaluate(trained(name, "CartPole-v1"), envs, episodes=6, seed=7)
    assert isinstance(scores, list)
    assert isinstance(lengths, list)
    assert sorted(result.scores) == sorted(scores)
    assert sorted(result.lengths) == sorted(lengths)


@agents
def test_evaluate_policy_takes_a_single_env_of_rlgames(name: str):
    agent = find(name)("CatchBall", quick_config(name), num_envs=2)
    scores, lengths = evaluate_policy(
        agent, Monitor(rlgames.make("CatchBall")), n_eval_episodes=3, return_episode_rewards=True
    )
    assert isinstance(scores, list)
    assert isinstance(lengths, list)
    # the first ball lands after 7 steps, another each 5, and the game ends at a miss, which costs 1
    assert lengths == [7 + 5 * (score + 1) for score in scores]
