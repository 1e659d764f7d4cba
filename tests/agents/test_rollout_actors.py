"""PPO whose rollouts are played by Ray actors, one update ahead.

Faults and resumes are tested with learners, in test_learners.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rlgames
from rlgames.agents.ppo import PPO
from rlgames.agents.rollout_actors import Part, RolloutActor, copy_weights
from rlgames.experience.rollout import Rollout

SETTINGS = {"n_steps": 8, "num_minibatches": 2, "n_epochs": 2, "num_envs": 4, "device": "cpu"}
STEPS = 8 * 4  # of an update


def make_agent(actors: int = 2, game: str = "CatchBall", **settings: Any) -> PPO:
    return rlgames.PPO(game, seed=3, rollout_actors=actors, **(SETTINGS | settings))


def weights_of(agent: PPO) -> bytes:
    return b"".join(x.tobytes() for x in copy_weights(agent.net).values())


def train_in_one_process(agent: PPO, updates: int) -> None:
    """Do what PPO with two actors does, in turn: rollout v + 1 is played with the weights before update v."""
    config = PPO.Config(**(vars(agent.config) | {"rollout_actors": 0}))
    assert agent.task is not None
    players = [RolloutActor(Part(PPO, config, agent.task, agent.seed, i, 2, 10_000 * agent.seed, "")) for i in (0, 2)]
    rollout = Rollout(8, 4, agent.observation_space, int(agent.action_space.n))
    weights = copy_weights(agent.net)
    ahead = [player.play(weights, None) for player in players]
    for update in range(updates):
        arrays = ahead[0].arrays
        for name in arrays:
            setattr(rollout, name, np.concatenate([each.arrays[name].copy() for each in ahead], 1))
        states = [each.lstm_state for each in ahead if each.lstm_state is not None]
        before = np.concatenate(states) if states else None
        weights = copy_weights(agent.net)
        agent.train_on_rollout(rollout, update / updates, before)
        ahead = [player.play(weights, None) for player in players]
        agent.step += STEPS
    for player in players:
        player.agent.close()


@pytest.mark.parametrize("recurrent", [False, True])
def test_an_actor_continues_from_its_state(recurrent: bool) -> None:
    """Without Ray: a second actor plays the rollout that the first one plays next."""
    with make_agent(recurrent=recurrent) as agent:
        config = PPO.Config(**(vars(agent.config) | {"rollout_actors": 0}))
        assert agent.task is not None
        part = Part(PPO, config, agent.task, 3, 0, 4, 30_000, "")
        weights = copy_weights(agent.net)
    first, second = RolloutActor(part), RolloutActor(part)
    state = first.play(weights, None).state
    expected, found = first.play(weights, None), second.play(weights, state)
    for name, array in expected.arrays.items():
        assert np.array_equal(array, found.arrays[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("recurrent", [False, True])
def test_training_equals_that_of_one_process_with_the_same_delay(ray: Any, recurrent: bool) -> None:
    with make_agent(recurrent=recurrent) as agent, make_agent(recurrent=recurrent) as other:
        steps = [update.step for update in agent.train(4 * STEPS)]
        train_in_one_process(other, 4)
        assert steps == [STEPS, 2 * STEPS, 3 * STEPS, 4 * STEPS]
        assert weights_of(agent) == weights_of(other)


@pytest.mark.slow
def test_more_actors_than_environments_are_refused(ray: Any) -> None:
    with (
        make_agent(actors=9) as agent,
        pytest.raises(ValueError, match="expected at most as many rollout_actors as environments, 4, got 9"),
    ):
        next(iter(agent.train(STEPS)))
    with pytest.raises(ValueError, match="give PPO the name of a game"):
        PPO(rlgames.make_vec("CatchBall", 4), rollout_actors=2, n_steps=8).learn(100)
