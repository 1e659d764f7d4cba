"""`DinoPage`: any number of games of chrome://dino in one tab, stepped in one round trip by chrome_dino.js."""

from __future__ import annotations

import json
import time
from binascii import a2b_base64
from functools import lru_cache
from pathlib import Path

import numpy as np

from rlgames.envs.chrome_dino.browser import CHECKED, Browser, BrowserError
from rlgames.envs.chrome_dino.devtools import Page
from rlgames.envs.chrome_dino.game import ChromeDinoGame
from rlgames.envs.dino.picture import SIZE
from rlgames.envs.dino.rules import RECORD

URL = "chrome://dino"
LOADED = 20.0  # seconds until the game must be there, once the page is
NOOP, RESET = 0, -1
ROOM = RECORD["kind"].shape[0]  # for obstacles
PLAIN = (
    *("frames", "crashed", "points", "dice", "held", "speed", "distance", "running", "y", "velocity"),
    *("jumping", "ducking", "speed_drop", "reached", "night", "night_time", "opacity", "obstacles"),
)
LISTS = ("kind", "x", "top", "width", "size", "gap", "offset", "followed")  # of the obstacles, leftmost first
FIELDS = [*((name, "f8") for name in PLAIN), *((name, "f8", (ROOM,)) for name in LISTS)]  # JavaScript knows no others
STATE = np.dtype(FIELDS)
SEEN = np.dtype([*FIELDS, ("picture", "u1", (SIZE, SIZE))])


# What one game is to do in a step: [RESET, dice's state], or [action, frames, dice's state to restart with in the same
# step or None, whether the episode ends with these frames even without a crash].
Order = list[int | None]


@lru_cache
def script() -> str:
    files = (Path(__file__).parent / name for name in ("bytes.js", "canvas.js", "game.js"))
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


class DinoPage:
    """`count` games. `visible` is for a person's eyes, at the screen's pace; `real_time` leaves the page its own clock
    and dice. With `look` a step brings a picture, with `pool` the maximum over its last two frames.

    Raises BrowserError when the browser does not start, has another game or none, or has gone, and
    DependencyNotInstalled where something is missing; either way nothing of it remains.
    """

    def __init__(
        self,
        game: ChromeDinoGame,
        count: int,
        *,
        visible: bool = False,
        max_pool: bool = False,
    ):
        self.real_time, self.slowly = game.real_time, visible or game.real_time
        self.kind = SEEN if game.pictures else STATE
        self._more = f"{json.dumps(game.pictures)}, {json.dumps(max_pool)}"
        code = script() + ("" if game.real_time else f"\ndino.takeOver({json.dumps(visible)});")
        self.browser = Browser(code, headless=not visible, browser=game.browser, driver=game.driver)
        try:
            self._page = Page(self.browser.open(URL))
            self.browser.before_end(self._page.close)
            self._check()
            if self.slowly:  # it would halt behind another window
                self._page.call("Emulation.setFocusEmulationEnabled", enabled=True)
            self._page.evaluate(
                f"dino.boot({count}, {ROOM}, {json.dumps(game.acceleration)}, {json.dumps(self.slowly)})"
            )
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        missing, until = None, time.monotonic() + LOADED
        while time.monotonic() < until:
            missing = self._page.evaluate("typeof dino === 'undefined' ? null : dino.missing()")
            if missing is not None:
                break
            time.sleep(0.01)
        if missing != "":
            raise BrowserError(
                f"{URL} of {self.browser.version} does not hold the game as {CHECKED} has it:"
                f" there is no {missing or 'page'}; try a release near that one"
            )

    def step(self, orders: list[Order]) -> np.ndarray:
        """Records of SEEN or STATE, of all games and after them of those that restarted in the same step."""
        told = json.dumps(orders, separators=(",", ":"))
        try:
            if self.slowly:
                live = json.dumps(self.real_time)
                text = self._page.evaluate(f"dino.slowly({told}, {self._more}, {live})", wait=True)
            else:
                text = self._page.evaluate(f"dino.step({told}, {self._more})")
        except BaseException:  # Ctrl-C too: an answer that nobody has read would be taken for the next one
            self.close()
            raise
        return np.frombuffer(a2b_base64(text), self.kind)

    def colours(self, i: int) -> np.ndarray:
        """What a person sees of game `i`, (150, 600, 3) uint8."""
        try:
            text = self._page.evaluate(f"dino.colours({i})")
        except BaseException:
            self.close()
            raise
        return np.frombuffer(a2b_base64(text), np.uint8).reshape(150, 600, 3).copy()

    def close(self) -> None:
        self.browser.close()
