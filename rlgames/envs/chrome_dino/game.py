"""ChromeDino: chrome://dino in the real browser, Chrome or Chromium (extra `dino`); `Dino` is its simulator.

Selenium starts the browser, chrome_dino.js gives the page a clock and dice of our own, and each step is one round trip
over the DevTools protocol, for any number of games in one page. So the same seed and actions make the same game, in
any browser process, and the one that the simulator plays. Actions, rewards, scores and observations are the
simulator's (`rlgames.envs.dino.rules`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Box

from rlgames.engine.game import Game
from rlgames.envs.dino import rules as dino
from rlgames.envs.dino.rules import default_pixels
from rlgames.wrappers.pixels import Pixels

if TYPE_CHECKING:
    from rlgames.envs.chrome_dino.env import SoloChromeDino
    from rlgames.envs.chrome_dino.page import DinoPage
    from rlgames.envs.chrome_dino.vector_env import BatchChromeDino

__all__ = ["default_pixels", "game", "share"]


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
    def max_steps(self) -> int | None:
        """Frames of an episode at most, as in the simulator; in real time only the T-Rex ends it."""
        return None if self.real_time else self.rules.max_steps

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
        """Compiled: (records, mask of those to start anew, observations to write)."""
        return self.rules.loops[0]

    def page(self, count: int, visible: bool = False, pool: bool = False) -> DinoPage:
        """A browser that plays `count` games."""
        from rlgames.envs.chrome_dino.page import DinoPage

        return DinoPage(
            count,
            acceleration=self.acceleration,
            real_time=self.real_time,
            visible=visible,
            look=self.pictures,
            pool=pool,
            browser=self.browser,
            driver=self.driver,
        )

    def solo(self, **kwargs: Any) -> SoloChromeDino:
        from rlgames.envs.chrome_dino.env import SoloChromeDino

        return SoloChromeDino(self, **kwargs)

    def batch(self, num_envs: int, **kwargs: Any) -> BatchChromeDino:
        from rlgames.envs.chrome_dino.vector_env import BatchChromeDino

        return BatchChromeDino(self, num_envs, **kwargs)


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
        raise ValueError(f"expected ChromeDino's real_time to be True or False, got {real_time!r}")
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


def share(pixels: Pixels, many: bool) -> tuple[dict[str, Any], Pixels]:
    """The page skips, in one round trip; wrappers see to the rest."""
    return pixels.engine_arguments(), pixels if many else pixels.after_skip()
