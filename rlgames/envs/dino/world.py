"""The world of Dino: one player's record, the dice, and all that comes towards the T-Rex: ground, clouds, obstacles.

The order of the random numbers is the page's. Positions in pixels of the canvas of 600 x 150 are top left corners, y
grows downwards; times in ms; speeds in pixels a frame of 1000/60 ms.
"""

from math import ceil, floor

import numpy as np
from numba.extending import register_jitable

from rlgames.engine.game import CLOCK

RUNNING, JUMPING, DUCKING, CRASHED = range(4)  # what the T-Rex does
X, GROUND = 24, 93.0  # the T-Rex's left edge; its top when it is on the ground
POINT = 0.025  # of the score for a pixel of the way
VIEW = 600  # the canvas's width
FRAME = 1000 / 60  # ms
SMALL, LARGE, PTERODACTYL = range(3)  # kinds of obstacles, two of them cacti
WIDTH, HEIGHT = (17.0, 25.0, 46.0), (35.0, 50.0, 40.0)  # of one obstacle, by kind
CACTUS_TOP, PTERODACTYL_TOP = (105.0, 90.0), (100.0, 75.0, 50.0)
FROM_SPEED = (0.0, 0.0, 8.5)  # from which a kind comes
GROUPS_FROM = (4.0, 7.0, np.inf)  # the speed from which it comes in groups
LARGEST_GROUP, IN_A_ROW = 3, 2  # members; obstacles of the same kind
SMALLEST_GAP, GAP, WIDEST_GAP = (120.0, 120.0, 150.0), 0.6, 1.5
OWN_SPEED = 0.8  # of a pterodactyl, this much faster or slower than the ground
WINGS = 1000 / 6  # ms between two beats
OBSTACLES = 6  # on the board at most: they are 191 pixels apart or more
CLOUD_WIDTH, CLOUD_GAP, CLOUD_TOP = 46, (100, 400), (30, 71)
CLOUDS, CLOUD_CHANCE, CLOUD_SPEED = 6, 0.5, 0.0002
FADE = 0.035  # of the night's opacity a frame

RECORD = np.dtype(
    [
        *CLOCK,
        ("dice", "u4"),  # mulberry32
        ("held", "i4"),  # the action of the frame before
        ("speed", "f8"),
        ("distance", "f8"),
        ("running", "f8"),  # ms of the episode
        ("y", "f8"),
        ("velocity", "f8"),
        ("jumping", "u1"),
        ("ducking", "u1"),
        ("speed_drop", "u1"),  # falls fast, because "down" was pressed in the air
        ("reached", "u1"),  # the jump is high enough to be cut
        ("night", "u1"),
        ("night_time", "f8"),  # ms since it began
        ("opacity", "f8"),  # of moon and stars
        ("obstacles", "i4"),  # how many; leftmost first
        ("kind", "i4", (OBSTACLES,)),
        ("x", "f8", (OBSTACLES,)),
        ("top", "f8", (OBSTACLES,)),
        ("width", "f8", (OBSTACLES,)),  # of the whole group
        ("size", "i4", (OBSTACLES,)),  # members of the group
        ("gap", "f8", (OBSTACLES,)),  # to the next one
        ("offset", "f8", (OBSTACLES,)),  # its own speed
        ("followed", "u1", (OBSTACLES,)),  # the next one is there
        ("wing", "i4", (OBSTACLES,)),  # 0 or 1: picture of a pterodactyl
        ("wing_time", "f8", (OBSTACLES,)),  # ms that it has been seen
        ("before", "i4", (IN_A_ROW,)),  # kinds of the last obstacles, newest first; -1: none
        ("now", "f8"),  # ms, the page's clock
        ("status", "i4"),  # of the T-Rex: running, jumping, ducking or crashed
        ("pose", "i4"),  # 0 or 1: its picture
        ("pose_time", "f8"),  # ms that it has been seen
        ("seen", "i4"),  # the pose when it was drawn
        ("flash", "f8"),  # ms that the score has been blinking, 0: it does not
        ("ground", "f8"),  # where the leading one of its two tiles begins
        ("bumpy", "u1", (2,)),  # the tiles' pictures, leading one first
        ("clouds", "i4"),
        ("cloud_x", "f8", (CLOUDS,)),
        ("cloud_top", "f8", (CLOUDS,)),
        ("cloud_gap", "f8", (CLOUDS,)),
    ]
)


@register_jitable
def roll(s) -> float:
    """A number in [0, 1) from the dice: mulberry32, of 32 bits."""
    mask = np.uint64(0xFFFFFFFF)
    t = (np.uint64(s.dice) + np.uint64(0x6D2B79F5)) & mask
    s.dice = t
    t = ((t ^ (t >> np.uint64(15))) * (t | np.uint64(1))) & mask
    t ^= (t + (((t ^ (t >> np.uint64(7))) * (t | np.uint64(61))) & mask)) & mask
    return (t ^ (t >> np.uint64(14))) / 4294967296.0


@register_jitable
def between(s, first: float, last: float) -> float:
    """A whole number from `first` to `last`."""
    return floor(roll(s) * (last - first + 1)) + first


