"""ChromeDino: chrome://dino in the real browser, Chrome or Chromium; `Dino` is its simulator.

Observation space: "pixels", (84, 84) uint8, the page's canvas in grey; or "state", (24,) float32.
Action space: the key that is held during one frame: 0 none, 1 jump, 2 duck.
Rewards: 0.1 for a frame survived and -1 for the crash ("survival"), or the increase of the displayed score ("score").
Termination: the T-Rex touches an obstacle.
Truncation: 1,000,000 frames; none in real time.
All of them are the simulator's, see `rlgames.envs.dino.rules`.

game.js replaces the clock and the RNG of the page, and each step is one round trip over the DevTools protocol, for any
number of games in one page. The same seed and actions therefore give the same episode in any browser process, and the
same one as in the simulator.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from rlgames.engine.game import Game
from rlgames.envs.dino import rules as dino
from rlgames.envs.dino.rules import default_pixels
from rlgames.errors import InvalidValueError, brief
from rlgames.wrappers.pixels import Pixels

__all__ = ["default_pixels", "game", "split_pixels"]


@dataclass(frozen=True)
class ChromeDinoGame:
    """A variant of the game, and the browser that runs it."""

    name: str
    rules: Game  # the simulator's, with the same options
    by_score: bool  # rewards are points
    acceleration: bool
    real_time: bool
    browser: str | None  # path; None: found on the PATH
    fps: int = 60

    @property
    def observation(self) -> Box:
        space = self.rules.observation
        assert isinstance(space, Box)
        return space

    @property
    def has_pixels(self) -> bool:
        """True if pixels are observed, False if the state is."""
        return self.observation.dtype == np.uint8

    @property
    def max_frames(self) -> int | None:
        """Frames after which an episode is truncated, as in the simulator; in real time there is no limit."""
        return None if self.real_time else self.rules.max_frames

    @property
    def record(self) -> np.dtype:
        return self.rules.record

    @property
    def actions(self) -> tuple[str, ...]:
        return self.rules.actions

    @property
    def keys(self) -> dict[str, int]:
        return {key: action for key, action in self.rules.keys.items() if isinstance(key, str)}

    @cached_property
    def features(self) -> Any:
        """Compiled function that writes observations: (records, mask of those to reset, obs)."""
        return self.rules.loops.reset

    def __reduce__(self):
        """Pickle and copy the options: compiled functions and open files stay in their process."""
        obs, reward = "pixels" if self.has_pixels else "state", "score" if self.by_score else "survival"
        return game, (obs, self.acceleration, reward, self.real_time, self.browser)


def game(
    obs: str = "pixels",
    acceleration: bool = True,
    reward: str = "survival",
    real_time: bool = False,
    browser: str | None = None,
) -> ChromeDinoGame:
    """Return the variant with these options; `obs`, `acceleration` and `reward` are those of `dino.game`.

    With `real_time` the page keeps its own clock and RNG: a step lasts as many frames of the screen as `frame_skip`,
    keys are sent as events, and episodes cannot be reproduced. `browser` is a path of Chrome or Chromium.

    Raises ValueError for other options.
    """
    if type(real_time) is not bool:
        raise InvalidValueError(f"expected ChromeDino's real_time to be True or False, got {brief(real_time)}")
    rules = dino.game(obs=obs, acceleration=acceleration, reward=reward)
    options = [rules.name.partition(":")[2]] * (":" in rules.name) + ["real_time=true"] * real_time
    return ChromeDinoGame(
        name="ChromeDino" + ":" * bool(options) + ",".join(options),
        rules=rules,
        by_score=reward == "score",
        acceleration=acceleration,
        real_time=real_time,
        browser=browser,
    )


def split_pixels(pixels: Pixels, vector: bool) -> tuple[dict[str, Any], Pixels]:
    """Split the preprocessing: the page skips frames, in one round trip; wrappers do the rest."""
    return pixels.engine_arguments(), pixels if vector else pixels.after_skip()
