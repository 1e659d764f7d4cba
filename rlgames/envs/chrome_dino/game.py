"""ChromeDino: chrome://dino in the real browser, Chrome or Chromium (extra `dino`); `Dino` is its simulator.

Selenium starts the browser, chrome_dino.js gives the page a clock and dice of our own, and each step is one round trip
over the DevTools protocol, for any number of games in one page. So the same seed and actions make the same game, in
any browser process, and the one that the simulator plays. Actions, rewards, scores and observations are the
simulator's (`rlgames.envs.dino.rules`).
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
from rlgames.errors import InvalidValueError
from rlgames.wrappers.pixels import Pixels

__all__ = ["default_pixels", "game", "split_pixels"]


@dataclass(frozen=True)
class ChromeDinoGame:
    """What is played, and in which browser: paths, found on the PATH without them."""

    name: str
    rules: Game  # the simulator's, with the same options
    by_score: bool  # what is rewarded
    acceleration: bool
    real_time: bool
    browser: str | None
    driver: str | None
    fps: int = 60

    @property
    def observation(self) -> Box:
        space = self.rules.observation
        assert isinstance(space, Box)
        return space

    @property
    def pictures(self) -> bool:
        """Whether that is what is observed; otherwise it is the state."""
        return self.observation.dtype == np.uint8

    @property
    def max_frames(self) -> int | None:
        """Frames of an episode at most, as in the simulator; in real time only the T-Rex ends it."""
        return None if self.real_time else self.rules.max_frames

    @property
    def record(self) -> np.dtype:
        return self.rules.record

    @property
    def actions(self) -> tuple[str, ...]:
        return self.rules.actions

    @property
    def keys(self) -> dict[str, int]:
        return self.rules.keys

    @cached_property
    def features(self) -> Any:
        """Compiled: (records, mask of those to reset, observations to write)."""
        return self.rules.loops.reset


def game(
    obs: str = "pixels",
    acceleration: bool = True,
    reward: str = "survival",
    real_time: bool = False,
    browser: str | None = None,
    driver: str | None = None,
) -> ChromeDinoGame:
    """The first three as in `dino.game`. With `real_time` the page keeps its own clock and dice: a step lasts as many
    frames of the screen as it has, keys are events, and nothing can be reproduced. `browser` and `driver` are paths of
    Chrome or Chromium and of its chromedriver.

    Raises ValueError for other options.
    """
    if type(real_time) is not bool:
        raise InvalidValueError(f"expected ChromeDino's real_time to be True or False, got {real_time!r}")
    rules = dino.game(obs=obs, acceleration=acceleration, reward=reward)
    told = [rules.name.partition(":")[2]] * (":" in rules.name) + ["real_time=true"] * real_time
    return ChromeDinoGame(
        name="ChromeDino" + ":" * bool(told) + ",".join(told),
        rules=rules,
        by_score=reward == "score",
        acceleration=acceleration,
        real_time=real_time,
        browser=browser,
        driver=driver,
    )


def split_pixels(pixels: Pixels, vector: bool) -> tuple[dict[str, Any], Pixels]:
    """The page skips, in one round trip; wrappers see to the rest."""
    return pixels.engine_arguments(), pixels if vector else pixels.after_skip()
