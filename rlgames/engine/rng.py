"""Random numbers of compiled games: splitmix64 (Steele, Lea & Flood 2014), one 64-bit word a record.

Each record carries its own stream, so an environment depends on its own seed and actions only.
"""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable


@register_jitable
def uniform(s) -> float:
    """Return a number in [0, 1) from the stream of the record `s`."""
    s.rng += np.uint64(0x9E3779B97F4A7C15)
    z = s.rng
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@register_jitable
def below(s, n: int) -> int:
    """Return an integer in [0, n) from the stream of the record `s`."""
    return int(uniform(s) * n)


def seed_stream(seed: int) -> np.uint64:
    """Return the initial state of the stream of `seed` (>= 0, modulo 2**64), mixed so that neighboring seeds differ."""
    z = (seed + 1) * 0xD1342543DE82EF95 % 2**64
    z = (z ^ (z >> 32)) * 0xAEF17502108EF2D9 % 2**64
    return np.uint64(z ^ (z >> 29))
