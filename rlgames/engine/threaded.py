"""`ThreadedVectorEnv`: any Gymnasium environments as one VectorEnv, stepped in parallel by threads of this process.

For environments written in C that release the GIL while they step, as emulators do: two cores then step twice as many
frames as one, without the copies and processes of Gymnasium's AsyncVectorEnv. Environment i is seeded with `seed + i`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rlgames.engine.sending import SendRecv, StepResults
from rlgames.engine.validation import (
    as_autoreset_mode,
    check_actions,
    check_count,
    check_reset,
    check_spaces,
    is_integer,
)
from rlgames.engine.vector_env import CORES
from rlgames.errors import InvalidTypeError


class StepResult(NamedTuple):
    """Result of one environment's step or reset; `final`: (obs, info) of an episode that ended in a SAME_STEP step."""

    obs: np.ndarray
    info: dict[str, Any]
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    final: tuple[np.ndarray, dict[str, Any]] | None = None


class ThreadedVectorEnv(SendRecv, VectorEnv):
    """`num_envs` environments made by `make`, with Box observations and Discrete actions from 0.

    Information and autoreset modes are those of Gymnasium's SyncVectorEnv. Every returned array is the caller's. An
    exception of an environment is raised here, with its traceback, after the others have finished the step; reset()
    then starts new episodes. `send` and `recv` are the halves of a step, see `rlgames.engine.sending`.

    Raises TypeError for other spaces, ValueError for a bad count, mode, seed, mask or action, ResetNeeded for a step
    before the first reset() or, in AutoresetMode.DISABLED, of an environment that is over, ClosedEnvironmentError after
    `close`.
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
        self.autoreset_mode = as_autoreset_mode(autoreset_mode)
        self._pool: ThreadPoolExecutor | None = None
        self.envs: list[gym.Env] = []
        self.num_envs = int(num_envs)
        try:
            for _ in range(self.num_envs):
                self.envs.append(make())
                self._check_spaces(self.envs[-1])
            observation_space, action_space = check_spaces(self.envs[0].observation_space, self.envs[0].action_space)
        except BaseException:
            self.close()
            raise
        first = self.envs[0]
        self.render_mode = first.render_mode
        self.metadata = {**first.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space, self.single_action_space = observation_space, action_space
        self.observation_space = batch_space(observation_space, self.num_envs)
        self.action_space = batch_space(action_space, self.num_envs)
        self._num_actions = int(action_space.n)
        self._threads = min(threads or CORES, self.num_envs)
        self._pool_owner = 0  # process of the pool: a forked process has no threads
        self._over = np.ones(self.num_envs, np.bool_)
        self._obs: list[Any] = [None] * self.num_envs  # newest observation of each
        self._started, self._closed = False, False

    def _check_spaces(self, env: gym.Env) -> None:
        first = self.envs[0]
        if (env.observation_space, env.action_space) != (first.observation_space, first.action_space):
            raise InvalidTypeError(
                f"expected environments of the same spaces, got {first.observation_space} and {first.action_space}, "
                f"then {env.observation_space} and {env.action_space}"
            )

    def reset(self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None):
        self._check_open()
        self._check_no_step("reset")
        seeds, mask = check_reset(seed, options, self.num_envs, self._started)
        if is_integer(seed):
            super().reset(seed=seeds[0])
        reset = np.flatnonzero(mask).tolist()
        self._started = False  # until all of them are reset
        results = self._map(lambda i: StepResult(*self.envs[i].reset(seed=seeds[i])), reset)
        self._started, self._over[mask] = True, False
        infos: dict[str, Any] = {}
        for i, result in zip(reset, results, strict=True):
            self._obs[i] = result.obs
            infos = self._add_info(infos, result.info, i)
        return np.stack(self._obs), infos

    def step(self, actions: np.ndarray) -> StepResults:
        self._check_no_step("step")
        checked = self._check(actions)
        self._started = False  # until all of them are stepped
        return self._results(self._map(lambda i: self._step_one(i, checked[i]), range(self.num_envs)))

    def _start_step(self, actions: np.ndarray) -> Callable[[], StepResults]:
        checked = self._check(actions)
        self._started = False  # until all of them are stepped
        futures = self._submit(lambda i: self._step_one(i, checked[i]), range(self.num_envs))
        return lambda: self._results(results_of(futures))

    def _results(self, results: list[StepResult]) -> StepResults:
        """Return the results of the environments' steps as arrays."""
        self._started = True
        infos: dict[str, Any] = {}
        for i, result in enumerate(results):
            self._obs[i] = result.obs
            if result.final:
                final_obs, info = result.final
                infos = self._add_info(infos, {"final_obs": final_obs, "final_info": info}, i)
            infos = self._add_info(infos, result.info, i)
        rewards = np.array([result.reward for result in results], np.float64)
        terminated = np.array([result.terminated for result in results])
        truncated = np.array([result.truncated for result in results])
        self._over = (terminated | truncated) & (self.autoreset_mode is not AutoresetMode.SAME_STEP)
        return np.stack(self._obs), rewards, terminated, truncated, infos

    def _step_one(self, i: int, action: int) -> StepResult:
        env = self.envs[i]
        if self._over[i]:  # NEXT_STEP
            return StepResult(*env.reset())
        obs, reward, terminated, truncated, info = env.step(action)
        if self.autoreset_mode is AutoresetMode.SAME_STEP and (terminated or truncated):
            return StepResult(*env.reset(), float(reward), terminated, truncated, (obs, info))
        return StepResult(obs, info, float(reward), terminated, truncated)

    def _map(self, function: Callable[[int], StepResult], indices: Iterable[int]) -> list[StepResult]:
        if self._threads == 1:
            return [function(i) for i in indices]
        return results_of(self._submit(function, indices))

    def _submit(self, function: Callable[[int], StepResult], indices: Iterable[int]) -> list[Future[StepResult]]:
        if self._pool is None or self._pool_owner != os.getpid():
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="rlgames-envs")
            self._pool_owner = os.getpid()
        return [self._pool.submit(function, i) for i in indices]

    def _check(self, actions: Any) -> list[int]:
        self._check_open()
        if not self._started:
            raise ResetNeeded(f"step() of {self} before the first reset()")
        checked = check_actions(actions, self.num_envs, self._num_actions)
        if self.autoreset_mode is AutoresetMode.DISABLED and self._over.any():
            raise ResetNeeded(f"an episode of {self} is over and was not reset: call reset() first")
        return checked.tolist()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy consists of, the environments included; it makes threads of its own."""
        self._check_no_step("copy")
        return vars(self) | {"_pool": None}

    def render(self) -> tuple[Any, ...]:
        self._check_open()
        self._check_no_step("render")
        return tuple(env.render() for env in self.envs)

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedEnvironmentError(f"{self} is closed: make another")

    def close_extras(self, **kwargs: Any) -> None:
        self._closed = True
        self._drop_step()
        if self._pool:
            self._pool.shutdown()
            self._pool = None
        with ExitStack() as stack:  # which closes all, also if one raises
            for env in self.envs:
                stack.callback(env.close)


def results_of(futures: list[Future[StepResult]]) -> list[StepResult]:
    """Return the results once all are there. Raises the first exception of any."""
    wait(futures)
    return [future.result() for future in futures]
