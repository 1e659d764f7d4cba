"""The precision that networks compute in: `precision` in every config, and what "auto" comes to on this machine.

bfloat16 has the range of float32 and 8 bits of its precision (Kalamkar et al. 2019). Only inputs and weights of layers
are rounded to it, by torch's autocast; parameters, their gradients and the optimiser's statistics stay in float32. What
it gains depends on the processor: `benchmarks/precision.py` measures it.
"""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from gymnasium.spaces import Box
from torch import nn

from rlgames.networks.models import LARGE, encoder_for

PRECISIONS = ("auto", "float32", "bfloat16")
CPUINFO = Path("/proc/cpuinfo")
Net = TypeVar("Net", bound=nn.Module)


class Arithmetic(NamedTuple):
    """How networks compute on a device; called, it makes the context in which they do."""

    device: str
    half: bool  # bfloat16

    def __call__(self) -> torch.autocast:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.half)

    def rounded(self, net: Net) -> Net:
        """A copy of the weights as they are computed with, so that not every pass has to round them; or `net` itself.

        It gives the same bits, and is stale once `net` has learnt.
        """
        return copy.deepcopy(net).requires_grad_(False).to(torch.bfloat16) if self.half else net


def arithmetic(precision: str, encoder: str, space: Box, device: torch.device) -> Arithmetic:
    """Of a network with this encoder: "auto" is bfloat16 for the large ones on a CPU that is `fast` in it.

    The small ones, of boards, stay in float32, though large batches would gain as much: A3C on CatchBall with 16 x 16
    fields (seed 2) came to 98.0 in float32, to 86.5 in bfloat16.
    """
    large = (encoder_for(space) if encoder == "auto" else encoder) in LARGE
    half = precision == "bfloat16" or (precision == "auto" and large and device.type == "cpu" and fast(CPUINFO))
    return Arithmetic(device.type, half)


@cache
def fast(cpuinfo: Path) -> bool:
    """Whether convolutions are faster in bfloat16 on the processor that Linux describes there; elsewhere False.

    They are with AVX-512 BF16 on AMD (Zen 4: 1.2 to 2.4 times, measured) and with AMX, which was made for it. Intel's
    AVX-512 BF16 without AMX multiplies no more numbers a cycle than float32 does, and gained nothing when measured.
    """
    if not cpuinfo.exists():
        return False
    words = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
    return "amx_bf16" in words or {"avx512_bf16", "AuthenticAMD"} <= words
