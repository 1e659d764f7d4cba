"""Freed memory is kept: the pages of a large block are touched for the first time once, not at every step."""

import platform
import subprocess
import sys

import pytest

from rlgames.networks import threads as heap

STEPS, PAGES = 10, 12_288  # two blocks of 48 MiB a step, larger than glibc ever keeps by itself
SCRIPT = f"""
import resource, sys
import torch
if "keep" in sys.argv:
    from rlgames.agents.heap import keep_freed_memory
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    return [torch.ones({PAGES} * 1024), torch.ones({PAGES} * 1024)]
for _ in range(10):
    step()
before = faults()
for _ in range({STEPS}):
    step()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_a_step_gets_the_memory_of_the_one_before():
    found = {
        how: int(subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, check=True, text=True).stdout)
        for how in ("keep", "give back")
    }
    assert found["keep"] < PAGES  # not even one block anew
    assert found["give back"] > STEPS * PAGES


def test_other_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())
    assert heap.keep_freed_memory.__wrapped__() is False
