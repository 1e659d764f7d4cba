"""After os.fork() an environment that was made before it plays on, or raises an exception at once; none hangs.

The parent is not disturbed by what the forked process does with its copy: step, reset, close or drop it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers.processes import TIMEOUT

# The program that forks; it starts from a fresh process, which has no threads but those of the environments.
PROGRAM = """
import gc, json, os, signal, sys, warnings
from functools import partial
import gymnasium as gym
import numpy as np
import rlgames
from rlgames.engine import ProcessVectorEnv
from rlgames.errors import ForkedError

MAKERS = {
    "CartPole": partial(rlgames.make, "CartPole"),
    "CartPole, threads": partial(gym.make_vec, "rlgames/CartPole-v0", 6, threads=2),
    "Pong": partial(rlgames.make, "Pong"),
    "Pong, many": partial(rlgames.make_vec, "Pong", 2),
    "Mario": partial(rlgames.make, "Mario:world=1,stage=1"),
    "Mario, many": partial(rlgames.make_vec, "Mario:world=1,stage=1", 2, threads=2),
    "processes": partial(ProcessVectorEnv, partial(gym.make, "CartPole-v1"), 2, autoreset_mode="SameStep"),
}

def play(envs, steps=3):
    num_envs = getattr(envs, "num_envs", None)
    trace = []
    for t in range(steps):
        obs, reward, *_ = envs.step(np.full(num_envs, t % 2) if num_envs else t % 2)
        trace += [int(np.asarray(obs, np.float64).sum() * 1000), np.asarray(reward).tolist()]
    return trace

def outcome(call):
    try:
        return call()
    except ForkedError as error:
        assert "make it after the fork" in str(error), error
        return "ForkedError"

def in_fork(work):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(TIMEOUT)  # ends it if it hangs
        os.write(writer, json.dumps(work()).encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as file:
        text = file.read()
    status = os.waitpid(pid, 0)[1]
    return json.loads(text) if status == 0 else f"ended with {status}"

def check(name):
    held = [MAKERS[name]()]
    held[0].reset(seed=0)
    play(held[0])

    def work():
        envs = held[0]
        results = [outcome(lambda: play(envs)), outcome(lambda: len(envs.reset(seed=1)))]
        envs.close()
        return results

    def drop():
        held.clear()
        gc.collect()
        return "dropped"

    found, dropped = in_fork(work), in_fork(drop)
    played, reset = found if isinstance(found, list) else (found, None)
    expected = play(held[0])  # the parent is not disturbed
    held[0].close()
    return [played == expected or played, reset, dropped]

if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
    print(json.dumps({name: check(name) for name in sys.argv[1:]}))
"""
PLAYS_ON = [True, 2, "dropped"]
RAISES = ["ForkedError", "ForkedError", "dropped"]
EXPECTED = {
    "CartPole": PLAYS_ON,
    "CartPole, threads": PLAYS_ON,
    "Pong": PLAYS_ON,
    "Pong, many": RAISES,
    "Mario": PLAYS_ON,
    "Mario, many": PLAYS_ON,
    "processes": RAISES,
}
PACKAGES = {"Pong": "ale_py", "Mario": "gym_super_mario_bros"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no os.fork")
def test_environments_play_on_or_raise_after_a_fork(tmp_path: Path) -> None:
    def is_installed(name: str) -> bool:
        package = PACKAGES.get(name.split(",")[0])
        return package is None or find_spec(package) is not None

    names = list(filter(is_installed, EXPECTED))
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.replace("TIMEOUT", str(int(TIMEOUT))))
    done = subprocess.run(
        [sys.executable, str(script), *names], capture_output=True, text=True, check=False, timeout=2 * TIMEOUT
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {name: EXPECTED[name] for name in names}
    assert [line for line in done.stderr.splitlines() if not line.startswith("Compiling ")] == []
