"""`ChromeDinoEnv`: chrome://dino in a browser as a Gymnasium environment."""

from __future__ import annotations

from operator import index
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete

from rlgames.engine.copying import Copyable
from rlgames.engine.loops import INVALID_ACTION, NEEDS_RESET
from rlgames.engine.validation import EnvSettings, check_render_mode, check_seed
from rlgames.envs.chrome_dino.episodes import DinoEpisodes
from rlgames.envs.chrome_dino.game import ChromeDinoGame
from rlgames.wrappers.frames import frames_per_second

NO_RESET = np.zeros(1, np.bool_)


def make_env(game: ChromeDinoGame, **settings: Any) -> ChromeDinoEnv:
    """Make one environment; `settings` are the fields of `EnvSettings`."""
    return ChromeDinoEnv(game, EnvSettings(**settings))


class ChromeDinoEnv(Copyable, gym.Env):
    """One game of chrome://dino in a browser.

    Observation space: the canvas in grey, (84, 84) uint8, or the state, (24,) float32; with `max_pool` the maximum of
    the last two frames (of pixels only). Action space, rewards and termination: see `game`. `frame_skip` repeats each
    action and sums the rewards; `max_episode_steps` truncates the episode after so many steps. `info["score"]` is the
    page's own score.

    The browser starts with the first reset(). render_mode "rgb_array" returns the canvas as it looks, (150, 600, 3)
    uint8; "human" shows the browser itself, at the pace of the screen.

    Raises ValueError for bad arguments, seeds and actions, ResetNeeded for a step without a reset,
    ClosedEnvironmentError after `close`, DependencyNotInstalled where the browser is missing, BrowserError when it
    does not start, does not hold the game, or exits: then reset() starts another. In a process that was forked from the
    one with the browser, ForkedError. A pickle or a copy is the environment as it was made.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"]}

    def __init__(self, game: ChromeDinoGame, settings: EnvSettings = EnvSettings()):
        check_render_mode(settings.render_mode, self.metadata["render_modes"])
        self._state = DinoEpisodes(game, 1, settings, visible=settings.render_mode == "human")
        self.metadata = {**self.metadata, "render_fps": frames_per_second(game.fps, settings.frame_skip)}
        self.game, self.render_mode = game, settings.render_mode
        self.frame_skip, self.max_pool = settings.frame_skip, settings.max_pool
        self.observation_space, self.action_space = game.observation, Discrete(len(game.actions))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        state = self._state
        state.check_open()
        seed = check_seed(seed)
        super().reset(seed=seed)
        state.seed([seed], self.np_random)
        state.started = True
        return state.reset(~NO_RESET)[0], {"score": 0.0}

    def step(self, action: int):
        state = self._state
        state.check_ready()
        if state.records["over"][0]:
            raise state.error(NEEDS_RESET, action)
        try:
            checked = index(action)
        except TypeError:
            checked = -1
        if not 0 <= checked < len(self.game.actions):
            raise state.error(INVALID_ACTION, action)
        obs, reward, terminated, truncated, score, _ = state.step([checked], NO_RESET, same_step=False)
        return obs[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), {"score": float(score[0])}

    def render(self) -> np.ndarray | None:
        pictures = self._state.render() if self.render_mode == "rgb_array" else None
        return pictures[0] if pictures else None

    def get_keys_to_action(self) -> dict[tuple[str, ...], int]:
        """Return key names, as `gymnasium.utils.play` takes them, and their actions."""
        return {(key,): action for key, action in self.game.keys.items()}

    def close(self) -> None:
        self._state.close()
