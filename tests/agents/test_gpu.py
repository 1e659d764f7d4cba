"""Agents on a GPU: they learn there, play the same on the CPU, and resume with the same bits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.toys import quick_config, state_sha256

from rlgames.agents.registry import AGENTS, find, load

if not torch.cuda.is_available():
    pytest.skip("needs a GPU", allow_module_level=True)

TRAINED = [name for name in AGENTS if name not in ("random", "a3c")]  # A3C computes on the CPU


@pytest.mark.parametrize("game", ["CartPole", "Cave", "Dino"])  # dense networks, small and large pictures
@pytest.mark.parametrize("name", TRAINED)
def test_agents_resume_with_the_same_bits(name: str, game: str, tmp_path: Path) -> None:
    agent = find(name)(game, quick_config(name), device="cuda", num_envs=2).learn(256)
    agent.save(tmp_path / "half")
    hashes = []
    for resumed in (agent, load(tmp_path / "half", device="cuda"), load(tmp_path / "half", device="cuda")):
        assert resumed.device.type == "cuda"
        resumed.learn(256, reset_num_timesteps=False)
        hashes.append(state_sha256(resumed, tmp_path))
    assert len(set(hashes)) == 1


@pytest.mark.parametrize("name", TRAINED)
def test_agents_play_on_the_cpu_what_they_learned_on_a_gpu(name: str, tmp_path: Path) -> None:
    agent = find(name)("Cave", quick_config(name, pictures=True), device="cuda", num_envs=2).learn(256)
    agent.save(tmp_path / "agent")
    copy = load(tmp_path / "agent", device="cpu", weights_only=True)
    envs = agent.make_vec_env(8)
    obs = envs.reset(seed=0)[0]
    for _ in range(20):
        actions = agent.predict(obs, deterministic=True)[0]
        assert np.mean(copy.predict(obs, deterministic=True)[0] == actions) >= 0.75  # ties but for rounding
        obs = envs.step(actions)[0]
