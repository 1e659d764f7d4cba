"""Numerical precision of networks: the field `precision` of every config, and the meaning of "auto" on this machine.

bfloat16 has the range of float32 and 8 bits of its precision (Kalamkar et al. 2019). Only inputs and weights of layers
are rounded to it, by torch's autocast; parameters, gradients and the optimizer's statistics stay in float32. The gain
depends on the processor: `benchmarks/precision.py` measures it.
"""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import torch
from gymnasium.spaces import Box
from torch import nn

from rlgames.networks.models import LARGE_ENCODERS, default_encoder

PrecisionName = Literal["auto", "float32", "bfloat16"]
CPUINFO = Path("/proc/cpuinfo")
Net = TypeVar("Net", bound=nn.Module)


class Precision(NamedTuple):
    """Precision of the networks on a device."""

    device: str
    bfloat16: bool

    def autocast(self) -> torch.autocast:
        """Return the context in which networks compute."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.bfloat16)

    def cast_weights(self, net: Net) -> Net:
        """Return a copy of `net` with weights rounded once instead of in every forward pass; in float32 `net` itself.

        Its outputs are the same, bit for bit, until `net` is updated.
        """
        return copy.deepcopy(net).requires_grad_(False).to(torch.bfloat16) if self.bfloat16 else net


def choose_precision(precision: str, encoder: str, space: Box, device: torch.device) -> Precision:
    """Return the precision for networks with this encoder.

    "auto" is bfloat16 for large encoders on a CPU that is faster in it. Small ones stay in float32, though in large
    batches they would be faster: A3C on CatchBall with 16 x 16 cells (seed 2) reached 98.0 in float32, 86.5 in
    bfloat16.
    """
    large = (default_encoder(space) if encoder == "auto" else encoder) in LARGE_ENCODERS
    faster = large and device.type == "cpu" and bfloat16_is_fast(CPUINFO)
    return Precision(device.type, precision == "bfloat16" or (precision == "auto" and faster))


@cache
def bfloat16_is_fast(cpuinfo: Path) -> bool:
    """Return whether convolutions are faster in bfloat16 on the processor of Linux's `cpuinfo`; elsewhere False.

    They are with AVX-512 BF16 on AMD (Zen 4: 1.2 to 2.4 times, measured) and with AMX, which was made for it. Intel's
    AVX-512 BF16 without AMX multiplies no more numbers a cycle than float32 does, and gained nothing when measured.
    """
    if not cpuinfo.exists():
        return False
    words = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
    return "amx_bf16" in words or {"avx512_bf16", "AuthenticAMD"} <= words
