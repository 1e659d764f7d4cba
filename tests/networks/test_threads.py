"""ParallelSlices against one thread, the number of torch's threads, and glibc's heap by page faults of a child."""

from __future__ import annotations

import copy
import json
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from rlgames.agents.registry import find
from rlgames.checkpoint.file import weights_sha256
from rlgames.networks import threads
from rlgames.networks.models import ActorCritic, QNetwork
from rlgames.networks.recurrent import RecurrentActorCritic
from rlgames.networks.threads import (
    ENOUGH_ARITHMETIC,
    ParallelSlices,
    multiply_adds,
    suitable_threads,
    torch_threads,
)


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


# ---- the number of torch's threads ----


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let torch have two threads, as many as the machine has cores, and nobody have chosen them."""
    before = torch.get_num_threads()
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "own_numbers", lambda: {2})
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_torch_threads_are_given_back():
    with torch_threads(1):
        assert torch.get_num_threads() == 1
    with pytest.raises(AssertionError, match="assert 3 == 1"), torch_threads(3):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with torch_threads(None):
        assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_the_outer_of_two_contexts_counts():
    with torch_threads(1):
        with torch_threads(2):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1


CPU = torch.device("cpu")


@pytest.mark.usefixtures("two_threads")
def test_small_networks_get_one_thread(monkeypatch: pytest.MonkeyPatch):
    """Below the limit, unless the user has chosen another number than torch's own."""
    net = nn.Linear(1_000, 1_000, bias=False)
    limit = ENOUGH_ARITHMETIC // 1_000_000
    assert suitable_threads(net, (1_000,), limit - 1, CPU) == 1
    assert suitable_threads(net, (1_000,), limit, CPU) is None
    assert suitable_threads(net, (1_000,), 1, torch.device("cuda")) is None
    assert suitable_threads(nn.Module(), (4,), 10**9, CPU) == 1
    for name in threads.VARIABLES:
        with monkeypatch.context() as patch:
            patch.setenv(name, "2")
            assert suitable_threads(net, (1_000,), 1, CPU) is None
    monkeypatch.setattr(threads, "own_numbers", lambda: {4, 8})  # so that 2 are the user's
    assert suitable_threads(net, (1_000,), 1, CPU) is None


def test_own_numbers_are_those_of_torch(child: dict[str, Any]):
    """In a process without settings of the user's."""
    assert child["threads"] in child["own_numbers"]


def test_own_numbers_without_a_topology(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(threads, "TOPOLOGY", "/nowhere/{}")
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda pid: {0, 1, 2, 3, 4, 5}, raising=False)
    assert threads.own_numbers() == {6, 3}


def multiply_adds_of_a_pass(net: nn.Module, *inputs: Tensor) -> int:
    """Count those of layers while they run, on a batch of one."""
    total = 0

    def count(module: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Linear):
            total += output.numel() * module.in_features
        elif isinstance(module, nn.Conv2d):
            total += output.numel() * module.in_channels * module.kernel_size[0] * module.kernel_size[1]

    for module in net.modules():
        module.register_forward_hook(count)
    with torch.no_grad():
        net(*inputs)
    return total


@pytest.mark.parametrize(
    ("shape", "encoder"),
    [((4,), "vector"), ((8, 8), "grid"), ((3, 16, 16), "grid"), ((48, 48), "cave")]
    + [((4, 84, 84), name) for name in ("nips", "mario", "nature")],
)
def test_multiply_adds_are_those_of_a_pass(shape: tuple[int, ...], encoder: str):
    """But for biases, which are counted too."""
    space = Box(0, 255, shape, np.uint8)
    obs = torch.zeros((1, *shape), dtype=torch.uint8)
    state, start = torch.zeros(1, 64), torch.ones(1, 1, dtype=torch.bool)
    nets: list[tuple[nn.Module, tuple[Tensor, ...]]] = [
        (ActorCritic(space, 3, encoder, (64, 64)), (obs,)),
        (QNetwork(space, 3, encoder, (64, 64), dueling=True), (obs,)),
        (RecurrentActorCritic(space, 3, encoder, (64, 64), 32), (obs[:, None], state, start)),
    ]
    for net, inputs in nets:
        assert multiply_adds(net, shape) == pytest.approx(multiply_adds_of_a_pass(net, *inputs), rel=0.06)


def test_multiply_adds_of_other_convolutions():
    """Padded, strided, dilated and grouped ones, and two encoders of the same observation."""
    one = nn.Sequential(
        *(
            nn.Conv2d(3, 8, 5, stride=2, padding=2, bias=False),
            nn.Conv2d(8, 8, 3, padding=(1, 0), groups=4, bias=False),
        ),
        *(nn.Conv2d(8, 4, 3, dilation=2, bias=False), nn.Flatten(), nn.Linear(4 * 12 * 10, 7, bias=False)),
    )
    pixels = 16 * 16, 16 * 14, 12 * 10
    expected = pixels[0] * 8 * 3 * 25 + pixels[1] * 8 * 2 * 9 + pixels[2] * 4 * 8 * 9 + 4 * 12 * 10 * 7
    assert one(torch.zeros(1, 3, 32, 32)).shape == (1, 7)
    assert multiply_adds(one, (3, 32, 32)) == expected
    assert multiply_adds(nn.ModuleList([one, copy.deepcopy(one)]), (3, 32, 32)) == 2 * expected
    assert multiply_adds(nn.Conv2d(1, 1, 9, bias=False), (2, 2)) == 81  # it would not run


# ---- glibc's heap ----

STEPS, PAGES = 15, 12_288  # two blocks of 48 MiB a step, more than glibc keeps by itself
SCRIPT = f"""
import json, resource, statistics, torch
from rlgames.networks.threads import keep_freed_memory, own_numbers

def page_faults_of_a_step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones({PAGES} * 1024), torch.ones({PAGES} * 1024)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def page_faults():  # of the median step: some may get new memory, the first above all
    return statistics.median(page_faults_of_a_step() for _ in range({STEPS}))

heap = [page_faults(), keep_freed_memory(), page_faults()]
print(json.dumps({{"heap": heap, "threads": torch.get_num_threads(), "own_numbers": [*own_numbers()]}}))
"""


@pytest.fixture(scope="module")
def child() -> dict[str, Any]:
    """Return what a process finds in which nobody has set the number of threads."""
    env = {name: value for name, value in os.environ.items() if name not in threads.VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, check=True, text=True, timeout=120, env=env
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_keep_freed_memory_reuses_pages(child: dict[str, Any]):
    default_faults, kept, kept_faults = child["heap"]
    assert kept
    assert default_faults >= 2 * PAGES
    assert kept_faults < PAGES / 10


def test_keep_freed_memory_of_another_c_library_is_false(monkeypatch):
    monkeypatch.setattr(threads.ctypes, "CDLL", lambda name: object())
    assert threads.keep_freed_memory.__wrapped__() is False


def test_initial_weights_do_not_depend_on_the_number_of_threads() -> None:
    """Orthogonal ones come from a factorization, which rounds differently with several threads."""
    before, hashes = torch.get_num_threads(), set()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            hashes.add(weights_sha256(find("ppo")("Cave", net_arch=(256, 256)).net.state_dict()))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(hashes) == 1
