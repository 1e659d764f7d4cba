"""`BatchChromeDino`: many players of chrome://dino in one page of one browser, one round trip a step."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from rlgames.engine.loops import BAD_ACTION, OVER
from rlgames.engine.validation import check_actions, check_reset, is_integer
from rlgames.engine.vector_env import VectorGame
from rlgames.envs.chrome_dino.game import ChromeDinoGame
from rlgames.envs.chrome_dino.players import DinoPlayers


class BatchChromeDino(VectorGame):
    """`num_envs` players; row i is the single environment (`SoloChromeDino`) seeded with `seed + i`.

    Autoreset modes and information are `BatchEnv`'s; arguments and errors also `SoloChromeDino`'s. Every array that is
    handed out is the caller's, but for the read-only `info["_score"]`. There is no real time: ValueError.
    """

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
        threads: int | None = None,  # of the page there is one, whatever they are
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
        if game.real_time:
            raise ValueError("expected real_time=False for a batch: in real time one page plays one game")
        self._players = DinoPlayers(game, self.num_envs, frame_skip, max_pool, max_episode_steps)
        self._nobody = np.zeros(self.num_envs, np.bool_)

    def reset(self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None):
        players = self._players
        players.check_open()
        seeds, mask = check_reset(seed, options, self.num_envs, players.page is not None)
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
        given = check_actions(actions, self.num_envs)
        if given.min() < 0 or given.max() >= len(self.game.actions):
            raise players.refusal(BAD_ACTION, actions)
        if self.mode is AutoresetMode.DISABLED and players.records["over"].any():
            raise players.refusal(OVER, actions)
        return given.tolist()

    def render(self) -> tuple[np.ndarray, ...] | None:
        """One picture of each player, (150, 600, 3) uint8."""
        return (self.render_mode and tuple(self._players.colours())) or None

    def close_extras(self, **kwargs: Any) -> None:
        self._players.close()
