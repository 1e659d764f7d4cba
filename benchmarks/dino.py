"""Step rates of ChromeDino, compared with the tutorials' method of driving the same page.

    .venv/bin/python benchmarks/dino.py [--markdown] [--rounds 7] [--seconds 2] [--num-envs 16]

The tutorials' side needs Selenium (`make .venv/.bench`) and chromedriver (Debian's package chromium-driver).

A step of ours is a key that is held for four frames, the reward, the score and an observation. The tutorials make four
calls of Selenium: the key, whether the T-Rex has crashed, the score, and the canvas as a PNG, which OpenCV decodes and
resizes; the game runs on meanwhile, so that the number of frames in such a step is unknown. Each side has a browser of
its own, which is halted while another side has its turn; a ratio is taken within a round.
"""

from __future__ import annotations

import atexit
import base64
import json
import shutil
import socket
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
import tyro
from side_by_side import Benchmark, format_rate, format_ratios, measure_in_turns, steps_per_second
from tables import Table

from rlgames.envs.chrome_dino.browser import Browser, find_browser
from rlgames.envs.chrome_dino.page import URL

FRAME_SKIP = 4
IMAGE = "return Runner.getInstance().canvas.toDataURL('image/png').slice(22)"


def benchmark_single(obs: str) -> Benchmark:
    env = gym.make("rlgames/ChromeDino-v0", obs=obs, frame_skip=FRAME_SKIP, disable_env_checker=True).unwrapped
    actions = np.arange(2)

    def step_both() -> int:
        for action in actions:
            if env.step(action)[2]:
                env.reset()
        return len(actions)

    def run(seconds: float) -> float:
        env.reset(seed=0)
        return steps_per_second(step_both, seconds)

    return run


def benchmark_vector(obs: str, num_envs: int) -> Benchmark:
    envs = gym.make_vec("rlgames/ChromeDino-v0", num_envs, obs=obs, frame_skip=FRAME_SKIP)
    actions = np.arange(num_envs) % 2

    def step() -> int:
        envs.step(actions)
        return num_envs

    def run(seconds: float) -> float:
        envs.reset(seed=0)
        return steps_per_second(step, seconds)

    return run


def benchmark_pipe() -> Benchmark:
    """The protocol alone: evaluate an expression that costs nothing."""
    browser = Browser("")
    browser.page.load("about:blank")

    def evaluate() -> int:
        browser.page.evaluate("1")
        return 1

    return lambda seconds: steps_per_second(evaluate, seconds)


def start_selenium() -> Any:
    from selenium.webdriver import Chrome, ChromeOptions  # noqa: PLC0415  optional
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415  optional

    options = ChromeOptions()
    options.binary_location = find_browser(None)
    for flag in ("--headless=new", "--disable-gpu", "--no-sandbox", "--window-size=1280,720"):
        options.add_argument(flag)
    driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    atexit.register(driver.quit)
    return driver


def benchmark_websocket() -> Benchmark:
    """The same through the websocket of a debugging port."""
    import websocket  # noqa: PLC0415  optional

    driver = start_selenium()
    address = driver.capabilities["goog:chromeOptions"]["debuggerAddress"]
    connection = websocket.create_connection(
        f"ws://{address}/devtools/page/{driver.current_window_handle}",
        suppress_origin=True,
        skip_utf8_validation=True,
        sockopt=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    )
    command = {"id": 1, "method": "Runtime.evaluate", "params": {"expression": "1", "returnByValue": True}}

    def evaluate() -> int:
        connection.send(json.dumps(command))
        json.loads(connection.recv())
        return 1

    return lambda seconds: steps_per_second(evaluate, seconds)


def benchmark_tutorials() -> Benchmark:
    from selenium.common.exceptions import WebDriverException  # noqa: PLC0415  optional
    from selenium.webdriver.common.by import By  # noqa: PLC0415  optional
    from selenium.webdriver.common.keys import Keys  # noqa: PLC0415  optional

    driver = start_selenium()
    with suppress(WebDriverException):  # "no network", with which the page loads
        driver.get(URL)
    body = driver.find_element(By.TAG_NAME, "body")

    def step(key: str) -> bool:
        body.send_keys(key)
        crashed = driver.execute_script("return Runner.getInstance().crashed")
        driver.execute_script("return Runner.getInstance().distanceMeter.digits.join('')")
        png = np.frombuffer(base64.b64decode(driver.execute_script(IMAGE)), np.uint8)
        picture = cv2.imdecode(png, cv2.IMREAD_UNCHANGED)
        assert picture is not None
        cv2.resize(picture[..., 3], (84, 84), interpolation=cv2.INTER_AREA)
        return crashed

    def step_both() -> int:
        keys = Keys.ARROW_UP, Keys.ARROW_DOWN
        for key in keys:
            if step(key):
                driver.execute_script("Runner.getInstance().restart()")
        return len(keys)

    def run(seconds: float) -> float:
        rate = steps_per_second(step_both, seconds)
        driver.execute_script("Runner.getInstance().gameOver()")  # halts the page
        return rate

    return run


def main(
    rounds: int = 7, seconds: float = 2.0, num_envs: int = 16, markdown: bool = False, json: Path | None = None
) -> None:
    """Measure ChromeDino.

    Args:
        rounds: turns of each side.
        seconds: length of a turn.
        num_envs: games in one page.
        markdown: print the table as Markdown.
        json: write it into this file too, from which the documentation is made.
    """
    benchmarks = {
        "one game, pictures": benchmark_single("pixels"),
        "one game, state": benchmark_single("state"),
        f"{num_envs} games in one page, pictures": benchmark_vector("pixels", num_envs),
        f"{num_envs} games in one page, states": benchmark_vector("state", num_envs),
        "an empty round trip through the pipe": benchmark_pipe(),
        "the same through the websocket of a port": benchmark_websocket(),
        "the tutorials' method": benchmark_tutorials(),
    }
    rates = measure_in_turns(benchmarks.values(), rounds, seconds)
    rows = []
    for i, name in enumerate(benchmarks):
        ratios = format_ratios([row[i] / row[-1] for row in rates], 1) if i < len(benchmarks) - 1 else ""
        rows.append((name, format_rate(median(row[i] for row in rates)), ratios))
    Table(
        f"ChromeDino, frame skip {FRAME_SKIP}: steps a second",
        {"method": "left", "steps/s": "right", "relative to the tutorials'": "right"},
        rows,
        (f"Medians of {rounds} turns of {seconds:g} s a side.",),
        ("selenium",),
    ).show(markdown, json)


if __name__ == "__main__":
    tyro.cli(main)
