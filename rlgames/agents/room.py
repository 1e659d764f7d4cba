"""What a replay takes of the memory: counted, announced and refused before anything is taken."""

from __future__ import annotations

import math

from gymnasium.spaces import Box

BESIDE_THE_FRAME = 8 + 4 + 1 + 1  # bytes of a slot: action, reward, fate, age
LITTLE = 100_000_000  # bytes that are not worth a line


def room(capacity: int, n: int, space: Box, *, stack: int = 1, n_step: int = 1) -> tuple[int, int]:
    """The slots of each player and the bytes of a replay. Raises as `Replay` does."""
    if stack > 1 and space.shape[0] != stack:
        raise ValueError(f"expected observations of {stack} stacked frames, got shape {space.shape}")
    length = capacity // n + stack + n_step  # the newest and oldest slots cannot be drawn
    if capacity // n < 2 * (stack + n_step):
        least = 2 * n * (stack + n_step)
        raise ValueError(f"a replay of {capacity} transitions is too small for {n} players: give at least {least}")
    size = n * length * (math.prod(space.shape) // stack * space.dtype.itemsize + BESIDE_THE_FRAME)
    if size > (free := available()):
        raise MemoryError(
            f"a replay of {capacity:,} transitions takes {gigabytes(size)}, {gigabytes(free)} are free: "
            f"try capacity={int(capacity * 0.8 * free / size):,}"
        )
    return length, size


def announced(capacity: int, size: int) -> str:
    """The line that says so before `size` bytes are taken."""
    return f"replay: {capacity:,} transitions, {gigabytes(size)}"


def gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def available() -> int:
    """Bytes of memory that can be had now."""
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux
        return 1 << 62
