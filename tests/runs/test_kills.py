"""Runs that are killed at any moment, again and again, end byte for byte like uninterrupted ones.

The moments are random and real: SIGKILL in the middle of an update, an evaluation, or the writing of a file. The quick
suite has the kills between two operations on files, in test_resume.py.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlgames.agents.a3c import A3CConfig
from rlgames.agents.dqn import DQNConfig
from rlgames.agents.ppo import PPOConfig
from rlgames.agents.reinforce import REINFORCEConfig
from rlgames.checkpoint.file import config_to_json
from rlgames.runs.training import Training

PPO_CONFIG = PPOConfig(n_steps=8, n_epochs=1, num_minibatches=1, net_arch=(16,))
DQN_CONFIG = DQNConfig(
    buffer_size=60, learning_starts=16, batch_size=4, train_freq=8, target_update_interval=3, n_steps=2, net_arch=(16,)
)
SETTINGS: dict[str, Any] = {"envs": 2, "seed": 3, "device": "cpu", "log_every": 16, "evaluate_every": 96}
SETTINGS |= {"evaluate_episodes": 2, "evaluate_max_steps": 30, "save_every": 32, "steps": 480}
TRAININGS = {
    "ppo": Training("ppo", "CatchBall", PPO_CONFIG, **SETTINGS),
    "recurrent ppo": Training(
        "ppo", "Cave", dataclasses.replace(PPO_CONFIG, recurrent=True, lstm_hidden_size=8, encoder="vector"), **SETTINGS
    ),
    "ppo without snapshots": Training("ppo", "CartPole-v1", PPO_CONFIG, **SETTINGS),
    "reinforce": Training("reinforce", "CartPole", REINFORCEConfig(n_episodes=2, net_arch=(16,)), **SETTINGS),
    "a3c": Training("a3c", "CatchBall", A3CConfig(workers=1, n_steps=8, net_arch=(16,)), **SETTINGS),
    "dqn": Training("dqn", "CatchBall", DQN_CONFIG, **SETTINGS),
    "prioritized ddqn": Training("ddqn", "CatchBall", dataclasses.replace(DQN_CONFIG, prioritized=True), **SETTINGS),
    "drqn": Training(
        *("dqn", "CatchBall"),
        dataclasses.replace(DQN_CONFIG, recurrent=True, lstm_hidden_size=8, sequence_length=6, burn_in=2),
        **SETTINGS,
    ),
}
KILLS = 26  # of each: together more than 200

PROGRAM = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from rlgames.agents.config import make_config
from rlgames.agents.registry import find
from rlgames.runs import trackers
from rlgames.runs import training as module

settings, folder, wanted = json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
settings["config"] = make_config(find(settings["agent"]).Config, settings["config"])
training = module.Training(**settings)
trackers.summary_writer = lambda folder, step: None
module.draw_curve = lambda rows, picture, title: picture.write_bytes(json.dumps([title, *rows]).encode())

def start(out):
    child = os.fork()
    if not child:
        status = 1
        try:
            module.train(training, out, resume=(out / "config.json").exists(), quiet=True)
            status = 0
        finally:
            os._exit(status)
    return child

def files(out):
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*") if path.is_file() and path.name != "times.jsonl"
    }

module.train(training, folder / "first", quiet=True)  # here: the children need not load what is compiled again
started = time.perf_counter()
assert os.waitpid(start(folder / "uninterrupted"), 0)[1] == 0
seconds = time.perf_counter() - started
expected, rng, kills, runs = files(folder / "uninterrupted"), random.Random(0), 0, 0
while kills < wanted:
    out, attempts = folder / f"run {runs}", 0
    while True:
        attempts += 1
        child = start(out)
        time.sleep(rng.random() * seconds * (1 + attempts / 10))  # longer each time: it ends on a slower machine
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert status == 0, status
            break
        kills += 1
    found = files(out)
    assert set(found) == set(expected), set(found) ^ set(expected)
    assert [name for name in found if found[name] != expected[name]] == []
    runs += 1
print(json.dumps([kills, runs]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 and fork are POSIX's")
@pytest.mark.parametrize("name", TRAININGS)
def test_runs_killed_at_any_moment_end_like_uninterrupted_ones(name: str, tmp_path: Path) -> None:
    settings = json.dumps(config_to_json(TRAININGS[name]))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, settings, str(tmp_path), str(KILLS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},  # threads of a GPU do not survive a fork
    )
    try:
        stdout, stderr = process.communicate(timeout=1_800)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert (process.returncode, stderr) == (0, "")
    kills, runs = json.loads(stdout)
    assert kills >= KILLS
    assert runs >= 1
