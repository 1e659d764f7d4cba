"""Dino: the T-Rex of chrome://dino jumps over cacti and over or under pterodactyls; an exact simulator of the page.

Rules, rounding and the order of the random numbers are those of the page in Chromium 156 on a clock of 1000/60 ms a
frame, so that from the same dice both play the same game number by number, as tests/envs/test_dino_page.py demands of
`rlgames/ChromeDino-v0`. A frame: the keys, the jump, the scenery, the obstacles, the collision, the distance, the
night. The speed grows from 6 to 13 pixels a frame; from 8.5 on there are pterodactyls; every 700 points bring a night.

An action is the key that is held during one frame. Jump, held, jumps again at every landing and jumps lower when it is
let go early; duck, in the air, falls fast. Reward: 0.1 for a frame survived and -1 for the crash ("survival"), or what
the frame adds to the shown score ("score"). Score: the page's own, round(0.025 ceil(distance)).
"""

from math import ceil

import numpy as np
from gymnasium.spaces import Box
from numba.extending import register_jitable

from rlgames.envs.dino_picture import SIZE, draw, paint
from rlgames.envs.dino_world import FRAME, HEIGHT, RECORD, clear, move_obstacles, rounded, scroll
from rlgames.envs.game import Game, uniform

__all__ = ["FEATURES", "RECORD", "features", "game", "shown"]

NOOP, JUMP, DUCK = range(3)
RUNNING, JUMPING, DUCKING, CRASHED = range(4)  # what the T-Rex does
PACE = (1000 / 12, 1000 / 60, 1000 / 8, 1000 / 60)  # ms that one of its pictures is seen
X, GROUND, LENGTH = 24, 93.0, 44  # of the T-Rex: left edge, height on the ground, length when it stands
SLOWEST, FASTEST, ACCELERATION = 6.0, 13.0, 0.001
CLEAR = 3000  # ms without obstacles
GRAVITY, TAKE_OFF, CUT, SPEED_DROP = 0.6, -10.0, -5.0, 3  # pixels a frame, and their change a frame; a factor
HIGH_ENOUGH, TOO_HIGH = 63, 30  # from where a jump can be cut, and is
NIGHT_EVERY, NIGHT = 700, 12_000  # points, ms
START = 1000.0  # ms, the page's clock
POINT = 0.025  # of the score for a pixel
AHEAD = 3  # obstacles among the features
FEATURES = 6 + 6 * AHEAD
UPRIGHT = np.array([[22, 0, 17, 16], [1, 18, 30, 9], [10, 35, 14, 8], [1, 24, 29, 5], [5, 30, 21, 4], [9, 34, 15, 4]])
LOW = np.array([[1, 18, 55, 25]])  # x, y, width, height of the boxes that may collide, here of the ducking T-Rex
BOXES = (
    np.array([[0, 7, 5, 27], [4, 0, 6, 34], [10, 4, 7, 14]]),
    np.array([[0, 12, 7, 38], [8, 0, 7, 49], [13, 10, 10, 38]]),
    np.array([[15, 15, 16, 5], [18, 21, 24, 6], [2, 14, 4, 3], [6, 10, 4, 7], [10, 8, 6, 9]]),
)


@register_jitable
def spawn(s):
    """The page's restart. It ends with an update of 0 ms, as the loop in the browser begins with one."""
    s.dice = np.uint64(uniform(s) * 4294967296.0)
    s.held = NOOP
    s.speed, s.distance, s.running, s.now = SLOWEST, 0.0, 0.0, START
    s.y, s.velocity, s.jumping, s.ducking, s.speed_drop, s.reached = GROUND, 0.0, 0, 0, 0, 0
    s.status, s.pose, s.pose_time = RUNNING, 0, 0.0
    clear(s)
    scroll(s, 0.0)


@register_jitable
def press(s, action):
    """The keys before a frame. A held jump repeats; a held duck does not: in the air it would start the fall anew."""
    if s.held == JUMP and action != JUMP:
        cut(s)
    if s.held == DUCK and action != DUCK:
        s.speed_drop = 0
        if s.status == DUCKING:
            s.ducking = 0
            become(s, RUNNING)
    if action == JUMP and not s.jumping and not s.ducking:
        become(s, JUMPING)
        s.velocity = TAKE_OFF - s.speed / 10
        s.jumping, s.reached, s.speed_drop = 1, 0, 0
    if action == DUCK and s.held != DUCK:
        if s.jumping:
            s.speed_drop, s.velocity = 1, 1.0
        elif not s.ducking:
            s.ducking = 1
            become(s, DUCKING)
    s.held = action


@register_jitable
def cut(s):
    if s.reached and s.velocity < CUT:
        s.velocity = CUT


@register_jitable
def become(s, status):
    s.status, s.pose = status, 0
    animate(s, 0.0)


@register_jitable
def animate(s, dt):
    s.pose_time += dt
    if s.pose_time >= PACE[s.status]:
        s.pose_time = 0.0
        s.pose = 0 if s.status == JUMPING else 1 - s.pose


