"""How the browser of ChromeDino starts, is lost and ends: one clear error, and nothing of it is left."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled, ResetNeeded
from helpers.chrome import assert_gone, group_of, profile_of, remains, solo

from rlgames.envs.chrome_dino import browser
from rlgames.envs.chrome_dino import page as chrome_dino_page
from rlgames.envs.chrome_dino.browser import BrowserError
from rlgames.envs.chrome_dino.page import NOOP, DinoPage
from rlgames.envs.registry import load_game


def play(env: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if env.step(NOOP)[2]:
            env.reset()


def crash(env: Any) -> None:
    page = env._players.page._page
    page._socket.send(json.dumps({"id": 0, "method": "Page.crash"}))


def close_tab(env: Any) -> None:
    env._players.page.browser.driver.close()


def kill_in_mid_step(env: Any) -> None:
    threading.Timer(0.2, os.killpg, (group_of(env), signal.SIGKILL)).start()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (crash, "the tab crashed"),
        (close_tab, "the tab was closed|has gone"),
        (kill_in_mid_step, "the browser has gone"),
    ],
)
def test_a_lost_browser_is_told_and_replaced(harm: Callable[[Any], None], message: str) -> None:
    env = solo(obs="state", max_episode_steps=10**6)
    first, _ = env.reset(seed=2)
    profile = profile_of(env)
    harm(env)
    with pytest.raises(BrowserError, match=message):
        play(env, seconds=20)
    assert_gone(profile)
    with pytest.raises(ResetNeeded, match="browser was lost: call reset"):
        env.step(NOOP)
    if harm is crash:
        np.testing.assert_array_equal(env.reset(seed=2)[0], first)
        profile = profile_of(env)
        env.close()
        assert_gone(profile)


def test_a_picture_that_does_not_come_costs_the_browser() -> None:
    env = solo(render_mode="rgb_array")
    assert env.render() is None
    first, _ = env.reset(seed=2)
    assert env.render().shape == (150, 600, 3)
    os.killpg(group_of(env), signal.SIGKILL)
    with pytest.raises(BrowserError, match="has gone"):
        env.render()
    np.testing.assert_array_equal(env.reset(seed=2)[0], first)
    env.close()


def test_what_is_missing_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for option in ("browser", "driver"):
        with pytest.raises(DependencyNotInstalled, match=f"no {option}.* at /nowhere: sudo apt-get install"):
            load_game("ChromeDino", **{option: "/nowhere"}).solo()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DependencyNotInstalled, match="no browser on the PATH .*: sudo apt-get install -y chr"):
        load_game("ChromeDino").solo()
    (tmp_path / "chromium").symlink_to("/bin/sh")
    with pytest.raises(DependencyNotInstalled, match="no driver of the browser on the PATH"):
        load_game("ChromeDino").solo()
    for module, package in (("selenium", "selenium"), ("websocket", "websocket-client")):
        monkeypatch.setattr(browser, "find_spec", lambda name, missing=module: None if name == missing else object())
        with pytest.raises(DependencyNotInstalled, match=rf"{package}, which is missing: pip install .rlgames\[dino\]"):
            load_game("ChromeDino").solo()


@pytest.mark.parametrize("option", ["browser", "driver"])
def test_programs_that_are_something_else(option: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    env = load_game("ChromeDino", **{option: shutil.which("false")}).solo()
    with pytest.raises(BrowserError, match="does not start"):
        env.reset(seed=0)
    assert not list(tmp_path.glob("rlgames-*"))


MISMATCH = "session not created: This version of ChromeDriver only supports Chrome version 114"
REFUSE = f"""self.send_response(500)
        self.end_headers()
        told = {{"error": "session not created", "message": "{MISMATCH}", "stacktrace": ""}}
        self.wfile.write(json.dumps({{"value": told}}).encode())"""
STUB = """#!{python}
import http.server, json, os, sys, time
class Driver(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({{"value": {{"ready": True}}}}).encode())
        if self.path == "/shutdown":
            self.wfile.flush()
            os._exit(0)
    def do_POST(self):
        {what}
