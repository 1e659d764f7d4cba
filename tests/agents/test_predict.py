"""`predict` as people know it from Stable-Baselines3, for all agents, and its `evaluate_policy` run on them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from helpers.toys import Bits, Dice, quick, several
from stable_baselines3 import PPO as TheirPPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

import rlgames
from rlgames.agents.registry import AGENTS, find
from rlgames.evaluation import evaluate

agents = pytest.mark.parametrize("name", AGENTS)
games = pytest.mark.parametrize("game", ["CartPole-v1", "rlgames/CatchBall-v0"])


def played(name: str, game: str, seed: int = 0) -> Any:
    """A small agent that has seen a little of the game."""
    return find(name)(several(lambda: gym.make(game), 2), quick(name), seed=seed).learn(100)


@agents
@games
@pytest.mark.parametrize("deterministic", [True, False])
def test_actions_have_the_form_of_stable_baselines(name: str, game: str, deterministic: bool):
    theirs, ours = TheirPPO("MlpPolicy", gym.make(game), n_steps=8, batch_size=8), played(name, game)
    env = gym.make(game)
    one = env.reset(seed=0)[0]
    for obs in (one, np.stack([one] * 4), one[None]):
        expected, no_state = theirs.predict(obs, deterministic=deterministic)
        action, state = ours.predict(obs, deterministic=deterministic)
        assert state is no_state is None
        assert type(action) is type(expected) is np.ndarray
        assert (action.shape, action.dtype) == (expected.shape, expected.dtype)
        assert all(env.action_space.contains(each) for each in np.atleast_1d(action))
    env.step(ours.predict(one)[0])


@agents
def test_a_batch_is_its_rows(name: str):
    agent, obs = played(name, "CartPole-v1"), np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    if name != "random":  # which has no other answer than its dice's
        batch = agent.predict(obs)[0]
        assert batch.tolist() == [int(agent.predict(row)[0]) for row in obs] == agent.predict(obs)[0].tolist()
        assert len(set(batch.tolist())) == 2
    drawn = agent.predict(np.repeat(obs[:1], 400, 0), deterministic=False)[0]
    assert set(drawn.tolist()) == {0, 1}


@agents
def test_actions_begin_where_the_space_does(name: str):
    agent = find(name)(several(Dice, 2), quick(name)).learn(64)
    for deterministic in (True, False):
        action = agent.predict(np.random.default_rng(0).normal(size=(300, 3)), deterministic=deterministic)[0]
        assert action.dtype == np.int64
        assert set(action.tolist()) <= {5, 6, 7}
    assert set(action.tolist()) == {5, 6, 7}


@agents
def test_whatever_holds_the_numbers(name: str):
    """Lists, other number types, arrays that may not be written to or run backwards, as torch takes none."""
    agents = [find(name)("CatchBall", quick(name), num_envs=2) for _ in range(6)]
    obs = agents[0].playing().envs.reset(seed=1)[0]
    frozen = obs.copy()
    frozen.flags.writeable = False
    given = [
        obs,
        obs.tolist(),
        obs.astype(np.float64),
        frozen,
        obs[::-1, ::-1].copy()[::-1, ::-1],
        np.asfortranarray(obs),
    ]
    for deterministic in (True, False):
        actions = [
            agent.predict(x, deterministic=deterministic)[0].tolist() for agent, x in zip(agents, given, strict=True)
        ]
        assert actions == [actions[0]] * 6


@agents
@pytest.mark.parametrize("shape", [(3,), (5,), (2, 5), (2, 2, 4), ()])
def test_other_shapes_are_refused(name: str, shape: tuple[int, ...]):
    agent = find(name)("CartPole", quick(name), num_envs=2)
    with pytest.raises(ValueError, match="expected an observation of shape .4,., or a batch of them, got"):
        agent.predict(np.zeros(shape, np.float32))


@agents
@games
def test_their_evaluation_gives_what_ours_gives(name: str, game: str):
    """One environment: the same episodes in the same order, whether sampled or not."""
    for deterministic in (True, False):
        theirs, ours = played(name, game), played(name, game)
        env = DummyVecEnv([lambda: Monitor(gym.make(game))])
        env.seed(7)
        scores, lengths = evaluate_policy(
            theirs, env, n_eval_episodes=6, deterministic=deterministic, return_episode_rewards=True
        )
        result = evaluate(ours, gym.make(game), episodes=6, seed=7, deterministic=deterministic)
        assert (result.scores, result.lengths) == (scores, lengths)


@agents
def test_their_evaluation_of_a_batch(name: str):
    """Theirs counts the episodes as they end, ours by player: three players with two each."""
    env = VecMonitor(DummyVecEnv([lambda: gym.make("CartPole-v1")] * 3))
    env.seed(7)
    scores, lengths = evaluate_policy(played(name, "CartPole-v1"), env, n_eval_episodes=6, return_episode_rewards=True)
    result = evaluate(played(name, "CartPole-v1"), several(lambda: gym.make("CartPole-v1"), 3), episodes=6, seed=7)
    assert isinstance(scores, list)
    assert isinstance(lengths, list)
    assert sorted(result.scores) == sorted(scores)
    assert sorted(result.lengths) == sorted(lengths)


@agents
def test_their_evaluation_takes_a_plain_environment(name: str):
    """Monitor around one of our games, of which evaluate_policy makes a batch by itself."""
    agent = find(name)("CatchBall", quick(name), num_envs=2)
    scores, lengths = evaluate_policy(
        agent, Monitor(rlgames.make("CatchBall")), n_eval_episodes=3, return_episode_rewards=True
    )
    assert isinstance(scores, list)
    assert isinstance(lengths, list)
    # the first ball lands after 7 steps, another each 5, and the game ends at a miss, which costs 1
    assert lengths == [7 + 5 * (score + 1) for score in scores]


@agents
def test_the_state_is_handed_through(name: str):
    agent = find(name)(several(Bits, 2), quick(name))
    action, state = agent.predict(np.zeros((2, 2), np.float32), None, np.ones(2, np.bool_), deterministic=True)
    again, _ = agent.predict(np.zeros((2, 2), np.float32), state=state, episode_start=np.zeros(2, np.bool_))
    assert action.shape == again.shape == (2,)
