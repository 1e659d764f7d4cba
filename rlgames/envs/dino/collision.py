"""Dino's collision: the T-Rex and an obstacle are a few boxes each, and any overlap of two of them is a crash."""

import numpy as np
from numba.extending import register_jitable

from rlgames.envs.dino.world import HEIGHT, LARGE, SMALL, X

UPRIGHT = np.array([[22, 0, 17, 16], [1, 18, 30, 9], [10, 35, 14, 8], [1, 24, 29, 5], [5, 30, 21, 4], [9, 34, 15, 4]])
LOW = np.array([[1, 18, 55, 25]])  # x, y, width, height of the boxes that may collide, here of the ducking T-Rex
BOXES = (
    np.array([[0, 7, 5, 27], [4, 0, 6, 34], [10, 4, 7, 14]]),
    np.array([[0, 12, 7, 38], [8, 0, 7, 49], [13, 10, 10, 38]]),
    np.array([[15, 15, 16, 5], [18, 21, 24, 6], [2, 14, 4, 3], [6, 10, 4, 7], [10, 8, 6, 9]]),
)


@register_jitable
def crashed(s) -> bool:
    """Whether the first obstacle is touched: the outer boxes overlap, and so do two of the boxes inside."""
    kind, left, top = s.kind[0], s.x[0] + 1, s.top[0] + 1
    x, y = X + 1, s.y + 1
    if not (x < left + s.width[0] - 2 and left < x + 42 and y < top + HEIGHT[kind] - 2 and top < y + 45):
        return False
    if kind == SMALL:
        return touch(s, BOXES[0], left - x, top - y)
    if kind == LARGE:
        return touch(s, BOXES[1], left - x, top - y)
    return touch(s, BOXES[2], left - x, top - y)


@register_jitable
def touch(s, boxes, right, down) -> bool:
    """Whether one of the T-Rex's boxes overlaps one of `boxes`, moved; in a group the middle one is stretched."""
    own = LOW if s.ducking else UPRIGHT
    for i in range(len(boxes)):
        x, width = boxes[i, 0] + right, boxes[i, 2] * 1.0
        if s.size[0] > 1 and i == 1:
            width = s.width[0] - boxes[0, 2] - boxes[2, 2]
        if s.size[0] > 1 and i == 2:
            x = s.width[0] - width + right
        y = boxes[i, 1] + down
        for j in range(len(own)):
            across = own[j, 0] < x + width and x < own[j, 0] + own[j, 2]
            if across and own[j, 1] < y + boxes[i, 3] and y < own[j, 1] + own[j, 3]:
                return True
    return False