http.server.HTTPServer(("localhost", int(sys.argv[-1].partition("=")[2])), Driver).serve_forever()
"""


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("time.sleep(60)", "no answer in 1 seconds"),
        ("os._exit(1)", "(aborted|reset by peer)"),
        (None, "Exec format error"),
        (REFUSE, MISMATCH),
    ],
)
def test_drivers_that_do_not_answer(
    what: str | None, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(browser, "TIMEOUT", 1.0 if "sleep" in str(what) else 30.0)
    driver = tmp_path / "driver"
    driver.write_text("\0" if what is None else STUB.format(python=sys.executable, what=what))
    driver.chmod(0o755)
    env = load_game("ChromeDino", driver=str(driver)).solo()
    with pytest.raises(BrowserError, match=f"does not start with .*{reason}"):
        env.reset(seed=0)
    assert not list(tmp_path.glob("rlgames-*"))
    driver.unlink()
    assert not remains(driver)


def test_the_given_driver_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever Selenium would prefer."""
    monkeypatch.setenv("SE_CHROMEDRIVER", "/nowhere")
    env = solo(obs="state")
    env.reset(seed=0)
    env.close()


def test_a_page_without_the_game(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chrome_dino_page, "URL", "about:blank")
    profiles = []
    monkeypatch.setattr(DinoPage, "_check", record_profile(DinoPage._check, profiles))
    with pytest.raises(BrowserError, match=r"of chrome \d+.* not hold the game as Chromium \d+ .* no Runner"):
        load_game("ChromeDino").solo().reset(seed=0)
    assert_gone(profiles[0])


def record_profile(check: Callable[[Any], None], profiles: list[Path]) -> Callable[[Any], None]:
    def both(page: Any) -> None:
        profiles.append(Path(page.browser.driver.capabilities["chrome"]["userDataDir"]))
        check(page)

    return both


def test_a_window_needs_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BrowserError, match="no display"):
        load_game("ChromeDino").solo(render_mode="human").reset()


SCRIPT = """
import gymnasium, sys, time
env = gymnasium.make("rlgames:rlgames/ChromeDino-v0", disable_env_checker=True)
env.reset(seed=0)
print(env.unwrapped._players.page.browser.driver.capabilities["chrome"]["userDataDir"], flush=True)
if sys.argv[1] == "exception":
    raise ZeroDivisionError("of the user's")
while True:
    if env.step(0)[2]:
        env.reset()
"""


def test_nothing_is_left_however_python_ends() -> None:
    """By an exception, without close(), by Ctrl-C, killed."""
    ways = {"exception": None, "interrupt": signal.SIGINT, "kill": signal.SIGKILL}
    command = [sys.executable, "-c", SCRIPT]
    ends = {way: subprocess.Popen([*command, way], stdout=-1, stderr=-1, text=True) for way in ways}
    try:
        for way, process in ends.items():
            assert process.stdout
            profile = Path(process.stdout.readline().strip())
            assert profile.name.startswith("rlgames-browser-")
            if number := ways[way]:
                time.sleep(0.2)
                process.send_signal(number)
            _, errors = process.communicate(timeout=60)
            assert {"exception": "of the user's", "interrupt": "KeyboardInterrupt"}.get(way, "") in errors
            assert_gone(profile)
    finally:
        for process in ends.values():
            process.kill()


def test_nothing_is_left_of_a_start_that_was_killed(tmp_path: Path) -> None:
    script = SCRIPT.replace("env.reset", f"__import__('tempfile').tempdir = {str(tmp_path)!r}; env.reset", 1)
    process = subprocess.Popen([sys.executable, "-c", script, ""], stdout=-1, stderr=-1)
    until = time.monotonic() + 60
    while not (profiles := list(tmp_path.glob("rlgames-*/*"))) and time.monotonic() < until:
        time.sleep(0.005)
    process.kill()
    assert process.communicate()[0] == b"", "it had started already"
    assert_gone(profiles[0].parent)
