"""Work divided into shares, one thread each, instead of torch dividing every single operation.

With two cores and the small networks of games, torch's own threads wait for each other at the end of each operation;
two halves of a minibatch do not meet until both gradients are there. It is also far kinder to a machine that does other
things: one core taken away slows one half, not every operation.
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


class Shares:
    """`count` shares at once; with one, everything happens in the caller's thread and torch is left as it is."""

    def __init__(self, count: int):
        self.count = count
        self.pool: ThreadPoolExecutor | None = None

    @contextmanager
    def torch_threads(self) -> Iterator[None]:
        """While it lasts, each share has one torch thread; afterwards torch has as many as before."""
        before = torch.get_num_threads()
        if self.count > 1:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if self.count > 1:
                torch.set_num_threads(before)

    def map(self, function: Callable[[In], Out], shares: Iterable[In]) -> list[Out]:
        """The results in the order of the shares; the caller's thread takes the first of each round."""
        shares = list(shares)
        if len(shares) == 1 or self.count == 1:
            return [function(share) for share in shares]
        if self.pool is None:
            self.pool = ThreadPoolExecutor(self.count - 1, thread_name_prefix="rlgames-share")
        results: list[Out] = []
        for at in range(0, len(shares), self.count):
            first, *rest = shares[at : at + self.count]
            others = [self.pool.submit(function, share) for share in rest]
            results += [function(first), *(other.result() for other in others)]
        return results

    def gradients(
        self, net: nn.Module, function: Callable[[In], tuple[tuple[Tensor, ...], Out]], shares: Iterable[In]
    ) -> list[Out]:
        """Give `net` the sums of the gradients that `function` finds for each share; returns what else it finds."""
        net.zero_grad()  # first: the memory of the last gradients serves for what comes now
        results = self.map(function, shares)
        for parameter, *gradients in zip(net.parameters(), *(each for each, _ in results), strict=True):
            parameter.grad = sum(gradients[1:], gradients[0])
        return [rest for _, rest in results]


# ---- agents/heap.py ----

# of glibc's mallopt
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGEST = 1 << 30  # bytes: blocks up to this size come from the heap, and as much may lie free at its end


@cache
def keep_freed_memory() -> bool:
    """Tell glibc so, for the whole process; False where the C library is another."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, Windows: no such function, or no library of that name
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGEST) and mallopt(TRIM_THRESHOLD, LARGEST))
