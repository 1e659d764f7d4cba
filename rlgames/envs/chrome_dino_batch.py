"""`BatchChromeDino`: many players of chrome://dino in one page of one browser, one round trip a step."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rlgames.envs.batch import autoreset
from rlgames.envs.chrome_dino import ChromeDinoGame
from rlgames.envs.chrome_dino_players import DinoPlayers
from rlgames.envs.game import BAD_ACTION, OVER
from rlgames.envs.players import check_count, check_mask, check_seeds, is_integer, pace


class BatchChromeDino(VectorEnv):
    """`num_envs` players; row i is the single environment (`SoloChromeDino`) seeded with `seed + i`.

    Autoreset modes and information are `BatchEnv`'s; arguments and errors also `SoloChromeDino`'s. Every array that is
    handed out is the caller's, but for the read-only `info["_score"]`. There is no real time: ValueError.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self,
        game: ChromeDinoGame,
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        frame_skip: int = 1,
        max_pool: bool = False,
        max_episode_steps: int | None = None,
        threads: int | None = None,
    ):
        check_count("num_envs", num_envs)
        check_count("threads", threads, or_none=True)  # of the page there is one, whatever they are
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"expected render_mode None or 'rgb_array' for a batch, got {render_mode!r}")
        if game.real_time:
            raise ValueError("expected real_time=False for a batch: in real time one page plays one game")
        self.mode = autoreset(autoreset_mode)
        self._players = DinoPlayers(game, int(num_envs), frame_skip, max_pool, max_episode_steps)
        self.metadata = {**self.metadata, "autoreset_mode": self.mode, "render_fps": pace(game.fps, frame_skip)}
        self.game, self.num_envs, self.render_mode = game, int(num_envs), render_mode
        self.frame_skip, self.max_pool = frame_skip, max_pool
        self.single_observation_space, self.single_action_space = game.observation, Discrete(len(game.actions))
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._all, self._nobody = np.ones(self.num_envs, np.bool_), np.zeros(self.num_envs, np.bool_)
        self._all.flags.writeable = False

    def reset(self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None):
        players = self._players
        players.check_open()
        seeds, mask = check_seeds(seed, self.num_envs), check_mask(options, self.num_envs)
        if mask is None:
            mask = self._all
        elif players.page is None:
            raise ResetNeeded("reset all environments once before resetting some by reset_mask")
        if is_integer(seed):
            super().reset(seed=seeds[0])
        players.seed([x if m else None for x, m in zip(seeds, mask, strict=True)], self.np_random)
        players.started = True
        obs = players.begin(mask)
        return obs, {"score": players.records["score"].copy(), "_score": self._all}

    def step(self, actions: np.ndarray):
        held, players = self._taken(actions), self._players
        over = players.records["over"] > 0 if self.mode is AutoresetMode.NEXT_STEP else self._nobody
        same_step = self.mode is AutoresetMode.SAME_STEP
        obs, reward, terminated, truncated, score, final = players.play(held, over, same_step)
        info: dict[str, Any] = {"score": score, "_score": self._all}
        if final:
            done = terminated | truncated
            info |= {"final_obs": final[0], "_final_obs": done}
            info |= {"final_info": {"score": final[1], "_score": done}, "_final_info": done}
        return obs, reward, terminated, truncated, info

    def _taken(self, actions: Any) -> list[int]:
        players = self._players
        players.check_ready()
        given = np.asarray(actions)
        if given.shape != (self.num_envs,) or given.dtype.kind not in "iu":
            raise ValueError(f"expected {self.num_envs} integer actions, got {given.dtype} of shape {given.shape}")
        if given.min() < 0 or given.max() >= len(self.game.actions):
            raise players.refusal(BAD_ACTION, actions)
        if self.mode is AutoresetMode.DISABLED and players.records["over"].any():
            raise players.refusal(OVER, actions)
        return given.tolist()

    def render(self) -> tuple[np.ndarray, ...] | None:
        """One picture of each player, (150, 600, 3) uint8."""
        self._players.check_open()
        page = self._players.page
        if self.render_mode is None or page is None:
            return None
        return tuple(page.colours(i) for i in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        self._players.close()
