"""`ProcessEnv`: any Gymnasium environments as one VectorEnv, each in a process of its own.

That is for engines of which a process can have one. It is Gymnasium's AsyncVectorEnv, which brings the pictures over
through shared memory, with more said where something goes wrong. The processes start from a clean one (forkserver), not
as copies of this, so a script that makes them needs `if __name__ == "__main__":`. Row i is the i-th environment seeded
with `seed + i`.
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
from gymnasium.spaces import Discrete
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from rlgames.engine.validation import check_actions, check_count, check_reset
from rlgames.engine.vector_env import autoreset

FAILURE = "failure"  # what is raised in a process comes over as information, so that the process lives on
PATIENCE = 5.0  # seconds that a process has for dying, when its pipe has ended
START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


class Shielded(gym.Wrapper):
    """An environment in its process. What it raises is told, with its traceback, for the parent to raise."""

    failure = ""  # of the last `moment` that was set

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        try:
            return self.env.reset(seed=seed, options=options)
        except Exception:  # noqa: BLE001  raised again in the parent
            return blank(self.env), {FAILURE: traceback.format_exc()}

    def step(self, action: Any):
        try:
            return self.env.step(action)
        except Exception:  # noqa: BLE001  raised again in the parent
            return blank(self.env), 0.0, False, False, {FAILURE: traceback.format_exc()}

    @property
    def moment(self) -> Any:
        """The snapshot of the environment; None if it has none. An attribute, so that each can be given its own."""
        snapshot = getattr(self.env, "snapshot", None)
        return snapshot and snapshot()

    @moment.setter
    def moment(self, state: Any) -> None:
        try:
            self.failure = ""
            self.env.restore(state)  # pyright: ignore[reportAttributeAccessIssue]  it has snapshot()
        except Exception:  # noqa: BLE001  raised again in the parent
            self.failure = traceback.format_exc()


def blank(env: gym.Env) -> np.ndarray:
    return np.zeros(env.observation_space.shape or (), env.observation_space.dtype)


def shielded(make: Callable[[], gym.Env], parent: int) -> gym.Env:
    if os.getpid() != parent:
        for number in (signal.SIGINT, signal.SIGTERM):  # the parent's to handle, which then ends this process
            signal.signal(number, signal.SIG_IGN)
    return Shielded(make())


class ProcessEnv(AsyncVectorEnv):
    """`num_envs` environments that `make` makes, with Box observations and Discrete actions from 0, each in a process.

    `make` must be picklable; the modules `preload` are imported once for all processes. Information and autoreset modes
    are as Gymnasium has them. Every array that is handed out is the caller's. What an environment raises is raised
    here as a RuntimeError with its traceback, after the others have finished the step; reset() then begins anew.

    Raises ValueError for a bad count, mode, seed, mask or action, ResetNeeded for a step before the first reset() or,
    in AutoresetMode.DISABLED, of an environment that is over, RuntimeError when a process has died, after ending the
    others, ClosedEnvironmentError after `close`.
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
        self.mode = autoreset(autoreset_mode)
        self._over, self._started, self._made = np.ones(int(num_envs), np.bool_), False, False
        self.parent_pipes, self.processes = [], []  # should it not come to them
        if START == "forkserver":
            multiprocessing.set_forkserver_preload(["__main__", *preload])
        each = partial(shielded, make, os.getpid())
        try:
            self._ask(super().__init__, [each] * int(num_envs), context=START, autoreset_mode=self.mode)
            assert isinstance(self.single_action_space, Discrete)
        except BaseException:
            self.close()
            raise
        self._made, self._actions = True, int(self.single_action_space.n)
        util.Finalize(self, end, (self.processes,), exitpriority=0)  # before multiprocessing waits for them in vain

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None):
        seeds, mask = check_reset(seed, options, self.num_envs, self._started)
        self._started = False  # should one of them fail
        obs, info = self._ask(super().reset, seed=seeds, options=options and {**options, "reset_mask": mask})
        self._raise(info.get(FAILURE, ()))
        self._started, self._over = True, self._over & ~mask
        return obs, info

    def step(self, actions: np.ndarray):
        self._check(actions)
        self._started = False  # should one of them fail
        obs, reward, terminated, truncated, info = self._ask(super().step, actions)
        self._raise(info.get(FAILURE, ()))
        self._started = True
        self._over = (terminated | truncated) & (self.mode is not AutoresetMode.SAME_STEP)
        return obs, reward, terminated, truncated, info

    def _check(self, actions: Any) -> None:
        self._assert_is_running()
        if not self._started:
            raise ResetNeeded(f"step() of {self} before the first reset()")
        check_actions(actions, self.num_envs, self._actions)
        if self.mode is AutoresetMode.DISABLED and self._over.any():
            raise ResetNeeded(f"an episode of {self} is over and was not reset: call reset() first")

    def snapshot(self) -> dict[str, Any]:
        """All that the next steps depend on; `restore` goes on from it bit for bit.

        Raises NotImplementedError for environments that have none, and in AutoresetMode.NEXT_STEP: which of them are
        to begin anew, Gymnasium's processes keep to themselves.
        """
        if self.mode is AutoresetMode.NEXT_STEP:
            raise NotImplementedError(f"{self} has no snapshot in {self.mode}: take AutoresetMode.SAME_STEP")
        moments = list(self.get_attr("moment"))
        if None in moments:
            raise NotImplementedError(f"the environments of {self} have no snapshot()")
        shown = np.array(self.observations)
        return {"envs": moments, "obs": shown, "over": self._over.copy(), "started": self._started}

    def restore(self, state: dict[str, Any]) -> None:
        """Raises ValueError for a snapshot of other environments."""
        if len(state["envs"]) != self.num_envs:
            raise ValueError(f"this snapshot is of {len(state['envs'])} environments, these are {self.num_envs}")
        self.set_attr("moment", state["envs"])
        if failed := next(filter(None, self.get_attr("failure")), None):
            raise ValueError(f"this snapshot is of other environments:\n{failed}")
        np.copyto(self.observations, state["obs"])
        self._over, self._started = state["over"].copy(), state["started"]

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        return self._ask(super().call, name, *args, **kwargs)

    def set_attr(self, name: str, values: Any) -> None:
        self._ask(super().set_attr, name, values)

    def _raise(self, failures: Any) -> None:
        for i, failure in enumerate(failures):
            if failure:
                raise RuntimeError(f"environment {i} of {self} failed:\n{failure}")

    def _ask(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What `call` returns. Raises RuntimeError if a process that it talks to is dead; the others end then too."""
        try:
            return call(*args, **kwargs)
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            i, code = self._dead()
            self.close()
            how = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit code {code}"
            remedy = "" if self._made else ': does the script guard it by if __name__ == "__main__"?'
            raise RuntimeError(f"process {i} of {type(self).__name__} {how}{remedy}") from error
        finally:
            if None in self.parent_pipes:  # Gymnasium has ended a process that had no answer
                self.close()

    def _dead(self) -> tuple[int | str, int | None]:
        """Which process has died, and its exit code; one that ended by itself, with 0, only if no other did."""
        deadline = monotonic() + PATIENCE
        while True:
            fates = [(i, process.exitcode) for i, process in enumerate(self.processes)]
            if died := next(((i, code) for i, code in fates if code), None):
                return died
            alive = [self.processes[i].sentinel for i, code in fates if code is None]
            if not alive or not wait(alive, max(0.0, deadline - monotonic())):
                return next(((i, code) for i, code in fates if code is not None), ("?", None))

    def close_extras(self, timeout: float | None = None, terminate: bool = True) -> None:
        """End all processes at once, whatever they do: they have nothing to put in order."""
        end(self.processes)
        for pipe in filter(None, self.parent_pipes):  # Gymnasium takes out that of a process which has failed
            pipe.close()


def end(processes: Sequence[BaseProcess]) -> None:
    living = [process for process in processes if process.pid is not None]
    for process in living:
        process.kill()  # they do not listen to SIGTERM
    for process in living:
        process.join()
