"""Random transitions for replay buffers; every frame has its own number, by which a test recognizes it."""

from __future__ import annotations

from itertools import count
from typing import Any, TypeVar

import numpy as np
from gymnasium.spaces import Box

from rlgames.experience.env_runner import Step
from rlgames.experience.replay import ReplayBuffer

GAMMA = 0.9
ReplayT = TypeVar("ReplayT", bound=ReplayBuffer)


def random_steps(seed: int, num_envs: int, stack: int, num_steps: int, next_step: bool = False) -> list[Step]:
    """Return steps of episodes that terminate or are truncated at random.

    `next_step`: an environment spends a step on each reset, as in AutoresetMode.NEXT_STEP.
    """
    rng, frames = np.random.default_rng(seed), count(1)
    stacks = np.zeros((num_envs, stack, 1), np.float32)
    for i in range(num_envs):
        stacks[i] = next(frames)
    steps, resetting = [], np.zeros(num_envs, np.bool_)
    for _ in range(num_steps):
        obs, next_obs, valid = stacks.copy(), stacks.copy(), ~resetting
        terminated, done = np.zeros(num_envs, np.bool_), np.zeros(num_envs, np.bool_)
        for i in range(num_envs):
            if resetting[i]:
                stacks[i] = next(frames)
                next_obs[i], terminated[i], done[i], resetting[i] = stacks[i], True, True, False
                continue
            next_obs[i] = np.concatenate([obs[i, 1:], [[next(frames)]]])
            end = rng.random()
            terminated[i], done[i] = end < 0.15, end < 0.3
            stacks[i] = next_obs[i]
            if done[i]:
                resetting[i] = next_step
                if not next_step:
                    stacks[i] = next(frames)
        rewards = np.where(valid, rng.random(num_envs), 0.0).astype(np.float32)
        actions, shape = rng.integers(3, size=num_envs), (num_envs, stack)
        steps.append(Step(obs.reshape(shape), actions, rewards, next_obs.reshape(shape), terminated, done, valid))
    return steps


def make_replay(
    replay_class: type[ReplayT], buffer_size: int, num_envs: int, stack: int = 1, n_steps: int = 1, **arguments: Any
) -> ReplayT:
    space = Box(-np.inf, np.inf, (stack,), np.float32)
    return replay_class(buffer_size, num_envs, space, stack=stack, n_steps=n_steps, gamma=GAMMA, **arguments)
