"""Description of the machine that trains: two that are described alike compute the same weights from the same seed."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")


def describe_machine(device: torch.device) -> dict[str, str]:
    """Return the processor, its instruction set as torch sees it, the device of the networks, and torch's version."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return {
        "processor": processor_name(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "device": gpu or device.type,
        "torch": torch.__version__,
    }


def processor_name(cpuinfo: Path = CPUINFO) -> str:
    """Return the name of the processor in Linux's `cpuinfo`; elsewhere that of its architecture."""
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return " ".join(found[1].split()) if found else platform.machine()