@register_jitable
def fly(s, dt):
    frames = dt / PACE[s.status]  # 1, unless a fall has become a duck before it was over
    s.y += rounded(s.velocity * (SPEED_DROP if s.speed_drop else 1) * frames)
    s.velocity += GRAVITY * frames
    if s.y < HIGH_ENOUGH or s.speed_drop:
        s.reached = 1
    if s.y < TOO_HIGH or s.speed_drop:
        cut(s)
    if s.y > GROUND:
        s.y, s.velocity, s.jumping, s.ducking = GROUND, 0.0, 0, s.speed_drop
        become(s, DUCKING if s.speed_drop else RUNNING)
        s.speed_drop = 0


@register_jitable
def crashed(s) -> bool:
    """Whether the first obstacle is touched: the outer boxes overlap, and so do two of the boxes inside."""
    kind, left, top = s.kind[0], s.x[0] + 1, s.top[0] + 1
    x, y = X + 1, s.y + 1
    if not (x < left + s.width[0] - 2 and left < x + 42 and y < top + HEIGHT[kind] - 2 and top < y + 45):
        return False
    if kind == 0:
        return touch(s, BOXES[0], left - x, top - y)
    if kind == 1:
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


@register_jitable
def frame(s, action, acceleration) -> bool:
    """One frame, in the page's order; returns whether it ended in a crash."""
    press(s, action)
    before = s.now
    s.now += FRAME
    dt = s.now - before  # FRAME, but for the clock's last digits
    if s.jumping:
        fly(s, dt)
    s.running += dt
    scroll(s, dt)
    hit = False
    if s.running > CLEAR:
        move_obstacles(s, dt)
        hit = crashed(s)
    if not hit:
        s.distance += s.speed * dt / FRAME
        if s.speed < FASTEST:
            s.speed += acceleration
    turn_to_night(s, dt)
    if hit:
        s.status = CRASHED
        return True
    animate(s, dt)
    if s.speed_drop and s.y == GROUND:  # the fall has not ended, yet it is a duck
        s.speed_drop, s.ducking = 0, 1
        become(s, DUCKING)
    return False


@register_jitable
def turn_to_night(s, dt):
    if s.night_time > NIGHT:
        s.night_time, s.night = 0.0, 0
    elif s.night_time > 0:
        s.night_time += dt
    elif shown(s) > 0 and shown(s) % NIGHT_EVERY == 0:
        s.night_time, s.night = s.night_time + dt, 1


@register_jitable
def shown(s) -> float:
    """The score that the page shows."""
    return rounded(POINT * ceil(s.distance))


@register_jitable
def score(s, reward):
    return shown(s)


@register_jitable
def features(s, obs):
    """The state as FEATURES numbers: 6 of the T-Rex, 6 of each of the next AHEAD obstacles, 0 where there is none."""
    obs[0], obs[1], obs[2] = s.speed / 13, (GROUND - s.y) / 93, s.velocity / 12
    obs[3], obs[4], obs[5] = s.jumping, s.ducking, s.speed_drop
    at = 6
    for i in range(s.obstacles):
        if at < FEATURES and s.x[i] + s.width[i] >= X:  # not behind the T-Rex
            obs[at], obs[at + 1], obs[at + 2] = 1.0, (s.x[i] - X - LENGTH) / 600, s.width[i] / 75
            obs[at + 3], obs[at + 4], obs[at + 5] = HEIGHT[s.kind[i]] / 50, s.top[i] / 150, s.offset[i] / 0.8
            at += 6
    for i in range(at, FEATURES):
        obs[i] = 0.0


def game(obs: str = "pixels", acceleration: bool = True, reward: str = "survival") -> Game:
    """Observation: (84, 84) uint8, the page's canvas in grey ("pixels"), or (24,) float32, see `features` ("state").

    Without `acceleration` the speed stays at 6 pixels a frame. Raises ValueError for other options.
    """
    given = {"obs": (obs, ("pixels", "state")), "reward": (reward, ("survival", "score"))}
    for option, (value, known) in {**given, "acceleration": (acceleration, (True, False))}.items():
        if value not in known or type(value) is not type(known[0]):
            raise ValueError(f"expected Dino's {option} to be {' or '.join(map(repr, known))}, got {value!r}")
    faster = ACCELERATION if acceleration else 0.0
    by_score = reward == "score"

    @register_jitable
    def start(s):
        spawn(s)
        s.speed += faster

    @register_jitable
    def step(s, action):
        before = shown(s)
        hit = frame(s, action, faster)
        if by_score:
            return shown(s) - before, hit
        return (-1.0 if hit else 0.1), hit

    changed = [("acceleration", "false")] * (not acceleration) + [("obs", obs)] * (obs != "pixels")
    changed += [("reward", reward)] * (reward != "survival")
    pixels = Box(0, 255, (SIZE, SIZE), np.uint8)
    return Game(
        name=":".join(["Dino", ",".join(f"{option}={value}" for option, value in changed)]).rstrip(":"),
        record=RECORD,
        observation=pixels if obs == "pixels" else Box(-2, 2, (FEATURES,), np.float32),
        actions=("noop", "jump", "duck"),
        max_steps=1_000_000,
        spawn=start,
        step=step,
        draw=draw if obs == "pixels" else features,
        score=score,
        paint=paint,
        fps=60,
        keys={"w": JUMP, "s": DUCK},
        grain=256,
    )
