"""The field `precision` of every config, and agents that train in bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from helpers.toys import quick_config

from rlgames.agents import AGENTS
from rlgames.agents.ppo import PPO
from rlgames.agents.registry import find
from rlgames.networks import precision as precision_module
from rlgames.networks.precision import bfloat16_is_fast, choose_precision

PROCESSORS = {  # as in Linux's /proc/cpuinfo
    "amd-zen4": ("vendor_id : AuthenticAMD\nflags : fpu avx2 avx512f avx512_bf16\n", True),
    "intel-amx": ("vendor_id : GenuineIntel\nflags : fpu avx2 avx512f avx512_bf16 amx_bf16 amx_tile\n", True),
    "intel": ("vendor_id : GenuineIntel\nflags : fpu avx2 avx512f avx512_bf16\n", False),
    "amd": ("vendor_id : AuthenticAMD\nflags : fpu avx2\n", False),
}
LEARNING_AGENTS = [name for name in AGENTS if name != "random"]


@pytest.mark.parametrize(("cpuinfo", "expected"), PROCESSORS.values(), ids=PROCESSORS)
def test_bfloat16_is_fast_by_the_flags_of_the_processor(tmp_path, cpuinfo: str, expected: bool):
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo)
    assert bfloat16_is_fast(path) is expected


def test_bfloat16_is_not_fast_without_cpuinfo(tmp_path):
    assert bfloat16_is_fast(tmp_path / "missing") is False


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(
    ("precision", "encoder", "bfloat16"),  # the last on slow and fast processors
    [
        ("float32", "auto", [False, False]),
        ("bfloat16", "auto", [True, True]),
        ("bfloat16", "vector", [True, True]),
        ("auto", "auto", [False, True]),
        ("auto", "nips", [False, True]),
        ("auto", "vector", [False, False]),
        ("auto", "grid", [False, False]),
    ],
)
def test_auto_is_bfloat16_for_large_encoders_on_fast_processors(
    monkeypatch, fast: bool, precision: str, encoder: str, bfloat16: list[bool]
):
    monkeypatch.setattr(precision_module, "bfloat16_is_fast", lambda _: fast)
    space = Box(0, 255, (4, 84, 84), np.uint8)
    chosen = choose_precision(precision, encoder, space, torch.device("cpu"))
    assert chosen.bfloat16 is bfloat16[fast]
    with chosen.autocast():
        assert torch.is_autocast_enabled("cpu") is bfloat16[fast]
    assert not torch.is_autocast_enabled("cpu")


def test_auto_is_float32_on_a_gpu(monkeypatch):
    monkeypatch.setattr(precision_module, "bfloat16_is_fast", lambda _: True)
    space = Box(0, 255, (4, 84, 84), np.uint8)
    assert not choose_precision("auto", "nature", space, torch.device("cuda")).bfloat16


@pytest.mark.parametrize("name", LEARNING_AGENTS)
def test_agents_train_in_bfloat16(name: str):
    """Training differs from float32, is repeatable, and keeps the parameters in float32."""

    def parameters_after_training(precision: str) -> torch.Tensor:
        config = quick_config(name, precision=precision, encoder="grid")
        agent: Any = find(name)("CatchBall", config, num_envs=2, seed=3)
        with agent:
            agent.learn(64)
            return torch.cat([p.detach().flatten() for p in agent.net.parameters()])

    one, again, float32 = (parameters_after_training(x) for x in ("bfloat16", "bfloat16", "float32"))
    assert one.dtype is torch.float32
    assert torch.equal(one, again)
    assert not torch.equal(one, float32)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("encoder", ["grid", "vector"])
def test_cast_weights_keeps_the_outputs_bit_for_bit(encoder: str, recurrent: bool):
    config = quick_config("ppo", precision="bfloat16", encoder=encoder, recurrent=recurrent)
    with PPO("CatchBall", config) as agent:
        obs = agent.start_training().obs
        net = agent.precision.cast_weights(agent.net)
        assert {p.dtype for p in net.parameters()} == {torch.bfloat16}
        for ours, theirs in zip(agent.policy_outputs(obs), agent.policy_outputs(obs, net=net), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_cast_weights_in_float32_returns_the_network_itself():
    with PPO("CatchBall", quick_config("ppo", precision="float32")) as agent:
        assert agent.precision.cast_weights(agent.net) is agent.net


@pytest.mark.parametrize("name", LEARNING_AGENTS)
def test_other_precisions_raise(name: str):
    with pytest.raises(ValueError, match="precision to be 'auto', 'float32' or 'bfloat16', got 'float16'"):
        quick_config(name, precision="float16")
    assert find(name).Config().precision == "auto"
