"""A `Game` for any number of players as a Gymnasium VectorEnv, the large batches divided among threads.

Row i of a batch is the single environment (`SoloEnv`) seeded with `seed + i`, bit for bit: both run the same compiled
rules on the same record.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rlgames.engine.array_pool import Arrays
from rlgames.engine.game import Game
from rlgames.engine.loops import BAD_ACTION, DISABLED, NEXT_STEP, OVER, SAME_STEP
from rlgames.engine.records import Players
from rlgames.engine.validation import check_actions, check_count, check_pace, check_render_mode, check_reset, is_integer
from rlgames.wrappers.frames import pace

MODES = {
    AutoresetMode.NEXT_STEP: NEXT_STEP,
    AutoresetMode.SAME_STEP: SAME_STEP,
    AutoresetMode.DISABLED: DISABLED,
}
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def autoreset(mode: AutoresetMode | str) -> AutoresetMode:
    """The mode itself, also from its value. Raises ValueError for anything else."""
    if mode not in (*AutoresetMode, *(known.value for known in AutoresetMode)):
        raise ValueError(f"expected an autoreset_mode of {', '.join(map(str, AutoresetMode))}, got {mode!r}")
    return AutoresetMode(mode)


class VectorGame(VectorEnv):
    """What the vector environments of a game have in common: the arguments of them all, and the spaces.

    `observation` is that of one player. Raises ValueError for bad arguments, before anything is made.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self,
        game: Any,
        num_envs: int,
        observation: Box,
        *,
        autoreset_mode: AutoresetMode | str,
        render_mode: str | None,
        frame_skip: int,
        max_pool: bool,
        max_episode_steps: int | None,
        threads: int | None,
    ):
        check_count("num_envs", num_envs)
        check_count("threads", threads, or_none=True)
        check_pace(frame_skip, max_pool, max_episode_steps)
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.mode = autoreset(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.mode, "render_fps": pace(game.fps, frame_skip)}
        self.game, self.num_envs, self.render_mode = game, int(num_envs), render_mode
        self.frame_skip, self.max_pool = frame_skip, max_pool
        self.single_observation_space, self.single_action_space = observation, Discrete(len(game.actions))
        self.observation_space = batch_space(observation, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._all = np.ones(self.num_envs, np.bool_)
        self._all.flags.writeable = False


class BatchEnv(VectorGame):
    """`num_envs` players of one game in step with each other, as a Gymnasium VectorEnv.

    Ownership: every array that `reset` and `step` hand out is the caller's to keep and to change (see `Arrays`), but
    for `info["_score"]`, which is read-only; nothing else is allocated in a step. Actions are read during the call
    only. Batches of several times `game.grain` players are divided among the cores; the result does not depend on it.

    `autoreset_mode` follows Gymnasium: NEXT_STEP (default), SAME_STEP (`info["final_obs"]` with its mask `_final_obs`;
    rows outside the mask are undefined) and DISABLED (`reset(options={"reset_mask": mask})`, mask bool (num_envs,)).
    A reset by mask shows the other rows as they stand, their last frame alone if `max_pool` is on.
    `info["score"]` float64 (num_envs,) is the game's own score of the episode; in SAME_STEP the score of an episode
    that ended stands in `info["final_info"]["score"]`.

    `frame_skip` repeats each action for so many frames, sums their rewards and draws only the last, or with `max_pool`
    the maximum of the last two. `max_episode_steps` replaces the game's own time limit, in frames.

    Raises ValueError for bad arguments, seeds, masks and actions, ResetNeeded for a step without a reset.
    """

    def __init__(
        self,
        game: Game,
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        frame_skip: int = 1,
        max_pool: bool = False,
        max_episode_steps: int | None = None,
        threads: int | None = None,
    ):
        super().__init__(
            game,
            num_envs,
            game.observation,
            autoreset_mode=autoreset_mode,
            render_mode=render_mode,
            frame_skip=frame_skip,
            max_pool=max_pool,
            max_episode_steps=max_episode_steps,
            threads=threads,
        )
        self._mode = MODES[self.mode]
        self._players = Players(game, self.num_envs, frame_skip, max_pool, max_episode_steps)
        self._begin, self._advance, _ = game.loops
        self._observations = Arrays((self.num_envs, *game.observation.shape), game.observation.dtype)
        self._action = np.zeros(self.num_envs, np.int64)
        self._final_obs, self._final_score = self._observations.next(), np.empty(self.num_envs)
        parts = threads or max(1, min(CORES, self.num_envs * frame_skip // game.grain))
        edges = [self.num_envs * part // parts for part in range(parts + 1)]
        self._parts = list(pairwise(edges))

    def reset(self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None):
        players = self._players
        seeds, mask = check_reset(seed, options, self.num_envs, players.started)
        if is_integer(seed):
            super().reset(seed=seeds[0])
        players.seed([x if m else None for x, m in zip(seeds, mask, strict=True)], self.np_random)
        players.started = True
        obs = self._observations.next()
        self._begin(players.records, mask, obs)
        return obs, {"score": players.records["score"].copy(), "_score": self._all}

    def step(self, actions: np.ndarray):
        n, players = self.num_envs, self._players
        self._take(actions)
        obs, reward, score = self._observations.next(), np.empty(n), np.empty(n)
        terminated, truncated = np.empty(n, np.bool_), np.empty(n, np.bool_)
        rest = (
            *(players.records, self._action, self._mode, players.skip, players.max_pool, players.limit),
            *(obs, reward, terminated, truncated, score, self._final_obs, self._final_score),
        )
        ended = self._advance(*self._parts[0], *rest) if len(self._parts) == 1 else self._advance_in_threads(rest)
        if ended < 0:
            raise players.refusal(ended, actions)
        info: dict[str, Any] = {"score": score, "_score": self._all}
        if ended and self.mode is AutoresetMode.SAME_STEP:
            done = terminated | truncated
            info |= {"final_obs": self._final_obs, "_final_obs": done}
            info |= {"final_info": {"score": self._final_score, "_score": done}, "_final_info": done}
            self._final_obs, self._final_score = self._observations.next(), np.empty(n)
        return obs, reward, terminated, truncated, info

    def _take(self, actions: Any) -> None:
        if not self._players.started:
            raise ResetNeeded(f"step() of {self.game.name} before the first reset()")
        self._action[:] = check_actions(actions, self.num_envs)

    def _advance_in_threads(self, rest: tuple) -> int:
        """As one call over all players. Refusals are looked for first, so that no part moves on without the others."""
        records, action = rest[0], rest[1]
        if not ((action >= 0) & (action < len(self.game.actions))).all():
            return BAD_ACTION
        if self.mode is AutoresetMode.DISABLED and records["over"].any():
            return OVER
        others = [pool().submit(self._advance, *part, *rest) for part in self._parts[1:]]
        return self._advance(*self._parts[0], *rest) + sum(other.result() for other in others)

    def snapshot(self) -> dict[str, Any]:
        """All that decides what comes next, random streams included: arrays and plain values, copied."""
        return self._players.snapshot(self.np_random)

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to `snapshot()`. Raises ValueError when it is of another game or number of players."""
        self._players.restore(state, self.np_random)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """One picture of each player, (height, width, 3) uint8."""
        if self.render_mode is None:
            return None
        return tuple(self.game.paint(record) for record in self._players.records)


_pools: dict[int, ThreadPoolExecutor] = {}


def pool() -> ThreadPoolExecutor:
    """The threads that large batches share, made when first needed, and anew in a forked process, which has none."""
    if os.getpid() not in _pools:
        _pools.clear()
        _pools[os.getpid()] = ThreadPoolExecutor(max(1, CORES - 1), thread_name_prefix="rlgames")
    return _pools[os.getpid()]