@register_jitable
def rounded(x: float) -> float:
    """To the nearest whole number, halves up, as JavaScript does."""
    return float(floor(x + 0.5))


@register_jitable
def shown(s) -> int:
    """The score that the page shows."""
    return floor(POINT * ceil(s.distance) + 0.5)


@register_jitable
def clear(s):
    """The world at the start of an episode; the page places the stars anew."""
    s.obstacles, s.clouds = 0, 0
    for i in range(IN_A_ROW):
        s.before[i] = -1
    s.ground, s.bumpy[0], s.bumpy[1] = 0.0, 0, 1
    s.night, s.night_time, s.opacity = 0, 0.0, 0.0
    place_stars(s)


@register_jitable
def place_stars(s):
    """Where they stand decides nothing and is not shown: only the dice are rolled."""
    for _ in range(4):
        roll(s)


@register_jitable
def scroll(s, dt: float):
    """The scenery moves for `dt` ms: ground, night, clouds."""
    s.ground -= floor(s.speed * 0.06 * dt)
    if s.ground <= -VIEW:
        s.ground += VIEW
        s.bumpy[0], s.bumpy[1] = s.bumpy[1], roll(s) > 0.5
    if s.night and s.opacity < 1:  # and once it is there, in turns below and above 1
        s.opacity += FADE
    else:
        s.opacity = max(s.opacity - FADE, 0.0)
    if s.opacity == 0:
        place_stars(s)
    move_clouds(s, dt)


@register_jitable
def move_clouds(s, dt: float):
    if s.clouds == 0:
        add_cloud(s)
        return
    for i in range(s.clouds):
        s.cloud_x[i] -= ceil(CLOUD_SPEED * dt * s.speed)
    last = s.clouds - 1
    if s.clouds < CLOUDS and VIEW - s.cloud_x[last] > s.cloud_gap[last] and roll(s) < CLOUD_CHANCE:
        add_cloud(s)
    if s.cloud_x[0] + CLOUD_WIDTH <= 0:
        s.clouds -= 1
        for i in range(s.clouds):
            s.cloud_x[i], s.cloud_top[i], s.cloud_gap[i] = s.cloud_x[i + 1], s.cloud_top[i + 1], s.cloud_gap[i + 1]


@register_jitable
def add_cloud(s):
    s.cloud_x[s.clouds] = VIEW
    s.cloud_gap[s.clouds] = between(s, CLOUD_GAP[0], CLOUD_GAP[1])
    s.cloud_top[s.clouds] = between(s, CLOUD_TOP[0], CLOUD_TOP[1])
    s.clouds += 1


@register_jitable
def move_obstacles(s, dt: float):
    for i in range(s.obstacles):
        s.x[i] -= floor((s.speed + s.offset[i]) * 60 / 1000 * dt)
        s.wing_time[i] += dt
        if s.wing_time[i] >= WINGS:
            s.wing_time[i], s.wing[i] = 0.0, 1 - s.wing[i]
    while s.obstacles > 0 and s.x[0] + s.width[0] <= 0:
        drop_first(s)
    if s.obstacles == 0:
        add_obstacle(s)
        return
    last = s.obstacles - 1
    if not s.followed[last] and s.x[last] + s.width[last] + s.gap[last] < VIEW:
        s.followed[last] = 1
        add_obstacle(s)


@register_jitable
def drop_first(s):
    s.obstacles -= 1
    for i in range(s.obstacles):
        s.kind[i], s.size[i], s.followed[i], s.wing[i] = s.kind[i + 1], s.size[i + 1], s.followed[i + 1], s.wing[i + 1]
        s.x[i], s.top[i], s.width[i] = s.x[i + 1], s.top[i + 1], s.width[i + 1]
        s.gap[i], s.offset[i], s.wing_time[i] = s.gap[i + 1], s.offset[i + 1], s.wing_time[i + 1]


@register_jitable
def add_obstacle(s):
    """Beyond the right edge. The dice: kind until one is allowed, size, [height, own speed,] gap."""
    i = s.obstacles
    s.obstacles += 1
    kind = int(between(s, SMALL, PTERODACTYL))
    while (kind == s.before[0] and kind == s.before[1]) or s.speed < FROM_SPEED[kind]:
        kind = int(between(s, SMALL, PTERODACTYL))
    s.before[1] = s.before[0]
    s.before[0] = kind
    size = int(between(s, 1, LARGEST_GROUP))
    if s.speed < GROUPS_FROM[kind]:
        size = 1
    s.kind[i], s.size[i], s.followed[i] = kind, size, 0
    s.width[i], s.x[i] = size * WIDTH[kind], VIEW + WIDTH[kind]
    s.offset[i], s.wing[i], s.wing_time[i] = 0.0, 0, 0.0
    if kind == PTERODACTYL:
        s.top[i] = PTERODACTYL_TOP[int(between(s, 0, 2))]
        s.offset[i] = OWN_SPEED if roll(s) > 0.5 else -OWN_SPEED
    else:
        s.top[i] = CACTUS_TOP[kind]
    nearest = rounded(s.width[i] * s.speed + SMALLEST_GAP[kind] * GAP)
    s.gap[i] = between(s, nearest, rounded(nearest * WIDEST_GAP))
