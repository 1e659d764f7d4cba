"""ParallelSlices against one thread, and glibc's heap by the page faults of a child process."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import threading

import pytest
import torch
from torch import Tensor, nn

from rlgames.networks import threads
from rlgames.networks.threads import ParallelSlices


@pytest.fixture(params=[1, 2, 3])
def parallel(request: pytest.FixtureRequest):
    parallel = ParallelSlices(request.param)
    yield parallel
    parallel.close()


def test_map_returns_results_in_order(parallel: ParallelSlices):
    def square(x: int) -> int:
        return x * x

    assert parallel.map(square, range(7)) == [0, 1, 4, 9, 16, 25, 36]
    assert parallel.map(square, []) == []


def test_map_computes_a_slice_in_each_thread():
    parallel, barrier = ParallelSlices(3), threading.Barrier(3)
    try:

        def thread_name(_: int) -> str:
            barrier.wait(timeout=60)  # passes only if three slices are computed at once
            return threading.current_thread().name

        names = parallel.map(thread_name, range(6))
    finally:
        parallel.close()
    assert names[0] == names[3] == threading.current_thread().name
    assert len(set(names)) == 3


def test_map_raises_the_error_of_a_slice(parallel: ParallelSlices):
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), parallel.single_threaded_torch():
        parallel.map(lambda x: 1 // x, [2, 1, 0])
    assert torch.get_num_threads() == before
    assert parallel.map(lambda x: 1 // x, [2, 1]) == [0, 1]


@pytest.mark.parametrize(("n_threads", "inside"), [(1, 2), (2, 1)])
def test_single_threaded_torch_restores_the_number_of_threads(n_threads: int, inside: int):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with ParallelSlices(n_threads).single_threaded_torch():
            assert torch.get_num_threads() == inside
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_gradients_are_the_sums_over_the_slices(parallel: ParallelSlices):
    torch.manual_seed(0)
    net, x = nn.Linear(4, 3), torch.randn(10, 4)

    def loss_gradients(each: Tensor) -> tuple[tuple[Tensor, ...], float]:
        loss = net(each).square().sum()
        return torch.autograd.grad(loss, list(net.parameters())), float(loss.detach())

    net.weight.grad = torch.ones_like(net.weight)  # replaced, not added to
    losses = parallel.gradients(net, loss_gradients, x.split(3))
    expected, loss = loss_gradients(x)
    assert sum(losses) == pytest.approx(loss)
    for parameter, gradient in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_close_ends_the_threads_until_they_are_needed():
    parallel = ParallelSlices(2)
    try:
        for _ in range(2):
            *_, thread = parallel.map(lambda _: threading.current_thread(), range(2))
            assert thread is not threading.current_thread()
            assert thread.is_alive()
            parallel.close()
            assert not thread.is_alive()
        parallel.close()
    finally:
        parallel.close()


# ---- glibc's heap ----

STEPS, PAGES = 4, 12_288  # two blocks of 48 MiB a step, more than glibc keeps by itself
SCRIPT = f"""
import json, resource, torch
from rlgames.networks.threads import keep_freed_memory

def page_faults():
    for step in range(4 + {STEPS}):
        if step == 4:  # the first steps may get new memory
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        blocks = [torch.ones({PAGES} * 1024), torch.ones({PAGES} * 1024)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(json.dumps([page_faults(), keep_freed_memory(), page_faults()]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_keep_freed_memory_reuses_pages():
    child = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True, text=True, timeout=120)
    default_faults, kept, kept_faults = json.loads(child.stdout)
    assert kept
    assert kept_faults < 2 * PAGES  # all steps together get less new memory than one step takes
    assert default_faults > STEPS * PAGES


def test_keep_freed_memory_of_another_c_library_is_false(monkeypatch):
    monkeypatch.setattr(threads.ctypes, "CDLL", lambda name: object())
    assert threads.keep_freed_memory.__wrapped__() is False
