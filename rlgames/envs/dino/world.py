"""The world of Dino: the record of one environment, the page's RNG, scenery (ground, night, clouds) and obstacles.

Random numbers are drawn in the page's order. Positions are top left corners in pixels of the canvas of 600 x 150, y
grows downwards; times are in ms, speeds in pixels a frame of 1000/60 ms.
"""

from math import ceil, floor

import numpy as np
from numba.extending import register_jitable

from rlgames.engine.game import CLOCK

RUNNING, JUMPING, DUCKING, CRASHED = range(4)  # status of the T-Rex
TREX_X, GROUND = 24, 93.0  # the T-Rex's left edge; its top when it is on the ground
POINT = 0.025  # score of a pixel of distance
VIEW = 600  # width of the canvas
FRAME = 1000 / 60  # ms
SMALL, LARGE, PTERODACTYL = range(3)  # kinds of obstacles, the first two are cacti
WIDTH, HEIGHT = (17.0, 25.0, 46.0), (35.0, 50.0, 40.0)  # of one obstacle, by kind
CACTUS_TOP, PTERODACTYL_TOP = (105.0, 90.0), (100.0, 75.0, 50.0)
MIN_SPEED = (0.0, 0.0, 8.5)  # speed from which a kind appears
MIN_GROUP_SPEED = (4.0, 7.0, np.inf)  # speed from which it appears in groups
MAX_GROUP, MAX_REPEATS = 3, 2  # obstacles of a group; consecutive obstacles of one kind
MIN_GAP, GAP_FACTOR, MAX_GAP_FACTOR = (120.0, 120.0, 150.0), 0.6, 1.5
SPEED_OFFSET = 0.8  # difference of a pterodactyl's speed from the ground's, either way
WING_TIME = 1000 / 6  # ms for which a picture of a pterodactyl is shown
MAX_OBSTACLES = 6  # on the canvas: they are 191 pixels apart or more
CLOUD_WIDTH, CLOUD_GAP, CLOUD_TOP = 46, (100, 400), (30, 71)
MAX_CLOUDS, CLOUD_CHANCE, CLOUD_SPEED = 6, 0.5, 0.0002
FADE = 0.035  # change of the night's opacity a frame

RECORD = np.dtype(
    [
        *CLOCK,
        ("page_rng", "u4"),  # state of the page's RNG, mulberry32
        ("held", "i4"),  # action of the previous frame
        ("speed", "f8"),
        ("distance", "f8"),
        ("running", "f8"),  # ms since the start of the episode
        ("y", "f8"),
        ("velocity", "f8"),
        ("jumping", "u1"),
        ("ducking", "u1"),
        ("speed_drop", "u1"),  # fast fall: "down" was pressed during a jump
        ("reached", "u1"),  # the jump is high enough to be ended early
        ("night", "u1"),
        ("night_time", "f8"),  # ms since it began
        ("opacity", "f8"),  # of moon and stars
        ("obstacles", "i4"),  # number of obstacles; the fields that follow are by obstacle, leftmost first
        ("kind", "i4", (MAX_OBSTACLES,)),
        ("x", "f8", (MAX_OBSTACLES,)),
        ("top", "f8", (MAX_OBSTACLES,)),
        ("width", "f8", (MAX_OBSTACLES,)),  # of the whole group
        ("size", "i4", (MAX_OBSTACLES,)),  # obstacles of the group
        ("gap", "f8", (MAX_OBSTACLES,)),  # to the next obstacle
        ("offset", "f8", (MAX_OBSTACLES,)),  # of its speed from the ground's
        ("followed", "u1", (MAX_OBSTACLES,)),  # 1: the next obstacle has been added
        ("wing", "i4", (MAX_OBSTACLES,)),  # picture of a pterodactyl, 0 or 1
        ("wing_time", "f8", (MAX_OBSTACLES,)),  # ms for which it has been shown
        ("last_kinds", "i4", (MAX_REPEATS,)),  # kinds of the last obstacles, newest first; -1: none
        ("clock", "f8"),  # ms, the page's time
        ("status", "i4"),  # of the T-Rex
        ("pose", "i4"),  # picture of the T-Rex in the next frame, 0 or 1
        ("pose_time", "f8"),  # ms for which it has been shown
        ("drawn_pose", "i4"),  # picture of the T-Rex in this frame
        ("flash_time", "f8"),  # ms for which the score has been flashing; 0: it does not flash
        ("ground_x", "f8"),  # left edge of the first of two ground tiles
        ("bumpy", "u1", (2,)),  # pictures of the tiles, first one first
        ("clouds", "i4"),  # number of clouds; the fields that follow are by cloud
        ("cloud_x", "f8", (MAX_CLOUDS,)),
        ("cloud_top", "f8", (MAX_CLOUDS,)),
        ("cloud_gap", "f8", (MAX_CLOUDS,)),
    ]
)


@register_jitable
def random(s) -> float:
    """Return a number in [0, 1) from the page's RNG, mulberry32 (32 bits)."""
    mask = np.uint64(0xFFFFFFFF)
    t = (np.uint64(s.page_rng) + np.uint64(0x6D2B79F5)) & mask
    s.page_rng = t
    t = ((t ^ (t >> np.uint64(15))) * (t | np.uint64(1))) & mask
    t ^= (t + (((t ^ (t >> np.uint64(7))) * (t | np.uint64(61))) & mask)) & mask
    return (t ^ (t >> np.uint64(14))) / 4294967296.0


