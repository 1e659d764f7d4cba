"""`DinoPage`: any number of games of chrome://dino in one tab, stepped in one round trip by game.js."""

from __future__ import annotations

import json
import time
from binascii import a2b_base64
from functools import lru_cache
from pathlib import Path

import numpy as np

from rlgames.envs.chrome_dino.browser import Browser
from rlgames.envs.chrome_dino.devtools import TESTED_RELEASE, BrowserError, BrowserLostError
from rlgames.envs.chrome_dino.game import ChromeDinoGame
from rlgames.envs.dino.picture import SIZE
from rlgames.envs.dino.rules import RECORD

URL = "chrome://dino"
LOAD_TIMEOUT = 20.0  # seconds until the game must exist, once the page has loaded
NOOP, RESET = 0, -1
MAX_OBSTACLES = RECORD["kind"].shape[0]
# Fields of a game's state in the order of `state` in game.js. Those that RECORD has mean the same as in the simulator.
SCALAR_FIELDS = (
    *("frames", "crashed", "points", "page_rng", "held", "speed", "distance", "running", "y", "velocity"),
    *("jumping", "ducking", "speed_drop", "reached", "night", "night_time", "opacity", "obstacles"),
)
OBSTACLE_FIELDS = ("kind", "x", "top", "width", "size", "gap", "offset", "followed")  # of each, leftmost first
FIELDS = [
    *((name, "f8") for name in SCALAR_FIELDS),  # JavaScript has no other numbers
    *((name, "f8", (MAX_OBSTACLES,)) for name in OBSTACLE_FIELDS),
]
STATE = np.dtype(FIELDS)
STATE_AND_PIXELS = np.dtype([*FIELDS, ("pixels", "u1", (SIZE, SIZE))])


# Command for one game in a step: [RESET, seed of the game's RNG], or [action, frames, seed to restart with in the same
# step or None, whether the episode ends with these frames even without a crash].
Command = list[int | None]


@lru_cache
def script() -> str:
    """Return the JavaScript that runs in the page before the game."""
    files = (Path(__file__).parent / name for name in ("bytes.js", "canvas.js", "game.js"))
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


class DinoPage:
    """`count` games in one tab.

    `visible` shows the browser and steps at the pace of the screen. A game of real time keeps the page's own clock and
    RNG.

    Raises BrowserError when the browser does not start, has another game or none, or exits, and DependencyNotInstalled
    where something is missing. After an error nothing of the browser remains.
    """

    def __init__(self, game: ChromeDinoGame, count: int, *, visible: bool = False):
        self.real_time, self.paced = game.real_time, visible or game.real_time
        code = script() + ("" if game.real_time else f"\ndino.install({json.dumps(visible)});")
        self.browser = Browser(code, headless=not visible, browser=game.browser)
        try:
            self._page = self.browser.page
            self._page.load(URL)
            self._check_game()
            if self.paced:  # otherwise it halts behind another window
                self._page.call("Emulation.setFocusEmulationEnabled", enabled=True)
            options = f"{json.dumps(game.acceleration)}, {json.dumps(self.paced)}"
            self._page.evaluate(f"dino.start({count}, {MAX_OBSTACLES}, {options})")
        except BaseException:
            self.close()
            raise

    def _check_game(self) -> None:
        """Wait until the page has loaded. Raises BrowserError if it does not hold the game."""
        missing, deadline = None, time.monotonic() + LOAD_TIMEOUT
        while time.monotonic() < deadline:
            missing = self._page.evaluate("typeof dino === 'undefined' ? null : dino.findMissing()")
            if missing is not None:
                break
            time.sleep(0.01)
        if missing != "":
            raise BrowserError(
                f"{URL} of {self.browser.version} does not hold the game as {TESTED_RELEASE} has it:"
                f" there is no {missing or 'page'}; try a release near that one"
            )

    def step(self, commands: list[Command], *, pixels: bool = False, max_pool: bool = False) -> np.ndarray:
        """Execute one command for each game. Return their states, then those of the games that restarted.

        The records are STATE, with `pixels` STATE_AND_PIXELS; with `max_pool` the pixels are the maximum of the last
        two frames.
        """
        arguments = ", ".join(json.dumps(value, separators=(",", ":")) for value in (commands, pixels, max_pool))
        if self.paced:
            answer = self._evaluate(f"dino.stepPaced({arguments}, {json.dumps(self.real_time)})", wait=True)
        else:
            answer = self._evaluate(f"dino.step({arguments})")
        return np.frombuffer(answer, STATE_AND_PIXELS if pixels else STATE)

    def render(self, i: int) -> np.ndarray:
        """Return the picture of game `i`, (150, 600, 3) uint8."""
        return np.frombuffer(self._evaluate(f"dino.render({i})"), np.uint8).reshape(150, 600, 3).copy()

    def _evaluate(self, expression: str, wait: bool = False) -> bytes:
        """Return the bytes that the page answers in base64; close the browser on any exception."""
        try:
            return a2b_base64(self._page.evaluate(expression, wait))
        except BrowserLostError as error:
            self.close()
            raise BrowserLostError(f"{error}: reset() starts another") from error
        except BaseException:  # Ctrl-C too: an answer that was not read would be taken for the next one
            self.close()
            raise

    def close(self) -> None:
        self.browser.close()
