"""A compiled `Game` as a Gymnasium Env: a batch of one, on the same compiled rules as the vector environment."""

from __future__ import annotations

from operator import index
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Discrete

from rlgames.engine.copying import Copyable
from rlgames.engine.game import Game
from rlgames.engine.loops import INVALID_ACTION
from rlgames.engine.records import EnvRecords
from rlgames.engine.rendering import Window
from rlgames.engine.validation import EnvSettings, check_options, check_render_mode, check_seed
from rlgames.wrappers.frames import frames_per_second


def make_env(game: Game, **settings: Any) -> GameEnv:
    """Make one environment; `settings` are the fields of `EnvSettings`."""
    return GameEnv(game, EnvSettings(**settings))


class GameEnv(Copyable, gym.Env):
    """One environment of a compiled game; observations, information and errors as in `GameVectorEnv`.

    render_mode "rgb_array" returns a picture, "human" shows it in a window (extra `play`).
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"]}

    def __init__(self, game: Game, settings: EnvSettings = EnvSettings()):
        check_render_mode(settings.render_mode, self.metadata["render_modes"])
        self._state = EnvRecords(game, 1, settings)
        fps = frames_per_second(game.fps, settings.frame_skip)
        own = {"render_fps": fps, "score": game.score_key, "best_score": game.best_score}
        self.metadata = {**self.metadata, **own}
        self.game, self.render_mode = game, settings.render_mode
        self.frame_skip, self.max_pool = settings.frame_skip, settings.max_pool
        self.observation_space, self.action_space = game.observation, Discrete(len(game.actions))
        self._reset, self._step = game.loops.reset, game.loops.step_single
        self._shape, self._dtype = game.observation.shape, game.observation.dtype
        self._window = Window(f"rlgames {game.name}", game.fps) if settings.render_mode == "human" else None
        self._compile()

    def _compile(self) -> None:
        """Compile the loops, or load them from the cache, by calls that change nothing."""
        state, obs = self._state, np.empty(self._shape, self._dtype)
        self._reset(state.records[:0], np.ones(0, np.bool_), obs[None][:0], *self.game.data)
        self._step(
            state.records, INVALID_ACTION, state.frame_skip, state.max_pool, state.max_frames, obs, *self.game.data
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        seed, options = check_seed(seed), check_options(options)
        super().reset(seed=seed)
        self._state.seed([seed], self.np_random)
        self._state.started = True
        obs = np.empty(self._shape, self._dtype)
        records = self._state.records
        self._reset(records, np.ones(1, np.bool_), obs[None], *self.game.data)
        if options and self.game.apply_options:
            self.game.apply_options(records, options)
            self._reset(records, np.zeros(1, np.bool_), obs[None], *self.game.data)  # observe
        self._show()
        return obs, self._info(0.0)

    def _info(self, score: float) -> dict[str, Any]:
        """Return the information, in Python's own types."""
        info: dict[str, Any] = {"score": score}
        if self.game.info:
            numbers = np.empty((1, len(self.game.info)), np.int64)
            self.game.loops.describe(self._state.records, numbers, *self.game.data)
            info |= {key: array.tolist()[0] for key, array in self.game.read_info(numbers).items()}
        return info

    def step(self, action: int):
        state = self._state
        if not state.started:
            raise ResetNeeded(f"step() of {self.game.name} before the first reset()")
        obs, data = np.empty(self._shape, self._dtype), self.game.data
        try:
            reward, terminated, over, score = self._step(
                state.records, index(action), state.frame_skip, state.max_pool, state.max_frames, obs, *data
            )
        except (TypeError, OverflowError):  # no integer, or one beyond 64 bits
            raise state.error(INVALID_ACTION, action) from None
        if over < 0:
            raise state.error(over, action)
        if self._window:
            self._show()
        return obs, reward, terminated, over > 0 and not terminated, self._info(score)

    def snapshot(self) -> dict[str, Any]:
        """As `GameVectorEnv.snapshot`."""
        return self._state.snapshot(self.np_random)

    def restore(self, state: dict[str, Any]) -> None:
        """As `GameVectorEnv.restore`."""
        self._state.restore(state, self.np_random)

    def render(self) -> np.ndarray | None:
        return self.game.render(self._state.records[0]) if self.render_mode == "rgb_array" else None

    def get_keys_to_action(self) -> dict[tuple[str, ...], int]:
        """Return key names, as `gymnasium.utils.play` takes them, and their actions."""
        return {(key,) if isinstance(key, str) else key: action for key, action in self.game.keys.items()}

    def _show(self) -> None:
        if self._window:
            self._window.show(self.game.render(self._state.records[0]))

    def close(self) -> None:
        if self._window:
            self._window.close()
