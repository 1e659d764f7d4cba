"""What the tests in the browser share. A module that imports this is left out where there is no browser."""

import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.error import DependencyNotInstalled

from rlgames.envs.chrome_dino.browser import BROWSERS, DRIVERS, check_packages, find

try:
    check_packages()
    find(BROWSERS, None, "browser")
    find(DRIVERS, None, "driver")
except DependencyNotInstalled as reason:
    pytest.skip(str(reason), allow_module_level=True)


def solo(**kwargs: Any) -> Any:
    return gym.make("rlgames/ChromeDino-v0", disable_env_checker=True, **kwargs).unwrapped


def profile_of(env: Any) -> Path:
    return Path(env._players.page.browser.driver.capabilities["chrome"]["userDataDir"])


def group_of(env: Any) -> int:
    return env._players.page.browser.driver.service.process.pid


def assert_gone(profile: Path) -> None:
    """Neither the profile nor a process that was started with it, within seconds."""
    until = time.monotonic() + 10
    while (left := remains(profile)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not left


def remains(profile: Path) -> list[str]:
    found = [str(profile)] if profile.exists() else []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has just ended
            continue
        if str(profile) in command:
            found.append(command)
    return found
