"""`ChromeDinoVectorEnv`: many games of chrome://dino in one page of one browser, stepped in one round trip."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from rlgames.engine.loops import INVALID_ACTION, NEEDS_RESET
from rlgames.engine.validation import VectorEnvSettings, check_actions, check_reset, is_integer
from rlgames.engine.vector_env import BaseVectorEnv, final_info
from rlgames.envs.chrome_dino.episodes import DinoEpisodes
from rlgames.envs.chrome_dino.game import ChromeDinoGame
from rlgames.errors import InvalidValueError


def make_vector_env(game: ChromeDinoGame, num_envs: int, **settings: Any) -> ChromeDinoVectorEnv:
    """Make any number of environments in one page; `settings` are the fields of `VectorEnvSettings`."""
    return ChromeDinoVectorEnv(game, num_envs, VectorEnvSettings(**settings))


class ChromeDinoVectorEnv(BaseVectorEnv, VectorEnv):  # see GameVectorEnv
    """`num_envs` environments in one page; environment i equals the `ChromeDinoEnv` seeded with `seed + i`.

    Spaces, rewards and errors are those of `ChromeDinoEnv`, batched; autoreset modes and information are those of
    `GameVectorEnv`. Every returned array is the caller's.

    Raises ValueError for a game of real time: there one page runs one game.
    """

    def __init__(self, game: ChromeDinoGame, num_envs: int = 1, settings: VectorEnvSettings = VectorEnvSettings()):
        super().__init__(game, num_envs, game.observation, settings)  # one page: settings.threads has no effect
        if game.real_time:
            raise InvalidValueError(
                "expected real_time=False for a vector environment: in real time one page runs one game"
            )
        self._state = DinoEpisodes(game, self.num_envs, settings)
        self._no_reset = np.zeros(self.num_envs, np.bool_)

    def reset(self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None):
        state = self._state
        state.check_open()
        seeds, mask = check_reset(seed, options, self.num_envs, state.page is not None)
        if is_integer(seed):
            super().reset(seed=seeds[0])
        state.seed([x if m else None for x, m in zip(seeds, mask, strict=True)], self.np_random)
        state.started = True
        obs = state.reset(mask)
        return obs, {"score": np.zeros(self.num_envs), "_score": mask}

    def step(self, actions: np.ndarray):
        checked, state = self._check(actions), self._state
        reset_mask = state.records["over"] > 0 if self.autoreset_mode is AutoresetMode.NEXT_STEP else self._no_reset
        same_step = self.autoreset_mode is AutoresetMode.SAME_STEP
        obs, reward, terminated, truncated, score, final = state.step(checked, reset_mask, same_step)
        info: dict[str, Any] = {"score": score, "_score": self._all.copy()}
        if final:
            info |= final_info(terminated | truncated, *final)
        return obs, reward, terminated, truncated, info

    def _check(self, actions: Any) -> list[int]:
        state = self._state
        state.check_ready()
        checked = check_actions(actions, self.num_envs)
        if checked.min() < 0 or checked.max() >= len(self.game.actions):
            raise state.error(INVALID_ACTION, actions)
        if self.autoreset_mode is AutoresetMode.DISABLED and state.records["over"].any():
            raise state.error(NEEDS_RESET, actions)
        return checked.tolist()

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return one picture of each environment, (150, 600, 3) uint8."""
        return (self.render_mode and tuple(self._state.render())) or None

    def close_extras(self, **kwargs: Any) -> None:
        self._state.close()
