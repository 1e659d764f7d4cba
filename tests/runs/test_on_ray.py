"""Runs as tasks of Ray: the bits of runs alone, also when a process is killed; nothing of Ray stays."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.processes import wait_until_ended

import rlgames
from rlgames.agents.registry import find
from rlgames.checkpoint.file import config_to_json, weights_sha256
from rlgames.cli.main import main
from rlgames.presets.preset import Preset
from rlgames.runs.directory import RunDirectory
from rlgames.runs.on_ray import train_here, training_from_json, wanted_file
from rlgames.runs.training import Training, train
from rlgames.wrappers import Rewards

SETTINGS: dict[str, Any] = dict(
    steps=60_000, evaluate_episodes=2, evaluate_every=60_000, log_every=10_000, save_every=5_000
)

PATIENCE = 600.0  # seconds; Ray starts slowly on a busy machine


def weights(run: Path) -> str:
    return weights_sha256(rlgames.load(run / "checkpoints" / "final.ckpt").net.state_dict())


def test_a_training_is_the_same_as_plain_data(tmp_path: Path) -> None:
    preset = Preset(dict(n_steps=16), steps=64, envs=3, rewards=Rewards(scale=0.5))
    for training in (
        Training("ppo", "CartPole", seed=3, threads=1),
        Training("ppo", "CartPole", find("ppo").Config(net_arch=(8,)), steps=64, preset=preset),
    ):
        assert training_from_json(config_to_json(training)) == training
    data, run = config_to_json(training), tmp_path / "run"
    outcome = train_here(data, str(run), False, False, False)
    assert "choose one that all machines have" in outcome["error"]
    assert not run.exists()
    wanted_file(run).touch()
    outcome = train_here(data | {"start": str(tmp_path / "broken.ckpt")}, str(run), False, False, False)
    assert re.match(rf"on {re.escape(socket.gethostname())}: .*broken.ckpt: no such file", outcome["error"])


def command(out: Path, **settings: Any) -> list[str]:
    """Return the command that trains seeds 0 and 1 on a local cluster, in a process of its own: Ray keeps sockets."""
    line = [sys.executable, "-m", "rlgames", "train", "ppo", "CartPole", "--seeds", "0-1", "--on", "ray"]
    line += ["--out", str(out)]
    return line + [part for key, value in settings.items() for part in (f"--{key.replace('_', '-')}", str(value))]


def wait_for_checkpoint(run: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not list(run.glob("checkpoints/step-*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have."""
    children = [int(each) for path in Path(f"/proc/{pid}/task").glob("*/children") for each in path.read_text().split()]
    return [*children, *(each for child in children for each in descendants(child))]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_runs_on_ray_have_the_bits_of_runs_alone_though_a_process_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    process = subprocess.Popen(
        command(tmp_path / "runs", **SETTINGS), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wait_for_checkpoint(tmp_path / "runs" / "seed1", process)
    worker = int(wanted_file(tmp_path / "runs" / "seed1").read_text().split()[0])
    os.kill(worker, signal.SIGKILL)
    started = descendants(process.pid)
    printed = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0, printed
    assert re.search(r"seed1: best evaluation .* s \(started again once\)", printed)
    for seed in (0, 1):
        train(Training("ppo", "CartPole", seed=seed, threads=1, **SETTINGS), alone := tmp_path / str(seed), quiet=True)
        run = tmp_path / "runs" / f"seed{seed}"
        assert weights(run) == weights(alone)
        assert (run / "metrics.jsonl").read_bytes() == (alone / "metrics.jsonl").read_bytes()
    assert not list((tmp_path / "runs").glob(".*.wanted"))
    assert wait_until_ended(started)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_sigterm_ends_all_and_the_set_resumes(tmp_path: Path) -> None:
    """Of two runs one trains, one waits for a job."""
    pytest.importorskip("ray")
    settings = dict(SETTINGS)
    process = subprocess.Popen(
        command(tmp_path, jobs=1, **settings), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    run = RunDirectory(tmp_path / "seed0")
    wait_for_checkpoint(run.path, process)
    started = descendants(process.pid)
    process.send_signal(signal.SIGTERM)
    printed = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 128 + signal.SIGTERM, printed
    assert "stopped by SIGTERM; continue with:" in printed
    assert not run.final.exists()
    assert not (tmp_path / "seed1").exists()
    assert wait_until_ended(started)
    step = rlgames.load(max(run.checkpoints.glob("step-*"))).step
    settings["steps"] = step + 1_000
    resumed = train(Training("ppo", "CartPole", **settings), run.path, resume=True, quiet=True)
    assert resumed.agent.step >= step + 1_000


CLUSTER = """
import os, signal, sys, threading, time
from pathlib import Path
from ray.cluster_utils import Cluster
from rlgames import Training, train_many

out, package_missing = Path(sys.argv[1]), {"PYTHONPATH": sys.argv[2]}
training = Training("ppo", "CartPole", **SETTINGS)

def kill_node():
    while not list((out / "moved").glob("*/checkpoints/step-*")):
        time.sleep(0.02)
    worker = next((out / "moved").glob(".*.wanted")).read_text().split()[0]
    node = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1]  # the parent of its workers
    for pid in (node, worker):
        os.kill(int(pid), signal.SIGKILL)

if __name__ == "__main__":
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        bare = cluster.add_node(num_cpus=1, env_vars=package_missing)
        print(train_many([training], out / "bare", on=cluster.address, quiet=True)[0].error)
        cluster.remove_node(bare)
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        threading.Thread(target=kill_node).start()
        print(train_many([training], out / "moved", on=cluster.address, quiet=True)[0])
    finally:
        cluster.shutdown()
""".replace("SETTINGS", repr(SETTINGS))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Ray supports several nodes on one machine on Linux")
def test_nodes_without_the_package_and_nodes_that_go(tmp_path: Path) -> None:
    """Nodes on this machine: one that lacks rlgames is named, a run goes on elsewhere when its node goes."""
    pytest.importorskip("ray")
    script, bare = tmp_path / "cluster.py", tmp_path / "bare"
    script.write_text(CLUSTER)
    bare.mkdir()
    (bare / "rlgames.py").write_text("raise ModuleNotFoundError(\"No module named 'rlgames'\", name='rlgames')\n")
    local = os.environ | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_agent_register_timeout_ms": "120000"}
    run = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "runs"), str(bare)],
        cwd=tmp_path,
        env=local | {"PYTHONPATH": str(Path(rlgames.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert f"on {socket.gethostname()}: no module 'rlgames': install there what is installed here\n" in run.stdout
    assert re.search(r"^RunSummary\(.*error=None, restarts=1\)$", run.stdout, re.MULTILINE)
    train(Training("ppo", "CartPole", threads=1, **SETTINGS), tmp_path / "alone", quiet=True)
    assert weights(tmp_path / "runs" / "moved" / "ppo-CartPole-seed0") == weights(tmp_path / "alone")


@pytest.mark.slow
def test_an_address_that_does_not_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray")
    command = ["train", "ppo", "CartPole", "--seeds", "0-1", "--out", str(tmp_path / "runs")]
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1"):
        assert main([*command, "--on", address]) == 2
        assert f"rlgames: no Ray cluster answers at {address}" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
