"""`RolloutActors`: the policy travels, and not the pictures. Ray actors play whole rollouts with weights they are sent.

Rollouts are played one update ahead, as in Cleanba (Huang et al. 2023): rollouts 0 and 1 with the weights 0, and while
the learner makes weights v + 1 of rollout v, the actors play rollout v + 1 with weights v. The delay is always one
update, so nothing depends on which of them is faster, and the same seed and number of actors give the same weights.

Each actor has a part of the environments, environment i with the seed that it has in one process, and a generator of
its own. It returns its state after each rollout; if it dies, another continues from there, and plays the same rollout.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from rlgames.agents.base import SEED_STRIDE
from rlgames.engine.ray_cluster import ClusterError, Connection, connect
from rlgames.envs.task import Task
from rlgames.errors import InvalidValueError
from rlgames.experience.env_runner import EnvRunner, Episode
from rlgames.experience.rollout import Rollout
from rlgames.imports import IMPORTED_MODULES, import_registering

ARRAYS = (  # of a rollout, [time, env]
    *("obs", "actions", "rewards", "terminated", "done", "valid", "episode_start", "logits", "values", "next_values"),
)
MAX_RESTARTS = 3  # of an actor in one rollout: then the fault is its own


# ---- on a machine of the cluster ----


@dataclass(frozen=True)
class Part:
    """The environments of one actor, and all that it makes its agent of."""

    agent_class: Any  # PPO, or a subclass
    config: Any  # with rollout_actors=0 and learners=1
    task: Task
    seed: int
    first: int  # index of its first environment
    num_envs: int
    seed_of_envs: int  # of environment 0
    modules: str  # that register games, separated by commas


class Played(NamedTuple):
    """A rollout that an actor has played."""

    arrays: dict[str, np.ndarray]  # ARRAYS, [time, env]
    lstm_state: np.ndarray | None  # before it
    episodes: list[Episode]  # that ended in it
    state: dict[str, Any]  # of the actor after it


class RolloutActor:
    """An agent that plays in its part of the environments, with weights that it is sent."""

    def __init__(self, part: Part):
        for module in filter(None, part.modules.split(",")):
            import_registering(module)
        torch.set_num_threads(1)
        envs = part.task.local.make_vec(part.num_envs, training=True)
        self.agent = part.agent_class.__new__(part.agent_class)
        spaces = envs.single_observation_space, envs.single_action_space
        self.agent._setup(*spaces, part.config, part.seed, "cpu", part.task)
        self.agent.rng = np.random.default_rng([part.seed, 6, part.first])
        self.agent.runner = EnvRunner(envs, part.seed_of_envs + part.first)
        actions = int(self.agent.action_space.n)
        self.rollout = Rollout(part.config.n_steps, part.num_envs, self.agent.observation_space, actions)

    def pid(self) -> int:
        return os.getpid()

    def state(self) -> dict[str, Any]:
        agent = self.agent
        assert agent.runner is not None
        rng = agent.rng.bit_generator.state
        return {"runner": agent.runner.state_dict(), "lstm_state": agent.lstm_state, "rng": rng}

    def play(self, weights: dict[str, np.ndarray], state: dict[str, Any] | None) -> Played:
        """Play a rollout with these weights, from another `state` if one is given."""
        agent, rollout = self.agent, self.rollout
        assert agent.runner is not None
        if state is not None:
            agent.runner.load_state_dict(state["runner"])
            agent.lstm_state, agent.rng.bit_generator.state = state["lstm_state"], state["rng"]
        agent.net.load_state_dict({name: torch.from_numpy(x.copy()) for name, x in weights.items()})
        rollout.next_values = None
        before = agent.collect_rollout(rollout)
        rollout.values, rollout.next_values = agent.rollout_values(rollout)
        arrays = {name: getattr(rollout, name) for name in ARRAYS}
        return Played(arrays, before, agent.runner.take_episodes(), self.state())


# ---- in the learner's process ----


class RolloutActors:
    """`count` actors that play for `agent`, and the rollout in flight; part of the agent's state."""

    def __init__(self, agent: Any, count: int):
        self.agent, self.count, self.restarts = agent, count, 0
        self.connection: Connection | None = None
        self.actors: list[Any] = []
        self.parts: list[Part] = []
        # The rollout in flight is a function of these: the actors' states before it, None at first, and its weights.
        self.states: list[dict[str, Any] | None] = [None] * count
        self.weights: dict[str, np.ndarray] | None = None
        self.asked: list[Any] = []  # the answers to come; empty: the rollout has to be asked for, or asked for again

    def start(self) -> None:
        """Connect to the cluster and start the actors. Raises InvalidValueError for more of them than environments."""
        if self.connection is not None:
            return
        agent, count, num_envs = self.agent, self.count, self.agent.num_envs or 1
        if agent.task is None:
            raise InvalidValueError("rollout_actors make their own environments: give PPO the name of a game")
        if count > num_envs:
            raise InvalidValueError(f"expected at most as many rollout_actors as environments, {num_envs}, got {count}")
        modules = os.environ.get(IMPORTED_MODULES, "")
        config = replace(agent.config, rollout_actors=0, learners=1, n_threads=1)
        ends = [num_envs * i // count for i in range(count + 1)]
        self.parts = [
            Part(type(agent), config, agent.task, agent.seed, first, last - first, SEED_STRIDE * agent.seed, modules)
            for first, last in pairwise(ends)
        ]
        self.connection = connect()
        self.actors = [self.connection.start_actor(RolloutActor, part, cores=1, total=count) for part in self.parts]
        for actor in self.actors:
            self.connection.place(actor)

    def play(self, weights: dict[str, np.ndarray]) -> None:
        """Have the next rollout played with these weights."""
        self.weights = weights
        self.ask([None] * self.count)

    def ask(self, states: Sequence[dict[str, Any] | None]) -> None:
        assert self.connection is not None
        weights = self.connection.ray.put(self.weights)  # once for all actors of a machine
        self.asked = [actor.play.remote(weights, state) for actor, state in zip(self.actors, states, strict=True)]

    def receive(self, rollout: Rollout) -> tuple[np.ndarray | None, list[Episode]]:
        """Wait for the rollout in flight and write it into `rollout`; return LSTM states before it, and episodes."""
        if not self.asked:  # an agent that was loaded
            self.ask(self.states)
        played = self.collect()
        for name in ARRAYS:
            np.concatenate([each.arrays[name] for each in played], axis=1, out=getattr(rollout, name))
        self.states, self.asked = [each.state for each in played], []
        before = [each.lstm_state for each in played if each.lstm_state is not None]
        lstm_state = np.concatenate(before) if before else None
        return lstm_state, [episode for each in played for episode in each.episodes]

    def collect(self) -> list[Played]:
        """Return what the actors have played; those that have died are replaced, and play it again."""
        assert self.connection is not None
        played, deaths = self.connection.collect(self.asked), [0] * self.count
        while None in played:
            i = played.index(None)
            deaths[i] += 1
            if deaths[i] > MAX_RESTARTS:
                raise ClusterError(f"rollout actor {i} died {MAX_RESTARTS} times in a row: see Ray's logs in /tmp/ray")
            self.restarts += 1
            self.actors[i] = self.connection.start_actor(RolloutActor, self.parts[i], cores=1, total=self.count)
            played[i] = self.connection.collect([self.actors[i].play.remote(self.weights, self.states[i])])[0]
        return played

    def close(self) -> None:
        """End the actors; what they were playing is played again by the next ones."""
        connection, self.connection, self.asked = self.connection, None, []
        if connection is not None:
            connection.end_actors(self.actors)
            connection.close()

    def state_dict(self) -> dict[str, Any]:
        return {"states": self.states, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if len(state["states"]) != self.count:
            raise InvalidValueError(f"saved with {len(state['states'])} rollout_actors, got {self.count}")
        self.close()
        self.states, self.weights = list(state["states"]), state["weights"]


def copy_weights(net: nn.Module) -> dict[str, np.ndarray]:
    """Return the parameters and buffers of a network, as arrays of their own."""
    return {name: x.detach().cpu().numpy().copy() for name, x in net.state_dict().items()}
