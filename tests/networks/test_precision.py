"""What `precision` makes networks compute in."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from helpers.toys import quick

from rlgames.agents.ppo import PPO
from rlgames.agents.registry import AGENTS, find
from rlgames.networks import precision as arithmetic
from rlgames.networks.precision import PRECISIONS, fast

PROCESSORS = {  # as Linux describes them
    "amd-zen4": ("vendor_id : AuthenticAMD\nflags : fpu avx2 avx512f avx512_bf16\n", True),
    "intel-amx": ("vendor_id : GenuineIntel\nflags : fpu avx2 avx512f avx512_bf16 amx_bf16 amx_tile\n", True),
    "intel": ("vendor_id : GenuineIntel\nflags : fpu avx2 avx512f avx512_bf16\n", False),
    "amd": ("vendor_id : AuthenticAMD\nflags : fpu avx2\n", False),
}
LEARNERS = [name for name in AGENTS if name != "random"]


@pytest.mark.parametrize(("text", "expected"), PROCESSORS.values(), ids=PROCESSORS)
def test_the_processor_is_known_by_its_flags(tmp_path, text: str, expected: bool):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(text)
    assert fast(cpuinfo) is expected


def test_a_processor_that_nobody_describes_computes_in_float32(tmp_path):
    assert fast(tmp_path / "nothing") is False


@pytest.mark.parametrize("quickly", [False, True])
@pytest.mark.parametrize(
    ("precision", "encoder", "half"),
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
def test_auto_is_for_large_networks_on_fast_processors(monkeypatch, quickly: bool, precision, encoder, half):
    monkeypatch.setattr(arithmetic, "fast", lambda _: quickly)
    space = Box(0, 255, (4, 84, 84), np.uint8)
    with arithmetic.arithmetic(precision, encoder, space, torch.device("cpu"))():
        assert torch.is_autocast_enabled("cpu") is half[quickly]
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("name", LEARNERS)
def test_agents_play_and_learn_in_it(name: str):
    """A bfloat16 run differs from a float32 one, is as exact, and keeps its parameters in float32."""
    learnt = {}
    for precision in ("bfloat16", "bfloat16 again", "float32"):
        config = quick(name, precision=precision.split()[0], encoder="grid")
        agent = find(name)("CatchBall", config, num_envs=2, seed=3)
        agent.learn(200)
        learnt[precision] = torch.cat([p.detach().flatten() for p in agent.net.parameters()])
        agent.playing().envs.close()
    assert learnt["bfloat16"].dtype is torch.float32
    assert torch.equal(learnt["bfloat16"], learnt["bfloat16 again"])
    assert not torch.equal(learnt["bfloat16"], learnt["float32"])


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("encoder", ["grid", "vector"])
def test_rounding_the_weights_once_gives_the_same_bits(encoder: str, recurrent: bool):
    agent = PPO("CatchBall", quick("ppo", precision="bfloat16", encoder=encoder, recurrent=recurrent))
    player = agent.playing()
    rounded = agent.arithmetic.rounded(agent.net)
    assert {p.dtype for p in rounded.parameters()} == {torch.bfloat16}
    ours, theirs = agent.see(player.obs), agent.see(player.obs, net=rounded)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)
    agent.playing().envs.close()


def test_float32_has_nothing_to_round():
    agent = PPO("CatchBall", quick("ppo", precision="float32"))
    assert agent.arithmetic.rounded(agent.net) is agent.net
    agent.playing().envs.close()


@pytest.mark.parametrize("name", LEARNERS)
def test_others_are_refused(name: str):
    with pytest.raises(ValueError, match=rf"precision {' or '.join(PRECISIONS)}, got 'float16'"):
        quick(name, precision="float16")
    assert find(name).Config().precision == "auto"