@register_jitable
def random_integer(s, first: float, last: float) -> float:
    """Return a whole number from `first` to `last`, both included."""
    return floor(random(s) * (last - first + 1)) + first


@register_jitable
def rounded(x: float) -> float:
    """Round to the nearest whole number, halves up, as JavaScript does."""
    return float(floor(x + 0.5))


@register_jitable
def displayed_score(s) -> int:
    return floor(POINT * ceil(s.distance) + 0.5)


@register_jitable
def reset_world(s):
    s.obstacles, s.clouds = 0, 0
    for i in range(MAX_REPEATS):
        s.last_kinds[i] = -1
    s.ground_x, s.bumpy[0], s.bumpy[1] = 0.0, 0, 1
    s.night, s.night_time, s.opacity = 0, 0.0, 0.0
    place_stars(s)


@register_jitable
def place_stars(s):
    """Draw the random numbers of the stars' positions, which matter for nothing else and are not drawn."""
    for _ in range(4):
        random(s)


@register_jitable
def move_scenery(s, dt: float):
    """Move ground, night and clouds by `dt` ms."""
    s.ground_x -= floor(s.speed * 0.06 * dt)
    if s.ground_x <= -VIEW:
        s.ground_x += VIEW
        s.bumpy[0], s.bumpy[1] = s.bumpy[1], random(s) > 0.5
    if s.night and s.opacity < 1:  # from then on it alternates below and above 1, as on the page
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
    if s.clouds < MAX_CLOUDS and VIEW - s.cloud_x[last] > s.cloud_gap[last] and random(s) < CLOUD_CHANCE:
        add_cloud(s)
    if s.cloud_x[0] + CLOUD_WIDTH <= 0:
        s.clouds -= 1
        for i in range(s.clouds):
            s.cloud_x[i], s.cloud_top[i], s.cloud_gap[i] = s.cloud_x[i + 1], s.cloud_top[i + 1], s.cloud_gap[i + 1]


@register_jitable
def add_cloud(s):
    s.cloud_x[s.clouds] = VIEW
    s.cloud_gap[s.clouds] = random_integer(s, CLOUD_GAP[0], CLOUD_GAP[1])
    s.cloud_top[s.clouds] = random_integer(s, CLOUD_TOP[0], CLOUD_TOP[1])
    s.clouds += 1


@register_jitable
def move_obstacles(s, dt: float):
    for i in range(s.obstacles):
        s.x[i] -= floor((s.speed + s.offset[i]) * 60 / 1000 * dt)
        s.wing_time[i] += dt
        if s.wing_time[i] >= WING_TIME:
            s.wing_time[i], s.wing[i] = 0.0, 1 - s.wing[i]
    while s.obstacles > 0 and s.x[0] + s.width[0] <= 0:
        remove_first_obstacle(s)
    if s.obstacles == 0:
        add_obstacle(s)
        return
    last = s.obstacles - 1
    if not s.followed[last] and s.x[last] + s.width[last] + s.gap[last] < VIEW:
        s.followed[last] = 1
        add_obstacle(s)


@register_jitable
def remove_first_obstacle(s):
    s.obstacles -= 1
    for i in range(s.obstacles):
        s.kind[i], s.size[i], s.followed[i], s.wing[i] = s.kind[i + 1], s.size[i + 1], s.followed[i + 1], s.wing[i + 1]
        s.x[i], s.top[i], s.width[i] = s.x[i + 1], s.top[i + 1], s.width[i + 1]
        s.gap[i], s.offset[i], s.wing_time[i] = s.gap[i + 1], s.offset[i + 1], s.wing_time[i + 1]


@register_jitable
def add_obstacle(s):
    """Add an obstacle beyond the right edge.

    Random numbers: its kind until one is allowed, its size, for a pterodactyl height and speed, the gap.
    """
    i = s.obstacles
    s.obstacles += 1
    kind = int(random_integer(s, SMALL, PTERODACTYL))
    while (kind == s.last_kinds[0] and kind == s.last_kinds[1]) or s.speed < MIN_SPEED[kind]:
        kind = int(random_integer(s, SMALL, PTERODACTYL))
    s.last_kinds[1] = s.last_kinds[0]
    s.last_kinds[0] = kind
    size = int(random_integer(s, 1, MAX_GROUP))
    if s.speed < MIN_GROUP_SPEED[kind]:
        size = 1
    s.kind[i], s.size[i], s.followed[i] = kind, size, 0
    s.width[i], s.x[i] = size * WIDTH[kind], VIEW + WIDTH[kind]
    s.offset[i], s.wing[i], s.wing_time[i] = 0.0, 0, 0.0
    if kind == PTERODACTYL:
        s.top[i] = PTERODACTYL_TOP[int(random_integer(s, 0, 2))]
        s.offset[i] = SPEED_OFFSET if random(s) > 0.5 else -SPEED_OFFSET
    else:
        s.top[i] = CACTUS_TOP[kind]
    min_gap = rounded(s.width[i] * s.speed + MIN_GAP[kind] * GAP_FACTOR)
    s.gap[i] = random_integer(s, min_gap, rounded(min_gap * MAX_GAP_FACTOR))
