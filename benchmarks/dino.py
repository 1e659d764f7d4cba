"""ChromeDino: steps a second in the real browser, beside the tutorials' way to play the same page.

    .venv/bin/python benchmarks/dino.py [--markdown] [--rounds 7] [--seconds 2] [--players 16]

A step of ours is a key that is held for four frames, the reward, the score and an observation. The tutorials make four
calls of Selenium: the key, whether the T-Rex has crashed, the score, and the canvas as a PNG, which OpenCV then decodes
and resizes; the game goes on meanwhile, so how many frames such a step has, nobody knows. All sides run in a browser of
their own at the same time, halted when it is not their turn; they take turns, and a ratio is taken within a round.
"""

from __future__ import annotations

import base64
from statistics import median
from time import perf_counter

import cv2
import gymnasium as gym
import numpy as np
import tyro
from side_by_side import Turn, in_turn, machine, rate, report, spread

from rlgames.envs.chrome_dino.browser import Browser
from rlgames.envs.chrome_dino.devtools import Page
from rlgames.envs.chrome_dino.page import URL

SKIP = 4
IMAGE = "return Runner.getInstance().canvas.toDataURL('image/png').slice(22)"


def single(obs: str) -> Turn:
    env = gym.make("rlgames/ChromeDino-v0", obs=obs, frame_skip=SKIP, disable_env_checker=True).unwrapped

    def turn(seconds: float) -> float:
        env.reset(seed=0)
        steps, start = 0, perf_counter()
        while perf_counter() - start < seconds:
            if env.step(steps % 2)[2]:
                env.reset()
            steps += 1
        return steps / (perf_counter() - start)

    return turn


def batch(obs: str, players: int) -> Turn:
    envs = gym.make_vec("rlgames/ChromeDino-v0", players, obs=obs, frame_skip=SKIP)
    actions = np.arange(players) % 2

    def turn(seconds: float) -> float:
        envs.reset(seed=0)
        steps, start = 0, perf_counter()
        while perf_counter() - start < seconds:
            envs.step(actions)
            steps += players
        return steps / (perf_counter() - start)

    return turn


def round_trip() -> Turn:
    """The protocol alone: an expression that costs nothing, there and back."""
    browser = Browser("")
    page = Page(browser.open("about:blank"))
    browser.before_end(page.close)

    def turn(seconds: float, kept: Browser = browser) -> float:  # it ends when it is forgotten
        trips, start = 0, perf_counter()
        while perf_counter() - start < seconds:
            page.evaluate("1")
            trips += 1
        return trips / (perf_counter() - start)

    return turn


def tutorials() -> Turn:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser = Browser("")
    browser.open(URL)
    driver = browser.driver  # which lives as long as `browser` is held
    body = driver.find_element(By.TAG_NAME, "body")

    def step(t: int) -> bool:
        body.send_keys((Keys.ARROW_UP, Keys.ARROW_DOWN)[t % 2])
        crashed = driver.execute_script("return Runner.getInstance().crashed")
        driver.execute_script("return Runner.getInstance().distanceMeter.digits.join('')")
        png = np.frombuffer(base64.b64decode(driver.execute_script(IMAGE)), np.uint8)
        picture = cv2.imdecode(png, cv2.IMREAD_UNCHANGED)
        assert picture is not None
        cv2.resize(picture[..., 3], (84, 84), interpolation=cv2.INTER_AREA)
        return crashed

    def turn(seconds: float) -> float:
        steps, start = 0, perf_counter()
        while perf_counter() - start < seconds:
            if step(steps):
                driver.execute_script("Runner.getInstance().restart()")
            steps += 1
        browser.driver.execute_script("Runner.getInstance().gameOver()")
        return steps / (perf_counter() - start)

    return turn


def main(rounds: int = 7, seconds: float = 2.0, players: int = 16, markdown: bool = False) -> None:
    """Measure ChromeDino.

    Args:
        rounds: turns of each side.
        seconds: of each turn.
        players: games in one page.
        markdown: print a table for a README.
    """
    sides: dict[str, Turn] = {
        "one game, pictures": single("pixels"),
        "one game, its state": single("state"),
        f"{players} games in one page, pictures": batch("pixels", players),
        f"{players} games in one page, their states": batch("state", players),
        "a round trip that does nothing": round_trip(),
        "the tutorials' way": tutorials(),
    }
    rates = in_turn(sides.values(), rounds, seconds)
    rows = []
    for i, name in enumerate(sides):
        ratios = [row[i] / row[-1] for row in rates]
        ratio = spread(ratios, 1) if i < len(sides) - 1 else ""
        rows.append((name, rate(median(row[i] for row in rates)), ratio))
    report(
        f"ChromeDino, {SKIP} frames a step: steps a second",
        {"who": "left", "steps/s": "right", "of the tutorials'": "right"},
        rows,
        (machine("selenium", "websocket-client", "gymnasium", "numpy"),),
        markdown,
    )


if __name__ == "__main__":
    tyro.cli(main)
