"""Arrays to hand out: fresh ones, or earlier ones that nobody holds any more.

A new array of some megabytes costs more than what a compiled game writes into it, because the system has to clear its
pages. CPython's reference count tells when the receiver has let go of an array and of every view of it; only then it is
handed out again, so to the receiver each one is its own for as long as it is held.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import DTypeLike

WORTH = 1 << 17  # bytes; below, the allocator reuses memory by itself


def held(arrays: list[np.ndarray]) -> list[int]:
    return [sys.getrefcount(array) for array in arrays]


FREE = held([np.empty(1)])[0]  # the count of an array that only the list holds
COUNTS = getattr(sys, "_is_gil_enabled", lambda: True)()  # without the lock counts are not exact: then never reuse


class Arrays:
    """`next()` gives an uninitialised array of this shape that nobody else holds."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, keep: int = 4):
        self.shape, self.dtype = shape, np.dtype(dtype)
        worth = COUNTS and self.dtype.itemsize * int(np.prod(shape)) >= WORTH
        self.keep, self.made = (keep if worth else 0), []

    def next(self) -> np.ndarray:
        for array, count in zip(self.made, held(self.made), strict=True):
            if count == FREE:
                return array
        array = np.empty(self.shape, self.dtype)
        if len(self.made) < self.keep:
            self.made.append(array)
        return array
