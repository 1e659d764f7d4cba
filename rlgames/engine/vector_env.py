"""A compiled `Game` as a Gymnasium VectorEnv; large batches are divided among threads.

Environment i of a batch equals the single environment (`GameEnv`) seeded with `seed + i`, bit for bit: both run the
same compiled rules on the same record.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rlgames.engine.array_pool import ArrayPool
from rlgames.engine.copying import Copyable
from rlgames.engine.game import Game
from rlgames.engine.loops import DISABLED, INVALID_ACTION, NEEDS_RESET, NEXT_STEP, SAME_STEP
from rlgames.engine.records import EnvRecords
from rlgames.engine.sending import SendRecv, StepResults
from rlgames.engine.validation import (
    VectorEnvSettings,
    as_autoreset_mode,
    check_actions,
    check_count,
    check_render_mode,
    check_reset,
    is_integer,
)
from rlgames.wrappers.frames import frames_per_second

MODES = {
    AutoresetMode.NEXT_STEP: NEXT_STEP,
    AutoresetMode.SAME_STEP: SAME_STEP,
    AutoresetMode.DISABLED: DISABLED,
}
RESULTS = slice(6, 12)  # of the arguments of the compiled step
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_vector_env(game: Game, num_envs: int, **settings: Any) -> GameVectorEnv:
    """Make any number of environments; `settings` are the fields of `VectorEnvSettings`."""
    return GameVectorEnv(game, num_envs, VectorEnvSettings(**settings))


def masked_info(values: dict[str, np.ndarray], mask: np.ndarray) -> dict[str, np.ndarray]:
    """Return `values` and the mask of each as Gymnasium's SyncVectorEnv has them: zero or None outside of it."""
    info = {}
    for name, value in values.items():
        kept = value
        if not mask.all():
            kept = np.full_like(value, None if value.dtype == object else 0)
            kept[mask] = value[mask]
        info[name], info[f"_{name}"] = kept, mask.copy()
    return info


def final_info(
    done: np.ndarray, final_obs: np.ndarray, final_scores: np.ndarray, values: dict[str, np.ndarray] | None = None
) -> dict[str, Any]:
    """Return what SAME_STEP adds to the information where episodes have ended; `done` is bool (num_envs,).

    `values` is further information. As in Gymnasium's SyncVectorEnv, but `final_obs` is one array (num_envs, *shape),
    zero where no episode has ended.
    """
    last = np.zeros(final_obs.shape, final_obs.dtype)  # not zeros_like, which writes to all of the memory at once
    last[done] = final_obs[done]
    final = masked_info({"score": final_scores} | (values or {}), done)
    return {"final_obs": last, "_final_obs": done, "final_info": final, "_final_info": done.copy()}


