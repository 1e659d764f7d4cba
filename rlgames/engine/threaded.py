"""`ThreadedEnv`: any Gymnasium environments as one VectorEnv, stepped side by side by threads of this process.

That is for engines in C that let go of Python's lock while they work, as emulators do: two cores then play twice as
much as one, without the copies and the processes of Gymnasium's AsyncVectorEnv. Row i is the i-th environment seeded
with `seed + i`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rlgames.engine.validation import check_actions, check_count, check_reset, is_integer
from rlgames.engine.vector_env import CORES, autoreset


class Outcome(NamedTuple):
    """What one environment's step has led to; `final`: (observation, information) before a restart in the same step."""

    obs: np.ndarray
    info: dict[str, Any]
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    final: tuple[np.ndarray, dict[str, Any]] | None = None


class ThreadedEnv(VectorEnv):
    """`num_envs` environments that `make` makes, with Box observations and Discrete actions from 0.

    Information and autoreset modes are as Gymnasium's SyncVectorEnv has them. Every array that is handed out is the
    caller's. What an environment raises is raised here, with its traceback, after the others have finished the step;
    reset() then begins anew.

    Raises ValueError for a bad count, mode, seed, mask or action, ResetNeeded for a step before the first reset() or,
    in AutoresetMode.DISABLED, of an environment that is over, ClosedEnvironmentError after `close`.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self,
        make: Callable[[], gym.Env],
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        threads: int | None = None,
    ):
        check_count("num_envs", num_envs)
        check_count("threads", threads, or_none=True)
        self.mode = autoreset(autoreset_mode)
        self.envs, self.num_envs = [make() for _ in range(int(num_envs))], int(num_envs)
        one = self.envs[0]
        assert isinstance(one.observation_space, Box)
        assert isinstance(one.action_space, Discrete)
        self.render_mode = one.render_mode
        self.metadata = {**one.metadata, "autoreset_mode": self.mode}
        self.single_observation_space, self.single_action_space = one.observation_space, one.action_space
        self.observation_space = batch_space(one.observation_space, self.num_envs)
        self.action_space = batch_space(one.action_space, self.num_envs)
        self._actions = int(one.action_space.n)
        self._threads = min(threads or CORES, self.num_envs)
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0  # that the pool belongs to: a forked one has no threads
        self._over = np.ones(self.num_envs, np.bool_)
        self._obs: list[Any] = [None] * self.num_envs  # the newest of each
        self._started, self._closed = False, False

    def reset(self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None):
        self._check_open()
        seeds, mask = check_reset(seed, options, self.num_envs, self._started)
        if is_integer(seed):
            super().reset(seed=seeds[0])
        rows = np.flatnonzero(mask).tolist()
        self._started = False
        found = self._all(lambda i: Outcome(*self.envs[i].reset(seed=seeds[i])), rows)
        self._started, self._over[mask] = True, False
        infos: dict[str, Any] = {}
        for i, outcome in zip(rows, found, strict=True):
            self._obs[i] = outcome.obs
            infos = self._add_info(infos, outcome.info, i)
        return np.stack(self._obs), infos

    def step(self, actions: np.ndarray):
        given = self._check(actions)
        self._started = False  # should one of them raise
        found = self._all(lambda i: self._one(i, given[i]), range(self.num_envs))
        self._started = True
        infos: dict[str, Any] = {}
        for i, outcome in enumerate(found):
            self._obs[i] = outcome.obs
            if outcome.final:
                final, info = outcome.final
                infos = self._add_info(infos, {"final_obs": final, "final_info": info}, i)
            infos = self._add_info(infos, outcome.info, i)
        reward = np.array([outcome.reward for outcome in found], np.float64)
        terminated = np.array([outcome.terminated for outcome in found])
        truncated = np.array([outcome.truncated for outcome in found])
        self._over = (terminated | truncated) & (self.mode is not AutoresetMode.SAME_STEP)
        return np.stack(self._obs), reward, terminated, truncated, infos

    def _one(self, i: int, action: int) -> Outcome:
        env = self.envs[i]
        if self._over[i]:  # NEXT_STEP
            return Outcome(*env.reset())
        obs, reward, terminated, truncated, info = env.step(action)
        if self.mode is AutoresetMode.SAME_STEP and (terminated or truncated):
            return Outcome(*env.reset(), float(reward), terminated, truncated, (obs, info))
        return Outcome(obs, info, float(reward), terminated, truncated)

    def _all(self, function: Callable[[int], Outcome], rows: Any) -> list[Outcome]:
        if self._threads == 1:
            return [function(i) for i in rows]
        if self._process != os.getpid():
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="rlgames-envs")
            self._process = os.getpid()
        assert self._pool is not None
        waiting = [self._pool.submit(function, i) for i in rows]
        wait(waiting)
        return [future.result() for future in waiting]

    def _check(self, actions: Any) -> list[int]:
        self._check_open()
        if not self._started:
            raise ResetNeeded(f"step() of {self} before the first reset()")
        given = check_actions(actions, self.num_envs, self._actions)
        if self.mode is AutoresetMode.DISABLED and self._over.any():
            raise ResetNeeded(f"an episode of {self} is over and was not reset: call reset() first")
        return given.tolist()

    def render(self) -> tuple[Any, ...]:
        self._check_open()
        return tuple(env.render() for env in self.envs)

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedEnvironmentError(f"{self} is closed: make another")

    def close_extras(self, **kwargs: Any) -> None:
        self._closed = True
        if self._pool:
            self._pool.shutdown()
            self._pool = None
        for env in self.envs:
            env.close()
