"""What an agent sees and does, as spaces and as JSON, and any environment as a batch."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv


def spaces_of(envs: VectorEnv) -> tuple[Box, Discrete]:
    """What one player sees and does. Raises TypeError for spaces that no agent here can learn."""
    observation, action = envs.single_observation_space, envs.single_action_space
    if not isinstance(observation, Box) or not isinstance(action, Discrete):
        raise TypeError(f"agents here learn Box observations and Discrete actions, got {observation} and {action}")
    return observation, action


def vectorised(env: gym.Env | VectorEnv) -> VectorEnv:
    """A VectorEnv as it is; a single Env as a batch of one."""
    if isinstance(env, VectorEnv):
        return env
    if isinstance(env, gym.Env):
        return SyncVectorEnv([lambda: env], autoreset_mode=AutoresetMode.SAME_STEP)
    raise TypeError(f"expected the id of a game, a gymnasium.Env or a VectorEnv, got {env!r}")


def describe(space: Box, actions: Discrete) -> dict[str, Any]:
    """The spaces as JSON, and all of them that a network depends on."""
    return {
        "shape": list(space.shape),
        "dtype": str(space.dtype),
        "actions": int(actions.n),
        "first": int(actions.start),
    }


def spaces(described: dict[str, Any]) -> tuple[Box, Discrete]:
    """Spaces of that description; the bounds, on which nothing depends, are those of the type."""
    dtype = np.dtype(described["dtype"])
    low, high = (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return Box(low, high, tuple(described["shape"]), dtype.type), Discrete(
        described["actions"], start=described["first"]
    )
