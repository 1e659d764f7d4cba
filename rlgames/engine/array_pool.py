"""Pool of output arrays, reused once the caller has dropped them.

A new array of some megabytes costs more than a compiled game takes to fill it, because the operating system clears its
pages. CPython's reference count tells when the caller has dropped an array and every view of it; only then is it handed
out again, so to the caller each array is its own for as long as it is held.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import DTypeLike

MIN_BYTES = 1 << 17  # below, the allocator reuses memory by itself


def reference_counts(arrays: list[np.ndarray]) -> list[int]:
    return [sys.getrefcount(array) for array in arrays]


UNUSED = reference_counts([np.empty(1)])[0]  # the count of an array that only the list refers to
COUNTS_ARE_EXACT = getattr(sys, "_is_gil_enabled", lambda: True)()  # not without the GIL: then arrays are never reused


class ArrayPool:
    """`next()` returns an uninitialized array of this shape and dtype that is referenced nowhere else."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, size: int = 4):
        self.shape, self.dtype = shape, np.dtype(dtype)
        worthwhile = COUNTS_ARE_EXACT and self.dtype.itemsize * int(np.prod(shape)) >= MIN_BYTES
        self.size, self.arrays = (size if worthwhile else 0), []

    def next(self) -> np.ndarray:
        for array, count in zip(self.arrays, reference_counts(self.arrays), strict=True):
            if count == UNUSED:
                return array
        array = np.empty(self.shape, self.dtype)
        if len(self.arrays) < self.size:
            self.arrays.append(array)
        return array
