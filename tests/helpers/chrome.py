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

from rlgames.envs.chrome_dino import watchdog
from rlgames.envs.chrome_dino.browser import find_browser
from rlgames.envs.chrome_dino.page import OBSTACLE_FIELDS, SCALAR_FIELDS
from rlgames.envs.dino.rules import RECORD

COMMON_FIELDS = [name for name in SCALAR_FIELDS if name in (RECORD.names or ())]  # of the page and of the simulator


def skip_without_browser() -> None:
    """Skip the module that calls this where there is no browser."""
    try:
        find_browser(None)
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


def folder_of(env: Any) -> Path:
    """Return the folder with all files of the environment's browser."""
    return env._state.page.browser.folder


def processes_of(env: Any) -> dict[int, str]:
    """Return the commands of the environment's watchdog and of its browser's processes; they are one session."""
    (guard,) = (int(pid) for pid, command in leftovers(folder_of(env)).items() if watchdog.__file__ in command)
    found = {}
    for pid in process_ids():
        with contextlib.suppress(OSError):  # it has just ended
            if os.getsid(pid) == guard:
                found[pid] = command_of(pid)
    return found


def process_group_of(env: Any) -> int:
    """Return the process group of the environment's browser, which the watchdog is not in."""
    (group,) = {os.getpgid(pid) for pid, command in processes_of(env).items() if "--type=zygote" in command}
    return group


def assert_removed(folder: Path) -> None:
    """Wait until neither the folder nor a process that uses it exists. If they stay, remove them and fail."""
    deadline = time.monotonic() + 60
    while (left := leftovers(folder)) and time.monotonic() < deadline:
        time.sleep(0.02)
    remove(folder)
    assert not left


def remove(folder: Path) -> None:
    """Kill the processes of a folder and remove it, so that a failed test leaves nothing."""
    while pids := [int(pid) for pid in leftovers(folder) if pid.isdigit()]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    shutil.rmtree(folder, ignore_errors=True)


def process_ids() -> list[int]:
    return [int(process.name) for process in Path("/proc").glob("[0-9]*")]


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def leftovers(path: Path) -> dict[str, str]:
    """Return what is at `path`, and the commands of all processes that work there or were started with it.

    Without the browser's crash reporters, which end by themselves about a second after it.
    """
    found = {str(file): "exists" for file in (path, *path.glob("*")) if file.exists()}
    for pid in process_ids():
        try:
            command, folder = command_of(pid), os.readlink(f"/proc/{pid}/cwd")
            environment = os.fsdecode(Path(f"/proc/{pid}/environ").read_bytes())
        except OSError:  # the process has just ended, or is another user's
            continue
        if str(path) in command + folder + environment and "crashpad" not in command:
            found[str(pid)] = command
    return found
