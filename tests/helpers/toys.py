"""Environments whose answers are known, and settings that make every agent quick. For the tests in this folder."""

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

MODES = list(AutoresetMode)
QUICK = {  # whichever of these a config has; a field that costs time and is not named here belongs here
    "n_steps": 8,
    "n_epochs": 2,
    "num_minibatches": 2,
    "n_episodes": 2,
    "net_arch": (16,),
    "encoder": "auto",
    "buffer_size": 300,
    "learning_starts": 32,
    "batch_size": 8,
    "train_freq": 8,
    "target_update_interval": 2,
    "workers": 1,
    "precision": "float32",  # what the oracles compute in, on every machine
}


def quick(name: str, **changes: Any) -> Any:
    """A small config of the agent of that name."""
    fields = {field.name for field in dataclasses.fields(find(name).Config)}
    return find(name).Config(**{key: value for key, value in QUICK.items() if key in fields} | changes)


class Bits(gym.Env):
    """Shows a random bit and the steps that are left; naming the bit is worth 1. Its values are known.

    The episode terminates after `length` steps; with `endless` it is only cut off there, and does not show the steps.
    """

    observation_space = Box(0, 1, (2,), np.float32)
    action_space = Discrete(2)

    def __init__(self, length: int = 5, endless: bool = False) -> None:
        self.length, self.endless = length, endless

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.time = 0
        return self.see(), {}

    def see(self) -> np.ndarray:
        self.bit = int(self.np_random.integers(2))
        return np.array([self.bit, 0.0 if self.endless else 1 - self.time / self.length], np.float32)

    def step(self, action: int):
        reward, self.time = float(action == self.bit), self.time + 1
        over = self.time == self.length
        return self.see(), reward, over and not self.endless, over and self.endless, {}


class Dice(gym.Env):
    """Episodes of 1 to 6 steps that end by themselves, by time or both at once; random rewards, actions from 5 on.

    Each observation differs from all others. `reports` a score that is not the sum of rewards in every "step", at the
    "end" of the episode, or "never".
    """

    observation_space = Box(-np.inf, np.inf, (3,), np.float64)
    action_space = Discrete(3, start=5)

    def __init__(self, reports: str = "never") -> None:
        self.reports, self.episode, self.time = reports, 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.episode, self.time = 0 if seed is not None else self.episode + 1, 0
        self.length, self.end = self.np_random.integers((1, 1), (7, 4)).tolist()
        return self.see(), {"score": 0.0} if self.reports == "step" else {}

    def see(self) -> np.ndarray:
        return np.array([self.episode, self.time, self.np_random.normal()])

    def step(self, action: int):
        assert action in self.action_space
        self.time += 1
        over, reward = self.time == self.length, float(self.np_random.normal() * (int(action) - 4))
        terminated, truncated = over and bool(self.end & 1), over and bool(self.end & 2)
        tells = self.reports == "step" or (self.reports == "end" and over)
        return self.see(), reward, terminated, truncated, {"score": 100.0 * self.episode + self.time} if tells else {}


def several(make: Callable[[], gym.Env], n: int, mode: AutoresetMode = AutoresetMode.SAME_STEP) -> SyncVectorEnv:
    return SyncVectorEnv([make] * n, autoreset_mode=mode)


def mind(agent: Agent, folder: Path) -> str:
    """A sha256 of all that decides what the agent does next."""
    checkpoint.save(folder / "mind", {}, agent.state_dict())
    return hashlib.sha256((folder / "mind").read_bytes()).hexdigest()
