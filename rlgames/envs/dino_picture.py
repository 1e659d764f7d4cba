"""Dino's picture."""
import numpy as np
from numba.extending import register_jitable

SIZE = 84


@register_jitable
def draw(s, obs):
    for r in range(SIZE):
        for c in range(SIZE):
            obs[r, c] = 255


def paint(s: np.void) -> np.ndarray:
    return np.zeros((150, 600, 3), np.uint8)
