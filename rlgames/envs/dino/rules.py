"""Dino: the T-Rex of chrome://dino jumps over cacti and over or under pterodactyls; an exact simulator of the page.

Rules, rounding and the order of the random numbers are those of the page in Chromium 156 on a clock of 1000/60 ms a
frame, so that from the same dice both play the same game number by number, as tests/envs/test_dino_page.py demands of
`rlgames/ChromeDino-v0`. A frame: the keys, the jump, the scenery, the obstacles, the collision, the distance, the
night. The speed grows from 6 to 13 pixels a frame; from 8.5 on there are pterodactyls; every 700 points bring a night.

An action is the key that is held during one frame. Jump, held, jumps again at every landing and jumps lower when it is
let go early; duck, in the air, falls fast. Reward: 0.1 for a frame survived and -1 for the crash ("survival"), or what
the frame adds to the shown score ("score"). Score: the page's own, round(0.025 ceil(distance)).
"""

import numpy as np
from gymnasium.spaces import Box
from numba.extending import register_jitable

from rlgames.engine.game import Game
from rlgames.engine.rng import uniform
from rlgames.envs.dino.collision import crashed
from rlgames.envs.dino.picture import SIZE, observe, render
from rlgames.envs.dino.world import (
    CRASHED,
    DUCKING,
    FRAME,
    GROUND,
    HEIGHT,
    JUMPING,
    OWN_SPEED,
    RECORD,
    RUNNING,
    VIEW,
    X,
    clear,
    move_obstacles,
    rounded,
    scroll,
    shown,
)
from rlgames.errors import InvalidValueError
from rlgames.wrappers.pixels import Pixels

__all__ = ["FEATURES", "RECORD", "features", "game", "shown"]

NOOP, JUMP, DUCK = range(3)
PACE = (1000 / 12, 1000 / 60, 1000 / 8, 1000 / 60)  # ms that one of its pictures is seen
LENGTH = 44  # of the T-Rex when it stands
SLOWEST, FASTEST, ACCELERATION = 6.0, 13.0, 0.001
CLEAR = 3000  # ms without obstacles
GRAVITY, TAKE_OFF, CUT, SPEED_DROP = 0.6, -10.0, -5.0, 3  # pixels a frame, and their change a frame; a factor
HIGH_ENOUGH, TOO_HIGH = 63, 30  # from where a jump can be cut, and is
NIGHT_EVERY, NIGHT = 700, 12_000  # points, ms
FLASH_EVERY, FLASH = 100, 2067  # points; ms that the score blinks
START = 1000.0  # ms, the page's clock
SURVIVED, LOST = 0.1, -1.0  # rewards of a frame
AHEAD = 3  # obstacles among the features
FEATURES = 6 + 6 * AHEAD


@register_jitable
def reset(s):
    """The page's restart. It ends with an update of 0 ms, as the loop in the browser begins with one."""
    s.dice = np.uint64(uniform(s) * 4294967296.0)
    s.held = NOOP
    s.speed, s.distance, s.running, s.now = SLOWEST, 0.0, 0.0, START
    s.y, s.velocity, s.jumping, s.ducking, s.speed_drop, s.reached = GROUND, 0.0, 0, 0, 0, 0
    s.status, s.pose, s.pose_time, s.seen, s.flash = RUNNING, 0, 0.0, 0, 0.0
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
    s.seen = s.pose
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
    points = shown(s)
    flash(s, dt, points)
    turn_to_night(s, dt, points)
    if hit:
        s.status = CRASHED
    else:
        animate(s, dt)
    if s.speed_drop and s.y == GROUND:  # the fall has not ended, yet it is a duck
        s.speed_drop, s.ducking = 0, 1
        become(s, DUCKING)
    return hit


@register_jitable
def flash(s, dt, points):
    if s.flash > FLASH:
        s.flash = 0.0
    elif s.flash > 0 or (points % FLASH_EVERY == 0 and points > 0):
        s.flash += dt


@register_jitable
def turn_to_night(s, dt, points):
    if s.night_time > NIGHT:
        s.night_time, s.night = 0.0, 0
    elif s.night_time > 0:
        s.night_time += dt
    elif points % NIGHT_EVERY == 0 and points > 0:
        s.night_time, s.night = s.night_time + dt, 1


@register_jitable
def score(s, reward):
    return float(shown(s))


@register_jitable
def features(s, obs):
    """The state as FEATURES numbers: 6 of the T-Rex, 6 of each of the next AHEAD obstacles, 0 where there is none."""
    obs[0], obs[1], obs[2] = s.speed / FASTEST, (GROUND - s.y) / GROUND, s.velocity / 12
    obs[3], obs[4], obs[5] = s.jumping, s.ducking, s.speed_drop
    at = 6
    for i in range(s.obstacles):
        if at < FEATURES and s.x[i] + s.width[i] >= X:  # not behind the T-Rex
            obs[at], obs[at + 1], obs[at + 2] = 1.0, (s.x[i] - X - LENGTH) / VIEW, s.width[i] / 75
            obs[at + 3], obs[at + 4], obs[at + 5] = HEIGHT[s.kind[i]] / 50, s.top[i] / 150, s.offset[i] / OWN_SPEED
            at += 6
    for i in range(at, FEATURES):
        obs[i] = 0.0


def default_pixels(obs: str = "pixels") -> Pixels:
    """What an agent sees: every fourth frame, of pictures the last four; one state tells all."""
    return Pixels(skip=4, stack=4) if obs == "pixels" else Pixels(skip=4)


def game(obs: str = "pixels", acceleration: bool = True, reward: str = "survival") -> Game:
    """Observation: (84, 84) uint8, the page's canvas in grey ("pixels"), or (24,) float32, see `features` ("state").

    Without `acceleration` the speed stays at 6 pixels a frame. Raises ValueError for other options.
    """
    given = {"obs": (obs, ("pixels", "state")), "reward": (reward, ("survival", "score"))}
    for option, (value, known) in {**given, "acceleration": (acceleration, (True, False))}.items():
        if value not in known or type(value) is not type(known[0]):
            raise InvalidValueError(f"expected Dino's {option} to be {' or '.join(map(repr, known))}, got {value!r}")
    faster = ACCELERATION if acceleration else 0.0
    by_score = reward == "score"

    @register_jitable
    def reset_game(s):
        reset(s)
        s.speed += faster

    @register_jitable
    def step(s, action):
        if by_score:
            before = shown(s)
            hit = frame(s, action, faster)
            return float(shown(s) - before), hit
        hit = frame(s, action, faster)
        return (LOST if hit else SURVIVED), hit

    options = [f"obs={obs}"] * (obs != "pixels") + ["acceleration=false"] * (not acceleration)
    options += [f"reward={reward}"] * (reward != "survival")
    pixels = Box(0, 255, (SIZE, SIZE), np.uint8)
    return Game(
        name="Dino" + ":" * bool(options) + ",".join(options),
        record=RECORD,
        observation=pixels if obs == "pixels" else Box(-2, 2, (FEATURES,), np.float32),
        actions=("noop", "jump", "duck"),
        max_frames=1_000_000,
        reset=reset_game,
        step=step,
        observe=observe if obs == "pixels" else features,
        score=score,
        render=render,
        fps=60,
        keys={"w": JUMP, "s": DUCK},
        envs_per_thread=256,
    )
