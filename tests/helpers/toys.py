"""Environments whose values are known, and settings that make every agent fast."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rlgames.agents.base import Agent
from rlgames.agents.registry import find
from rlgames.checkpoint import file as checkpoint

AUTORESET_MODES = list(AutoresetMode)
QUICK_SETTINGS = {  # each applies to the configs that have the field; add every new field that costs time
    "n_steps": 8,  # of a rollout; not the n-step returns of Q-learning
    "n_epochs": 2,
    "num_minibatches": 2,
    "n_episodes": 2,
    "net_arch": (16,),
    "encoder": "vector",  # for pictures too, since convolutions are slower
    "buffer_size": 300,
    "learning_starts": 32,
    "batch_size": 8,
    "train_freq": 8,
    "target_update_interval": 2,
    "workers": 1,
    "precision": "float32",  # the oracles compute in it, on every machine
}


def quick_config(name: str, pictures: bool = False, **changes: Any) -> Any:
    """Return a small config of the agent of that name; `pictures` gives it the encoder of pictures."""
    config_class = find(name).Config
    fields = {field.name for field in dataclasses.fields(config_class)}
    if "buffer_size" in fields:
        fields.discard("n_steps")
    settings = QUICK_SETTINGS | {"encoder": "auto"} if pictures else QUICK_SETTINGS
    return config_class(**{key: value for key, value in settings.items() if key in fields} | changes)


class GuessBitEnv(gym.Env):
    """Observe a random bit and the fraction of the steps that are left; guess the bit.

    Reward: 1 for the right bit, so that all values are known. The episode terminates after `length` steps; with
    `endless` it is truncated there instead, and the steps left are not observed.
    """

    observation_space = Box(0, 1, (2,), np.float32)
    action_space = Discrete(2)

    def __init__(self, length: int = 5, endless: bool = False) -> None:
        self.length, self.endless = length, endless

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.time = 0
        return self._observe(), {}

    def _observe(self) -> np.ndarray:
        self.bit = int(self.np_random.integers(2))
        return np.array([self.bit, 0.0 if self.endless else 1 - self.time / self.length], np.float32)

    def step(self, action: int):
        reward, self.time = float(action == self.bit), self.time + 1
        over = self.time == self.length
        return self._observe(), reward, over and not self.endless, over and self.endless, {}


class RandomLengthEnv(gym.Env):
    """Episodes of 1 to 6 steps with random rewards that terminate, are truncated, or both at once.

    Each observation (episode, time, noise) differs from all others; actions start at 5. `reports`: the environment
    reports a score that is not the sum of rewards in every "step", at the "end" of the episode, or "never".
    """

    observation_space = Box(-np.inf, np.inf, (3,), np.float64)
    action_space = Discrete(3, start=5)

    def __init__(self, reports: str = "never") -> None:
        self.reports, self.episode, self.time = reports, 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.episode, self.time = 0 if seed is not None else self.episode + 1, 0
        self.length, self.end = self.np_random.integers((1, 1), (7, 4)).tolist()
        return self._observe(), {"score": 0.0} if self.reports == "step" else {}

    def _observe(self) -> np.ndarray:
        return np.array([self.episode, self.time, self.np_random.normal()])

    def step(self, action: int):
        assert action in self.action_space
        self.time += 1
        over, reward = self.time == self.length, float(self.np_random.normal() * (int(action) - 4))
        terminated, truncated = over and bool(self.end & 1), over and bool(self.end & 2)
        has_score = self.reports == "step" or (self.reports == "end" and over)
        info = {"score": 100.0 * self.episode + self.time} if has_score else {}
        return self._observe(), reward, terminated, truncated, info


def sync_vector(
    make_env: Callable[[], gym.Env], num_envs: int, mode: AutoresetMode = AutoresetMode.SAME_STEP
) -> SyncVectorEnv:
    return SyncVectorEnv([make_env] * num_envs, autoreset_mode=mode)


def state_sha256(agent: Agent, folder: Path) -> str:
    """Return the sha256 of the agent's whole state, on which everything it does next depends."""
    checkpoint.save(folder / "state", {}, agent.state_dict())
    return hashlib.sha256((folder / "state").read_bytes()).hexdigest()
