"""`SoloChromeDino`: one player of chrome://dino as a Gymnasium environment."""

from __future__ import annotations

from operator import index
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete

from rlgames.engine.loops import INVALID_ACTION, NEEDS_RESET
from rlgames.engine.validation import EnvSettings, check_render_mode, check_seed
from rlgames.envs.chrome_dino.game import ChromeDinoGame
from rlgames.envs.chrome_dino.players import DinoPlayers
from rlgames.wrappers.frames import frames_per_second

ALONE = np.zeros(1, np.bool_)


def make_env(game: ChromeDinoGame, **settings: Any) -> ChromeDinoEnv:
    """Make one environment; `settings` are the fields of `EnvSettings`."""
    return ChromeDinoEnv(game, EnvSettings(**settings))


class ChromeDinoEnv(gym.Env):
    """One player: the canvas in grey, (84, 84) uint8, or the state, (24,) float32, one frame a step unless told
    otherwise.

    `frame_skip` repeats each action and sums the rewards, `max_pool` shows the maximum of the last two frames (of
    pictures only); `max_episode_steps` is in frames, unlimited without it. `info["score"]` is the game's own. The
    browser starts with the first reset(). render_mode "rgb_array" is the canvas in colour, (150, 600, 3), as it looks;
    "human" shows the browser itself, at the pace of the screen.

    Raises ValueError for bad arguments, seeds and actions, ResetNeeded for a step without a reset,
    ClosedEnvironmentError after `close`, DependencyNotInstalled where a package, the browser or its driver is missing,
    BrowserError when the browser does not start, does not show the game, or has gone: then reset() starts another.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"]}

    def __init__(self, game: ChromeDinoGame, settings: EnvSettings = EnvSettings()):
        check_render_mode(settings.render_mode, self.metadata["render_modes"])
        self._players = DinoPlayers(game, 1, settings, visible=settings.render_mode == "human")
        self.metadata = {**self.metadata, "render_fps": frames_per_second(game.fps, settings.frame_skip)}
        self.game, self.render_mode = game, settings.render_mode
        self.frame_skip, self.max_pool = settings.frame_skip, settings.max_pool
        self.observation_space, self.action_space = game.observation, Discrete(len(game.actions))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        players = self._players
        players.check_open()
        seed = check_seed(seed)
        super().reset(seed=seed)
        players.seed([seed], self.np_random)
        players.started = True
        return players.begin(~ALONE)[0], {"score": 0.0}

    def step(self, action: int):
        players = self._players
        players.check_ready()
        if players.records["over"][0]:
            raise players.error(NEEDS_RESET, action)
        try:
            held = index(action)
        except TypeError:
            held = -1
        if not 0 <= held < len(self.game.actions):
            raise players.error(INVALID_ACTION, action)
        obs, reward, terminated, truncated, score, _ = players.play([held], ALONE, same_step=False)
        return obs[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), {"score": float(score[0])}

    def render(self) -> np.ndarray | None:
        colours = self._players.colours() if self.render_mode == "rgb_array" else None
        return colours[0] if colours else None

    def get_keys_to_action(self) -> dict[tuple[str, ...], int]:
        """Key names, as `gymnasium.utils.play` takes them, to actions."""
        return {(key,): action for key, action in self.game.keys.items()}

    def close(self) -> None:
        self._players.close()
