"""Helpers of the tests in the browser."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled

from rlgames.envs.chrome_dino.browser import BROWSERS, DRIVERS, check_packages, find_program
from rlgames.envs.chrome_dino.page import OBSTACLE_FIELDS, SCALAR_FIELDS
from rlgames.envs.dino.rules import RECORD

COMMON_FIELDS = [name for name in SCALAR_FIELDS if name in (RECORD.names or ())]  # of the page and of the simulator


def skip_without_browser() -> None:
    """Skip the module that calls this where a package, the browser or its driver is missing."""
    try:
        check_packages()
        find_program(BROWSERS, None, "browser")
        find_program(DRIVERS, None, "driver")
    except DependencyNotInstalled as missing:
        pytest.skip(str(missing), allow_module_level=True)


def chrome_dino(**settings: Any) -> Any:
    """Return one environment without Gymnasium's wrappers."""
    return gym.make("rlgames/ChromeDino-v0", disable_env_checker=True, **settings).unwrapped


def state_differences(simulated: np.ndarray, page: np.ndarray) -> list[str]:
    """Return the fields in which the records (n,) of simulator and page differ."""
    exists = np.arange(simulated["x"].shape[1]) < simulated["obstacles"][:, None]
    unequal = {name: simulated[name] != page[name] for name in COMMON_FIELDS}
    unequal |= {name: ((simulated[name] != page[name]) & exists).any(1) for name in OBSTACLE_FIELDS}
    return [
        f"{name} of environment {i}: {simulated[name][i]} in the simulator, {page[name][i]} in the page"
        for name, where in unequal.items()
        for i in np.flatnonzero(where)
    ]


def profile_of(env: Any) -> Path:
    return Path(env._state.page.browser.driver.capabilities["chrome"]["userDataDir"])


def process_group_of(env: Any) -> int:
    return env._state.page.browser.driver.service.process.pid


def assert_removed(profile: Path) -> None:
    """Wait until neither the profile nor a process that uses it exists. If they stay, remove them and fail."""
    deadline = time.monotonic() + 60
    while (left := leftovers(profile)) and time.monotonic() < deadline:
        time.sleep(0.05)
    remove(profile)
    assert not left


def remove(profile: Path) -> None:
    """Kill the processes of a profile and remove it, so that a failed test leaves nothing."""
    while pids := [int(pid) for pid in leftovers(profile) if pid.isdigit()]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    shutil.rmtree(profile, ignore_errors=True)


def leftovers(path: Path) -> dict[str, str]:
    """Return the file at `path` if it exists, and the commands of all processes that were started with `path`."""
    found = {str(path): "exists"} if path.exists() else {}
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # the process has just ended
            continue
        if str(path) in command:
            found[entry.parent.name] = command
    return found
