"""The precision that networks compute in: `precision` in every config, and what "auto" comes to on this machine.

bfloat16 has the range of float32 and 8 bits of its precision (Kalamkar et al. 2019). Only inputs and weights of layers
are rounded to it, by torch's autocast; parameters, their gradients and the optimiser's statistics stay in float32. What
it gains depends on the processor: `benchmarks/precision.py` measures it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import torch
from gymnasium.spaces import Box

from rlgames.agents.networks import encoder_for

PRECISIONS = ("auto", "float32", "bfloat16")
CPUINFO = Path("/proc/cpuinfo")


def arithmetic(precision: str, encoder: str, space: Box, device: torch.device) -> Callable[[], torch.autocast]:
    """What makes the context in which a network with this encoder computes.

    "auto" is bfloat16 for convolutions on a CPU that is `fast` in it, and float32 otherwise.
    """
    convolves = (encoder_for(space) if encoder == "auto" else encoder) != "vector"
    half = precision == "bfloat16" or (precision == "auto" and convolves and device.type == "cpu" and fast(CPUINFO))
    return partial(torch.autocast, device.type, torch.bfloat16, enabled=half)


@cache
def fast(cpuinfo: Path) -> bool:
    """Whether convolutions are faster in bfloat16 on the processor that Linux describes there; elsewhere False.

    They are with AVX-512 BF16 on AMD (Zen 4: 1.2 to 2.2 times, measured) and with AMX, which was made for it. Intel's
    AVX-512 BF16 without AMX multiplies no more numbers a cycle than float32 does, and gained nothing when measured.
    """
    if not cpuinfo.exists():
        return False
    words = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
    return "amx_bf16" in words or {"avx512_bf16", "AuthenticAMD"} <= words
