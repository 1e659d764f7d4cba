"""How the browser of ChromeDino starts, fails and ends: one clear error, and no process or file remains."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled, ResetNeeded
from helpers.chrome import (
    assert_removed,
    chrome_dino,
    leftovers,
    process_group_of,
    profile_of,
    remove,
    skip_without_browser,
)

from rlgames.envs.chrome_dino import browser, page
from rlgames.envs.chrome_dino.browser import Browser, BrowserError
from rlgames.envs.chrome_dino.page import NOOP, DinoPage
from rlgames.errors import UsageError

skip_without_browser()

# ---- a browser that fails while it runs ----


def step_until_error(env: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if env.step(NOOP)[2]:
            env.reset()


def crash_tab(env: Any) -> None:
    env._state.page._page._socket.send(json.dumps({"id": 0, "method": "Page.crash"}))


def kill_browser(env: Any) -> None:
    """Kill it a little later, in the middle of a step."""
    threading.Timer(0.1, os.killpg, (process_group_of(env), signal.SIGKILL)).start()


def test_step_without_browser_raises_and_reset_starts_another(opened: ExitStack) -> None:
    env = chrome_dino(obs="state")
    opened.callback(env.close)
    first, _ = env.reset(seed=2)
    for fail, message in ((crash_tab, "the tab crashed"), (kill_browser, "the browser has gone")):
        np.testing.assert_array_equal(env.reset(seed=2)[0], first)
        profile = profile_of(env)
        fail(env)
        with pytest.raises(BrowserError, match=message):
            step_until_error(env)
        assert_removed(profile)
        with pytest.raises(ResetNeeded, match="browser was lost: call reset"):
            env.step(NOOP)


def test_render_without_browser_raises_and_closes_the_page(opened: ExitStack) -> None:
    env = chrome_dino(obs="state", render_mode="rgb_array")
    opened.callback(env.close)
    assert env.render() is None
    env.reset(seed=2)
    assert env.render().shape == (150, 600, 3)
    profile = profile_of(env)
    os.killpg(process_group_of(env), signal.SIGKILL)
    with pytest.raises(BrowserError, match="has gone"):
        env.render()
    assert_removed(profile)
    assert env.render() is None
    with pytest.raises(ResetNeeded, match="browser was lost: call reset"):
        env.step(NOOP)


# ---- a browser that does not start ----


def test_browser_error_is_a_usage_error() -> None:
    """So the command line prints it in one line."""
    assert issubclass(BrowserError, UsageError)


def test_missing_programs_and_packages_are_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for option in ("browser", "driver"):
        with pytest.raises(DependencyNotInstalled, match=f"no {option}.* at /nowhere: sudo apt-get install"):
            chrome_dino(**{option: "/nowhere"})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DependencyNotInstalled, match="no browser on the PATH .*: sudo apt-get install -y chr"):
        chrome_dino()
    (tmp_path / "chromium").symlink_to("/bin/sh")
    with pytest.raises(DependencyNotInstalled, match="no driver of the browser on the PATH"):
        chrome_dino()
    for module, package in (("selenium", "selenium"), ("websocket", "websocket-client")):
        monkeypatch.setattr(browser, "find_spec", lambda name, missing=module: None if name == missing else object())
        with pytest.raises(DependencyNotInstalled, match=rf"{package}, which is missing: pip install .rlgames\[dino\]"):
            chrome_dino()


@pytest.mark.parametrize("option", ["browser", "driver"])
def test_start_of_another_program_raises_and_leaves_no_profile(
    option: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(BrowserError, match="does not start"):
        chrome_dino(**{option: shutil.which("false")}).reset(seed=0)
    assert not list(tmp_path.glob("rlgames-*"))


MISMATCH = "session not created: This version of ChromeDriver only supports Chrome version 114"
REFUSE = f"""self.send_response(500)
        self.end_headers()
        value = {{"error": "session not created", "message": "{MISMATCH}", "stacktrace": ""}}
        self.wfile.write(json.dumps({{"value": value}}).encode())"""
FAKE_DRIVER = """#!{python}
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
        {answer}
