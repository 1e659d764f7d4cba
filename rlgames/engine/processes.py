"""`ProcessVectorEnv`: any Gymnasium environments as one VectorEnv, each in a process of its own.

For emulators that allow one instance a process. It is Gymnasium's AsyncVectorEnv, which returns observations through
shared memory, with snapshots and with clear errors. Processes are started by forkserver, not as copies of this one, so
a script that makes them needs `if __name__ == "__main__":`. Environment i is seeded with `seed + i`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import util
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from time import monotonic
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from rlgames.engine.copying import Copyable
from rlgames.engine.forks import ForkGuard
from rlgames.engine.parent import end_with_parent
from rlgames.engine.sending import SendRecv, StepResults
from rlgames.engine.validation import as_autoreset_mode, check_actions, check_count, check_reset, check_spaces
from rlgames.errors import InvalidValueError

FAILURE = "failure"  # key of the information that carries an exception to the parent, so that the process lives on
DEATH_TIMEOUT = 5.0  # seconds that a process may take to die after its pipe has ended
START_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


class ErrorReportingEnv(gym.Wrapper):
    """An environment in its process; its exceptions are sent, with their traceback, for the parent to raise."""

    failure = ""  # of the last `env_state` that was set

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        try:
            return self.env.reset(seed=seed, options=options)
        except Exception:  # noqa: BLE001  raised again in the parent
            return empty_obs(self.env), {FAILURE: traceback.format_exc()}

    def step(self, action: Any):
        try:
            return self.env.step(action)
        except Exception:  # noqa: BLE001  raised again in the parent
            return empty_obs(self.env), 0.0, False, False, {FAILURE: traceback.format_exc()}

    @property
    def env_state(self) -> Any:
        """Snapshot of the environment, None without snapshot(). An attribute, because set_attr gives each its own."""
        snapshot = getattr(self.env, "snapshot", None)
        return snapshot and snapshot()

    @env_state.setter
    def env_state(self, state: Any) -> None:
        try:
            self.failure = ""
            self.env.restore(state)  # pyright: ignore[reportAttributeAccessIssue]  it has snapshot()
        except Exception:  # noqa: BLE001  raised again in the parent
            self.failure = traceback.format_exc()


def empty_obs(env: gym.Env) -> np.ndarray:
    return np.zeros(env.observation_space.shape or (), env.observation_space.dtype)


def make_in_process(make: Callable[[], gym.Env], parent: int) -> gym.Env:
    if os.getpid() != parent:
        for number in (signal.SIGINT, signal.SIGTERM):  # handled by the parent, which then ends this process
            signal.signal(number, signal.SIG_IGN)
        end_with_parent()
    return ErrorReportingEnv(make())


class ProcessVectorEnv(SendRecv, Copyable, AsyncVectorEnv):
    """`num_envs` environments made by `make`, with Box observations and Discrete actions from 0, each in a process.

    `make` must be picklable; the modules `preload` are imported once for all processes. Information and autoreset modes
    are Gymnasium's. Every returned array is the caller's. An exception of an environment is raised here as a
    RuntimeError with its traceback, after the others have finished the step; reset() then starts new episodes. `send`
    and `recv` are the halves of a step, see `rlgames.engine.sending`.

    Raises TypeError for other spaces, ValueError for a bad count, mode, seed, mask or action, ResetNeeded for a step
    before the first reset() or, in AutoresetMode.DISABLED, of an environment that is over, RuntimeError when a process
    has died, after ending the others, ClosedEnvironmentError after `close`, ForkedError after a fork.
    """

    def __init__(
        self,
        make: Callable[[], gym.Env],
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        preload: Sequence[str] = (),
    ):
        check_count("num_envs", num_envs)
        self.autoreset_mode = as_autoreset_mode(autoreset_mode)
        self._fork_guard = ForkGuard()
        self._over, self._started, self._constructed = np.ones(int(num_envs), np.bool_), False, False
        self.parent_pipes, self.processes = [], []  # for close(), if Gymnasium's constructor fails
        if START_METHOD == "forkserver":
            multiprocessing.set_forkserver_preload(["__main__", __name__, *preload])
        env_fn = partial(make_in_process, make, os.getpid())
        try:
            self._call(
                super().__init__, [env_fn] * int(num_envs), context=START_METHOD, autoreset_mode=self.autoreset_mode
            )
            _, action_space = check_spaces(self.single_observation_space, self.single_action_space)
        except BaseException:
            self.close()
            raise
        self._constructed, self._num_actions = True, int(action_space.n)
        util.Finalize(self, kill_all, (self.processes,), exitpriority=0)  # before multiprocessing joins them

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None):
        self._check_no_step("reset")
        seeds, mask = check_reset(seed, options, self.num_envs, self._started)
        self._started = False  # until all of them have answered
        obs, info = self._call(super().reset, seed=seeds, options=options and {**options, "reset_mask": mask})
        self._raise_failure(info.get(FAILURE, ()))
        self._started, self._over = True, self._over & ~mask
        return obs, info

    def _start_step(self, actions: np.ndarray) -> Callable[[], StepResults]:
        self._check(actions)
        self._started = False  # until all of them have answered
        self._call(super().step_async, actions)
        return self._receive

    def _receive(self) -> StepResults:
        obs, reward, terminated, truncated, info = self._call(super().step_wait)
        self._raise_failure(info.get(FAILURE, ()))
        self._started = True
        self._over = (terminated | truncated) & (self.autoreset_mode is not AutoresetMode.SAME_STEP)
        return obs, reward, terminated, truncated, info

    def _check(self, actions: Any) -> None:
        self._assert_is_running()
        if not self._started:
            raise ResetNeeded(f"step() of {self} before the first reset()")
        check_actions(actions, self.num_envs, self._num_actions)
        if self.autoreset_mode is AutoresetMode.DISABLED and self._over.any():
            raise ResetNeeded(f"an episode of {self} is over and was not reset: call reset() first")

    def snapshot(self) -> dict[str, Any]:
        """Return all that the next steps depend on; `restore` continues from it bit for bit.

        Raises NotImplementedError for environments without snapshot(), and in AutoresetMode.NEXT_STEP: which of them
        are to be reset is known only to Gymnasium's processes.
        """
        self._check_no_step("snapshot")
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            raise NotImplementedError(f"{self} has no snapshot in {self.autoreset_mode}: use AutoresetMode.SAME_STEP")
        states = list(self.get_attr("env_state"))
        if None in states:
            raise NotImplementedError(f"the environments of {self} have no snapshot()")
        obs = np.array(self.observations)
        return {"envs": states, "obs": obs, "over": self._over.copy(), "started": self._started}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a `snapshot()`. Raises ValueError if it is of other environments."""
        self._check_no_step("restore")
        if len(state["envs"]) != self.num_envs:
            raise InvalidValueError(f"this snapshot is of {len(state['envs'])} environments, expected {self.num_envs}")
        self.set_attr("env_state", state["envs"])
        if failed := next(filter(None, self.get_attr("failure")), None):
            raise InvalidValueError(f"this snapshot is of other environments:\n{failed}")
        np.copyto(self.observations, state["obs"])
        self._over, self._started = state["over"].copy(), state["started"]

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        return self._call(super().call, name, *args, **kwargs)

    def set_attr(self, name: str, values: Any) -> None:
        self._call(super().set_attr, name, values)

    def _raise_failure(self, failures: Any) -> None:
        for i, failure in enumerate(failures):
            if failure:
                raise RuntimeError(f"environment {i} of {self} failed:\n{failure}")

    def _call(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return what `call` returns. Raises RuntimeError, after ending all processes, if one of them has died."""
        self._fork_guard.check(self)
        try:
            return call(*args, **kwargs)
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            i, code = self._find_dead()
            self.close()
            how = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit code {code}"
            remedy = "" if self._constructed else ': does the script guard it by if __name__ == "__main__"?'
            raise RuntimeError(f"process {i} of {type(self).__name__} {how}{remedy}") from error
        finally:
            if None in self.parent_pipes:  # Gymnasium has ended a process that did not answer
                self.close()

    def _find_dead(self) -> tuple[int | str, int | None]:
        """Return the index and exit code of the process that died; one that exited with 0 only if there is no other."""
        deadline = monotonic() + DEATH_TIMEOUT
        while True:
            exit_codes = [(i, process.exitcode) for i, process in enumerate(self.processes)]
            if died := next(((i, code) for i, code in exit_codes if code), None):
                return died
            alive = [self.processes[i].sentinel for i, code in exit_codes if code is None]
            if not alive or not wait(alive, max(0.0, deadline - monotonic())):
                return next(((i, code) for i, code in exit_codes if code is not None), ("?", None))

    def close_extras(self, timeout: float | None = None, terminate: bool = True) -> None:
        """Kill all processes: they have nothing to clean up."""
        self._finish_step = None
        if not self._fork_guard.forked:
            kill_all(self.processes)
        for pipe in filter(None, self.parent_pipes):  # Gymnasium removes the pipe of a process that failed
            pipe.close()


def kill_all(processes: Sequence[BaseProcess]) -> None:
    living = [process for process in processes if process.pid is not None]
    for process in living:
        process.kill()  # they ignore SIGTERM
    for process in living:
        process.join()
