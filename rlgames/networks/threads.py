"""Threads of the networks: how many of torch's, and data-parallel minibatch gradients.

torch's threads wait for each other at the end of every operation, which dominates in the small networks of games, and
more so on a machine that computes something else too: `suitable_threads` gives small networks one thread.

`ParallelSlices` computes slices of a minibatch in a thread each instead: two halves of a minibatch wait for each other
only once, when both gradients are computed, and a core that is taken away slows one half, not every operation.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

In = TypeVar("In")
Out = TypeVar("Out")


class ParallelSlices:
    """Compute up to `n_threads` slices at once; with one, all happens in the calling thread."""

    def __init__(self, n_threads: int):
        self.n_threads = n_threads
        self.pool: ThreadPoolExecutor | None = None

    @contextmanager
    def single_threaded_torch(self) -> Iterator[None]:
        """Give torch one thread in each slice while it lasts; with one slice leave torch as it is."""
        before = torch.get_num_threads()
        if self.n_threads > 1:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if self.n_threads > 1:
                torch.set_num_threads(before)

    def map(self, function: Callable[[In], Out], slices: Iterable[In]) -> list[Out]:
        """Return the results in the order of the slices; the calling thread takes the first of each round."""
        slices = list(slices)
        if len(slices) == 1 or self.n_threads == 1:
            return [function(each) for each in slices]
        if self.pool is None:
            self.pool = ThreadPoolExecutor(self.n_threads - 1, thread_name_prefix="rlgames-slice")
        results: list[Out] = []
        for i in range(0, len(slices), self.n_threads):
            first, *rest = slices[i : i + self.n_threads]
            futures = [self.pool.submit(function, each) for each in rest]
            results += [function(first), *(future.result() for future in futures)]
        return results

    def gradients(
        self, net: nn.Module, function: Callable[[In], tuple[tuple[Tensor, ...], Out]], slices: Iterable[In]
    ) -> list[Out]:
        """Set the gradients of `net` to the sum over all slices, if any; return the rest of what `function` returns."""
        net.zero_grad()  # first: the memory of the last gradients is reused
        results = self.map(function, slices)
        for parameter, *gradients in zip(net.parameters(), *(each for each, _ in results), strict=True):
            parameter.grad = sum(gradients[1:], gradients[0]) if gradients else torch.zeros_like(parameter)
        return [rest for _, rest in results]

    def close(self) -> None:
        """End the threads; they start again when needed."""
        if self.pool is not None:
            self.pool.shutdown()
            self.pool = None


# ---- the number of torch's threads ----

# Multiply-adds of one forward pass from which on torch's threads gain time. Measured as gradient steps of our networks
# on two otherwise idle cores (AMD EPYC, torch 2.13), whose waiting threads sleep: below 80 million two threads take
# longer than one, up to five times as long, and from 300 million on 0.6 to 0.8 of its time. On busy cores they took
# 1.6 to 50 times as long, always.
ENOUGH_ARITHMETIC = 250_000_000
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # by which a user sets the number
TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"  # on Linux: CPUs that share a core
inside: ContextVar[bool] = ContextVar("inside torch_threads", default=False)


@contextmanager
def torch_threads(n_threads: int | None) -> Iterator[None]:
    """Give torch so many threads while it lasts, and then as many as before; None leaves them as they are.

    So does a context inside another one: an evaluation during a training has the training's number.
    """
    if n_threads is None or inside.get():
        yield
        return
    before, token = torch.get_num_threads(), inside.set(True)
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        inside.reset(token)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Give torch one thread while it lasts, inside of `torch_threads` too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def suitable_threads(net: nn.Module, shape: Sequence[int], batch: int, device: torch.device) -> int | None:
    """Return the number of torch's threads for a network that gets at most `batch` observations of `shape` at once.

    1 below `ENOUGH_ARITHMETIC`; else None: torch's own number. None too on a GPU, and where the user has chosen: by
    OMP_NUM_THREADS, or by `torch.set_num_threads` and another number than torch's own.
    """
    if device.type != "cpu" or any(os.environ.get(name) for name in VARIABLES):
        return None
    if torch.get_num_threads() not in own_numbers():
        return None
    return 1 if batch * multiply_adds(net, shape) < ENOUGH_ARITHMETIC else None


def multiply_adds(net: nn.Module, shape: Sequence[int]) -> int:
    """Return the multiply-adds of a network for one observation, as far as they can be told without running it.

    A parameter is used once, that of a convolution once for each pixel of its output. Convolutions are taken to follow
    each other; one whose channels do not fit begins with the observation again.
    """
    total, channels, side = 0, None, (1, 1)
    for module in net.modules():
        count = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        if isinstance(module, nn.Conv2d):
            if module.in_channels != channels:
                side = tuple(shape[-2:])
            channels, kernel, stride, dilation = module.out_channels, module.kernel_size, module.stride, module.dilation
            padding = module.padding if isinstance(module.padding, tuple) else (0, 0)
            side = tuple(
                max(1, (side[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1) for i in (0, 1)
            )
            count *= side[0] * side[1]
        total += count
    return total


def own_numbers() -> set[int]:
    """Return the numbers of threads that torch may choose by itself: of the CPUs of this process, or of their cores."""
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    try:
        cores = {Path(TOPOLOGY.format(cpu)).read_text() for cpu in cpus}
    except OSError:  # another system
        return {len(cpus), max(1, len(cpus) // 2)}
    return {len(cpus), len(cores)}


# ---- glibc's heap ----

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
LARGEST = 1 << 30  # bytes: blocks up to this size come from the heap, and as much may stay free at its end


@cache
def keep_freed_memory() -> bool:
    """Keep memory that one gradient step frees for the next, in the whole process; False if the C library is not glibc.

    glibc's malloc returns large blocks to the system at once, so that every step waits for their pages to be mapped and
    zeroed again: 120,000 of them a second in PPO on Pong, a tenth of its time.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, Windows: no such function, or no library of that name
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGEST) and mallopt(TRIM_THRESHOLD, LARGEST))
