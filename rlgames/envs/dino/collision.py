"""Collision of the T-Rex with the first obstacle: each is a few boxes, and any overlap of two of them is a crash."""

import numpy as np
from numba.extending import register_jitable

from rlgames.envs.dino.world import HEIGHT, LARGE, SMALL, TREX_X

# x, y, width, height of the boxes
STANDING = np.array([[22, 0, 17, 16], [1, 18, 30, 9], [10, 35, 14, 8], [1, 24, 29, 5], [5, 30, 21, 4], [9, 34, 15, 4]])
DUCKING = np.array([[1, 18, 55, 25]])
OBSTACLES = (  # by kind
    np.array([[0, 7, 5, 27], [4, 0, 6, 34], [10, 4, 7, 14]]),
    np.array([[0, 12, 7, 38], [8, 0, 7, 49], [13, 10, 10, 38]]),
    np.array([[15, 15, 16, 5], [18, 21, 24, 6], [2, 14, 4, 3], [6, 10, 4, 7], [10, 8, 6, 9]]),
)


@register_jitable
def crashed(s) -> bool:
    """Return True if the bounding boxes of T-Rex and first obstacle overlap, and so do two of the boxes inside."""
    kind, left, top = s.kind[0], s.x[0] + 1, s.top[0] + 1
    x, y = TREX_X + 1, s.y + 1
    if not (x < left + s.width[0] - 2 and left < x + 42 and y < top + HEIGHT[kind] - 2 and top < y + 45):
        return False
    if kind == SMALL:
        return boxes_overlap(s, OBSTACLES[0], left - x, top - y)
    if kind == LARGE:
        return boxes_overlap(s, OBSTACLES[1], left - x, top - y)
    return boxes_overlap(s, OBSTACLES[2], left - x, top - y)


@register_jitable
def boxes_overlap(s, boxes, dx, dy) -> bool:
    """Return True if a box of the T-Rex overlaps one of `boxes`, moved by (dx, dy).

    In a group of obstacles the second box covers those in the middle, and the third one stands at the right end.
    """
    trex = DUCKING if s.ducking else STANDING
    for i in range(len(boxes)):
        x, width = boxes[i, 0] + dx, boxes[i, 2] * 1.0
        if s.size[0] > 1 and i == 1:
            width = s.width[0] - boxes[0, 2] - boxes[2, 2]
        if s.size[0] > 1 and i == 2:
            x = s.width[0] - width + dx
        y = boxes[i, 1] + dy
        for j in range(len(trex)):
            overlap_x = trex[j, 0] < x + width and x < trex[j, 0] + trex[j, 2]
            if overlap_x and trex[j, 1] < y + boxes[i, 3] and y < trex[j, 1] + trex[j, 3]:
                return True
    return False