http.server.HTTPServer(("localhost", int(sys.argv[-1].partition("=")[2])), Driver).serve_forever()
"""


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("time.sleep(600)", "no answer in 1 seconds"),
        ("os._exit(1)", "(aborted|reset by peer)"),
        (None, "Exec format error"),
        (REFUSE, MISMATCH),
    ],
    ids=["no answer", "exit", "no program", "refusal"],
)
def test_start_with_a_failing_driver_raises_and_leaves_nothing(
    answer: str | None, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(browser, "TIMEOUT", 1.0 if "sleep" in str(answer) else 60.0)
    driver = tmp_path / "driver"
    driver.write_text("\0" if answer is None else FAKE_DRIVER.format(python=sys.executable, answer=answer))
    driver.chmod(0o755)
    try:
        with pytest.raises(BrowserError, match=f"does not start with .*{reason}"):
            Browser("", driver=str(driver))
        assert not list(tmp_path.glob("rlgames-*"))
        driver.unlink()
        assert not leftovers(driver)
    finally:
        remove(driver)


def test_a_page_without_the_game_raises_and_closes_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = []

    def record_profile(dino_page: DinoPage) -> None:
        profiles.append(Path(dino_page.browser.driver.capabilities["chrome"]["userDataDir"]))
        check_game(dino_page)

    check_game = DinoPage._check_game
    monkeypatch.setattr(page, "URL", "about:blank")
    monkeypatch.setattr(DinoPage, "_check_game", record_profile)
    with pytest.raises(BrowserError, match=r"of chrome \d+.* not hold the game as Chromium \d+ .* no Runner"):
        chrome_dino().reset(seed=0)
    assert_removed(profiles[0])


def test_reset_in_human_mode_without_display_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BrowserError, match="no display"):
        chrome_dino(render_mode="human").reset()


# ---- the end of Python ----

SCRIPT = """
import signal, sys, tempfile
from rlgames.envs.chrome_dino.game import game
from rlgames.envs.chrome_dino.page import DinoPage
signal.signal(signal.SIGINT, signal.default_int_handler)  # the parent may ignore it
tempfile.tempdir = sys.argv[2]
page = DinoPage(game(), 1)
print(page.browser.driver.capabilities["chrome"]["userDataDir"], flush=True)
if sys.argv[1] == "exception":
    raise ZeroDivisionError("of the user's")
while True:
    page.step([[0, 1, None, 0]])
"""


def run_script(way: str, folder: Path) -> subprocess.Popen:
    folder.mkdir()
    return subprocess.Popen([sys.executable, "-c", SCRIPT, way, str(folder)], stdout=-1, stderr=-1, text=True)


def end_script(process: subprocess.Popen, folder: Path) -> None:
    process.kill()
    process.communicate()
    for profile in folder.glob("rlgames-browser-*"):
        remove(profile)


def test_the_end_of_python_ends_the_browser(tmp_path: Path) -> None:
    """By an exception without close(), by Ctrl-C, and killed."""
    signals = {"exception": None, "interrupt": signal.SIGINT, "kill": signal.SIGKILL}
    reports = {"exception": "of the user's", "interrupt": "KeyboardInterrupt", "kill": ""}
    with ExitStack() as started:
        processes = {}
        for way in signals:
            processes[way] = run_script(way, tmp_path / way)
            started.callback(end_script, processes[way], tmp_path / way)
        for way, process in processes.items():
            profile = Path(process.stdout.readline().strip())
            assert profile.name.startswith("rlgames-browser-")
            if number := signals[way]:
                process.send_signal(number)
            _, errors = process.communicate(timeout=60)
            assert reports[way] in errors
            assert_removed(profile)


def test_python_killed_during_the_start_ends_the_browser(tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    process = run_script("", folder)
    try:
        deadline = time.monotonic() + 60
        while not (profiles := list(folder.glob("rlgames-*/*"))) and time.monotonic() < deadline:
            time.sleep(0.005)
        process.kill()
        assert process.communicate()[0] == "", "the browser had started already"
        assert_removed(profiles[0].parent)
    finally:
        end_script(process, folder)
