"""A `Game` for one player as a Gymnasium Env: the same compiled rules, on a record of its own, as in a batch."""

from __future__ import annotations

from operator import index
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Discrete

from rlgames.engine.game import Game
from rlgames.engine.loops import BAD_ACTION
from rlgames.engine.records import Players
from rlgames.engine.rendering import Window
from rlgames.engine.validation import check_render_mode, check_seed
from rlgames.wrappers.frames import pace


class SoloEnv(gym.Env):
    """One player of a game as a Gymnasium Env; arguments, ownership and errors as in `BatchEnv`.

    render_mode "rgb_array" returns a picture; "human" shows it in a window (needs the extra `play`).
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"]}

    def __init__(
        self,
        game: Game,
        *,
        render_mode: str | None = None,
        frame_skip: int = 1,
        max_pool: bool = False,
        max_episode_steps: int | None = None,
    ):
        check_render_mode(render_mode, self.metadata["render_modes"])
        self._players = Players(game, 1, frame_skip, max_pool, max_episode_steps)
        self.metadata = {**self.metadata, "render_fps": pace(game.fps, frame_skip)}
        self.render_mode, self.game, self.frame_skip, self.max_pool = render_mode, game, frame_skip, max_pool
        self.observation_space, self.action_space = game.observation, Discrete(len(game.actions))
        self._begin, _, self._play = game.loops
        self._shape, self._dtype = game.observation.shape, game.observation.dtype
        self._window = Window(f"rlgames {game.name}", game.fps) if render_mode == "human" else None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        seed = check_seed(seed)
        super().reset(seed=seed)
        self._players.seed([seed], self.np_random)
        self._players.started = True
        obs = np.empty(self._shape, self._dtype)
        self._begin(self._players.records, np.ones(1, np.bool_), obs[None])
        self._show()
        return obs, {"score": 0.0}

    def step(self, action: int):
        players = self._players
        if not players.started:
            raise ResetNeeded(f"step() of {self.game.name} before the first reset()")
        obs = np.empty(self._shape, self._dtype)
        try:
            reward, terminated, over, score = self._play(
                players.records, index(action), players.skip, players.max_pool, players.limit, obs
            )
        except (TypeError, OverflowError):  # no integer, or one beyond 64 bits
            raise players.refusal(BAD_ACTION, action) from None
        if over < 0:
            raise players.refusal(over, action)
        if self._window:
            self._show()
        return obs, reward, terminated, over > 0 and not terminated, {"score": score}

    def snapshot(self) -> dict[str, Any]:
        """As `BatchEnv.snapshot`."""
        return self._players.snapshot(self.np_random)

    def restore(self, state: dict[str, Any]) -> None:
        """As `BatchEnv.restore`."""
        self._players.restore(state, self.np_random)

    def render(self) -> np.ndarray | None:
        return self.game.paint(self._players.records[0]) if self.render_mode == "rgb_array" else None

    def get_keys_to_action(self) -> dict[tuple[str, ...], int]:
        """Key names, as `gymnasium.utils.play` takes them, to actions."""
        return {(key,): action for key, action in self.game.keys.items()}

    def _show(self) -> None:
        if self._window:
            self._window.show(self.game.paint(self._players.records[0]))

    def close(self) -> None:
        if self._window:
            self._window.close()
