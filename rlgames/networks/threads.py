"""Data-parallel minibatch gradients: one thread a slice, instead of torch's threads within each operation.

On two cores, torch's threads wait for each other at the end of every operation, which dominates in the small networks
of games; two halves of a minibatch wait for each other only once, when both gradients are computed. It also degrades
less on a busy machine: a core that is taken away slows one half, not every operation.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
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
        """Set the gradients of `net` to the sum over all slices; return the rest of what `function` returns."""
        net.zero_grad()  # first: the memory of the last gradients is reused
        results = self.map(function, slices)
        for parameter, *gradients in zip(net.parameters(), *(each for each, _ in results), strict=True):
            parameter.grad = sum(gradients[1:], gradients[0])
        return [rest for _, rest in results]

    def close(self) -> None:
        """End the threads; they start again when needed."""
        if self.pool is not None:
            self.pool.shutdown()
            self.pool = None


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
