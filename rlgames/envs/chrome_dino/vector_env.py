"""`BatchChromeDino`: many players of chrome://dino in one page of one browser, one round trip a step."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from rlgames.engine.loops import INVALID_ACTION, NEEDS_RESET
from rlgames.engine.validation import VectorEnvSettings, check_actions, check_reset, is_integer
from rlgames.engine.vector_env import BaseVectorEnv, final_info
from rlgames.envs.chrome_dino.game import ChromeDinoGame
from rlgames.envs.chrome_dino.players import DinoPlayers
from rlgames.errors import InvalidValueError


def make_vector_env(game: ChromeDinoGame, num_envs: int, **settings: Any) -> ChromeDinoVectorEnv:
    """Make any number of environments in one page; `settings` are the fields of `VectorEnvSettings`."""
    return ChromeDinoVectorEnv(game, num_envs, VectorEnvSettings(**settings))


class ChromeDinoVectorEnv(BaseVectorEnv):
    """`num_envs` players; row i is the single environment (`SoloChromeDino`) seeded with `seed + i`.

    Autoreset modes and information are `BatchEnv`'s; arguments and errors also `SoloChromeDino`'s. Every array that is
    handed out is the caller's, but for the read-only `info["_score"]`. There is no real time: ValueError.
    """

    def __init__(self, game: ChromeDinoGame, num_envs: int = 1, settings: VectorEnvSettings = VectorEnvSettings()):
        super().__init__(game, num_envs, game.observation, settings)  # one page, whatever settings.threads
        if game.real_time:
            raise InvalidValueError("expected real_time=False for a batch: in real time one page plays one game")
        self._players = DinoPlayers(game, self.num_envs, settings)
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
            info |= final_info(done, *final)
        return obs, reward, terminated, truncated, info

    def _taken(self, actions: Any) -> list[int]:
        players = self._players
        players.check_ready()
        given = check_actions(actions, self.num_envs)
        if given.min() < 0 or given.max() >= len(self.game.actions):
            raise players.error(INVALID_ACTION, actions)
        if self.mode is AutoresetMode.DISABLED and players.records["over"].any():
            raise players.error(NEEDS_RESET, actions)
        return given.tolist()

    def render(self) -> tuple[np.ndarray, ...] | None:
        """One picture of each player, (150, 600, 3) uint8."""
        return (self.render_mode and tuple(self._players.colours())) or None

    def close_extras(self, **kwargs: Any) -> None:
        self._players.close()