class BaseVectorEnv(Copyable, VectorEnv):
    """The arguments and spaces that the vector environments of all games have in common.

    `observation` is the space of one environment. Raises ValueError for bad arguments, before anything is made.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(self, game: Any, num_envs: int, observation: Box, settings: VectorEnvSettings):
        check_count("num_envs", num_envs)
        check_render_mode(settings.render_mode, self.metadata["render_modes"])
        self.autoreset_mode = as_autoreset_mode(settings.autoreset_mode)
        fps = frames_per_second(game.fps, settings.frame_skip)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode, "render_fps": fps}
        self.game, self.num_envs, self.render_mode = game, int(num_envs), settings.render_mode
        self.frame_skip, self.max_pool = settings.frame_skip, settings.max_pool
        self.single_observation_space, self.single_action_space = observation, Discrete(len(game.actions))
        self.observation_space = batch_space(observation, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._all = np.ones(self.num_envs, np.bool_)
        self._all.flags.writeable = False


class GameVectorEnv(SendRecv, BaseVectorEnv, VectorEnv):  # the last for skrl, which looks for it among the bases
    """`num_envs` environments of one compiled game, stepped together.

    Observation space: the game's, batched. Action space: one of the game's actions each. Rewards: float64 (num_envs,).
    `info["score"]`, float64 (num_envs,), is the game's own score of the running episode; in SAME_STEP the score of an
    episode that ended is in `info["final_info"]["score"]`. So are the other keys of `game.info`.

    Ownership: every array that `reset` and `step` return is the caller's to keep and to change (see `ArrayPool`).
    Actions are read during the call only. Batches of several times `game.envs_per_thread` are divided among the cores;
    results do not depend on it. `send` and `recv` are the halves of a step, see `rlgames.engine.sending`.

    `autoreset_mode` follows Gymnasium: NEXT_STEP (default), SAME_STEP (`info["final_obs"]` with its mask `_final_obs`)
    and DISABLED (`reset(options={"reset_mask": mask})`, mask bool (num_envs,)). A reset by mask observes the other
    environments as they are, without max_pool. Information outside of its mask is zero.

    Raises ValueError for bad arguments, seeds, masks and actions, ResetNeeded for a step without a reset,
    AlreadyPendingCallError for another call before the `recv` of a step.
    """

    def __init__(self, game: Game, num_envs: int = 1, settings: VectorEnvSettings = VectorEnvSettings()):
        super().__init__(game, num_envs, game.observation, settings)
        self.metadata |= {"score": game.score_key, "best_score": game.best_score}
        self._mode = MODES[self.autoreset_mode]
        self._state = EnvRecords(game, self.num_envs, settings)
        self._reset, self._step = game.loops.reset, game.loops.step
        self._observations = ArrayPool((self.num_envs, *game.observation.shape), game.observation.dtype)
        self._actions = np.zeros(self.num_envs, np.int64)
        self._final_obs = np.empty((self.num_envs, *game.observation.shape), game.observation.dtype)
        self._final_scores = np.empty(self.num_envs)
        self._final_infos = np.zeros((self.num_envs, len(game.info)), np.int64)
        slices = settings.threads or max(1, min(CORES, self.num_envs * self.frame_skip // game.envs_per_thread))
        self._slices = list(pairwise(self.num_envs * i // slices for i in range(slices + 1)))
        self._compile()

    def _compile(self) -> None:
        """Compile the loops, or load them from the cache, by calls that change nothing."""
        obs, floats, booleans = self._observations.next(), np.empty(self.num_envs), np.empty(self.num_envs, np.bool_)
        infos = self._empty_infos()
        self._reset(self._state.records[:0], booleans[:0], obs[:0], *self.game.data)
        self._step(0, 0, *self._step_arguments(obs, floats, booleans, booleans, floats, infos))

    def _step_arguments(self, *results: np.ndarray) -> tuple[Any, ...]:
        """Return the arguments of the compiled step after the range of environments."""
        state = self._state
        return (
            *(state.records, self._actions, self._mode, state.frame_skip, state.max_pool, state.max_frames),
            *(*results, self._final_obs, self._final_scores, self._final_infos, *self.game.data),
        )

    def reset(self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None):
        self._check_no_step("reset")
        state = self._state
        seeds, mask = check_reset(seed, options, self.num_envs, state.started)
        if is_integer(seed):
            super().reset(seed=seeds[0])
        state.seed([x if m else None for x, m in zip(seeds, mask, strict=True)], self.np_random)
        state.started = True
        obs = self._observations.next()
        self._reset(state.records, mask, obs, *self.game.data)
        if options and self.game.apply_options:
            records = state.records[mask]
            self.game.apply_options(records, options)
            state.records[mask] = records
            self._reset(state.records, np.zeros_like(mask), obs, *self.game.data)  # observe
        infos = self._empty_infos()
        if self.game.info:
            self.game.loops.describe(state.records, infos, *self.game.data)
        return obs, masked_info({"score": np.zeros(self.num_envs)} | self.game.read_info(infos), mask)

    def _empty_infos(self) -> np.ndarray:
        return np.empty((self.num_envs, len(self.game.info)), np.int64)

    def step(self, actions: np.ndarray) -> StepResults:
        self._check_no_step("step")
        arguments = self._prepare_step(actions)
        if len(self._slices) == 1:
            return self._results(arguments, self._step(0, self.num_envs, *arguments), actions)
        if not (ended := self._find_error(arguments)):
            others = [thread_pool().submit(self._step, *bounds, *arguments) for bounds in self._slices[1:]]
            ended = self._step(*self._slices[0], *arguments) + sum(other.result() for other in others)
        return self._results(arguments, ended, actions)

    def _start_step(self, actions: np.ndarray) -> Callable[[], StepResults]:
        arguments = self._prepare_step(actions)
        if error := self._find_error(arguments):
            raise self._state.error(error, actions)
        slices = [thread_pool().submit(self._step, *bounds, *arguments) for bounds in self._slices]
        return lambda: self._results(arguments, sum(each.result() for each in slices), actions)

    def _prepare_step(self, actions: Any) -> tuple[Any, ...]:
        """Check and keep the actions, and return the arguments of the compiled step, with new arrays for results."""
        n = self.num_envs
        if not self._state.started:
            raise ResetNeeded(f"step() of {self.game.name} before the first reset()")
        self._actions[:] = check_actions(actions, n)
        obs, rewards, scores = self._observations.next(), np.empty(n), np.empty(n)
        terminated, truncated = np.empty(n, np.bool_), np.empty(n, np.bool_)
        return self._step_arguments(obs, rewards, terminated, truncated, scores, self._empty_infos())

    def _find_error(self, arguments: tuple) -> int:
        """Return the code of an error, or 0; actions are checked first, so that no slice is stepped without others."""
        records, actions = arguments[0], arguments[1]
        if not ((actions >= 0) & (actions < len(self.game.actions))).all():
            return INVALID_ACTION
        if self.autoreset_mode is AutoresetMode.DISABLED and records["over"].any():
            return NEEDS_RESET
        return 0

    def _results(self, arguments: tuple, ended: int, actions: Any) -> StepResults:
        """Return the results of a step in which so many episodes have `ended`. Raises the error of a negative code."""
        if ended < 0:
            raise self._state.error(ended, actions)
        obs, rewards, terminated, truncated, scores, infos = arguments[RESULTS]
        info: dict[str, Any] = masked_info({"score": scores} | self.game.read_info(infos), self._all)
        if ended and self.autoreset_mode is AutoresetMode.SAME_STEP:
            values = self.game.read_info(self._final_infos)
            info |= final_info(terminated | truncated, self._final_obs, self._final_scores, values)
        return obs, rewards, terminated, truncated, info

    def copy_records(self, indices: Any) -> np.ndarray:
        """Return the states of these environments, (n,) of `game.record`, from which others can continue."""
        self._check_no_step("copy_records")
        return self._state.records[indices]

    def continue_from(self, indices: np.ndarray, records: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Let these environments continue from `records`, (n,) of `game.record`; return observations and information.

        The limits of an episode's length count from here, and random numbers of the game's stream are the
        environments' own; the score goes on.
        """
        self._check_no_step("continue_from")
        state, changed = self._state, records.copy()
        changed["rng"], changed["age"], changed["over"] = state.records["rng"][indices], 0, 0
        state.records[indices] = changed
        obs = np.empty((len(changed), *self.game.observation.shape), self.game.observation.dtype)
        self._reset(changed, np.zeros(len(changed), np.bool_), obs, *self.game.data)  # observe
        infos = np.empty((len(changed), len(self.game.info)), np.int64)
        if self.game.info:
            self.game.loops.describe(changed, infos, *self.game.data)
        return obs, {"score": changed["score"].copy()} | self.game.read_info(infos)

    def snapshot(self) -> dict[str, Any]:
        """Return all that the next steps depend on, random streams included: copies of arrays, and plain values."""
        self._check_no_step("snapshot")
        return self._state.snapshot(self.np_random)

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a `snapshot()`. Raises ValueError if it is of another game or number of environments."""
        self._check_no_step("restore")
        self._state.restore(state, self.np_random)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return a picture of each environment, (height, width, 3) uint8."""
        if self.render_mode is None:
            return None
        self._check_no_step("render")
        return tuple(self.game.render(record) for record in self._state.records)

    def close_extras(self, **kwargs: Any) -> None:
        self._drop_step()


_thread_pools: dict[int, ThreadPoolExecutor] = {}  # by process: a forked process has none of its parent's threads


def thread_pool() -> ThreadPoolExecutor:
    """Return the threads that all large batches of this process share, made when first needed."""
    if os.getpid() not in _thread_pools:
        _thread_pools.clear()
        _thread_pools[os.getpid()] = ThreadPoolExecutor(max(1, CORES - 1), thread_name_prefix="rlgames")
    return _thread_pools[os.getpid()]
