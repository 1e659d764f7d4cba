"""Dino: the T-Rex of chrome://dino jumps over cacti and over or under pterodactyls; an exact simulator of the page.

Observation space: "pixels", (84, 84) uint8, the page's canvas in grey; or "state", (24,) float32, see `features`.
Action space: the key that is held during one frame: 0 none, 1 jump, 2 duck. A held jump jumps again at every landing;
let go early, it is lower. Duck in the air falls fast.
Rewards: 0.1 for a frame survived and -1 for the crash ("survival"), or the increase of the displayed score ("score").
The score is the page's: round(0.025 ceil(distance)), with the distance in pixels.
Termination: the T-Rex touches an obstacle.
Truncation: 1,000,000 frames.

Rules, rounding and the order of random numbers are those of the page in Chromium 156 on a clock of 1000/60 ms a frame:
from the same state of the RNG both play the same game, number by number, as tests/envs/chrome_dino/test_page.py checks
against `rlgames/ChromeDino-v0`. A frame: keys, jump, scenery, obstacles, collision, distance, night. The speed grows
from 6 to 13 pixels a frame; from 8.5 on there are pterodactyls; every 700 points a night begins.
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
    RECORD,
    RUNNING,
    SPEED_OFFSET,
    TREX_X,
    VIEW,
    displayed_score,
    move_obstacles,
    move_scenery,
    reset_world,
    rounded,
)
from rlgames.errors import InvalidValueError, brief
from rlgames.wrappers.pixels import Pixels

__all__ = ["FEATURES", "RECORD", "features", "game"]

NOOP, JUMP, DUCK = range(3)
POSE_TIME = (1000 / 12, 1000 / 60, 1000 / 8, 1000 / 60)  # ms for which a picture of the T-Rex is shown, by status
TREX_LENGTH = 44  # pixels, standing
MIN_SPEED, MAX_SPEED, ACCELERATION = 6.0, 13.0, 0.001  # pixels a frame, and its growth a frame
CLEAR_TIME = 3000  # ms at the start without obstacles
GRAVITY, JUMP_VELOCITY, END_VELOCITY = 0.6, -10.0, -5.0  # pixels a frame; `end_jump` limits the rise to the last
SPEED_DROP = 3  # factor of a fast fall
MIN_JUMP_TOP, MAX_JUMP_TOP = 63, 30  # tops at which a jump may be ended, and ends by itself
NIGHT_POINTS, NIGHT_TIME = 700, 12_000  # points between nights; ms
FLASH_POINTS, FLASH_TIME = 100, 2067  # points between flashes of the score; ms
START_TIME = 1000.0  # ms, the page's clock
SURVIVED, LOST = 0.1, -1.0  # rewards of a frame
OBSERVED_OBSTACLES = 3
FEATURES = 6 + 6 * OBSERVED_OBSTACLES
STORED_STRINGS = {"obs": "pixels|state", "reward": "survival|score"}


@register_jitable
def reset(s):
    """Restart the page's game. It ends with an update of 0 ms, because the loop in the browser begins with one."""
    s.page_rng = np.uint64(uniform(s) * 4294967296.0)
    s.held = NOOP
    s.speed, s.distance, s.running, s.clock = MIN_SPEED, 0.0, 0.0, START_TIME
    s.y, s.velocity, s.jumping, s.ducking, s.speed_drop, s.reached = GROUND, 0.0, 0, 0, 0, 0
    s.status, s.pose, s.pose_time, s.drawn_pose, s.flash_time = RUNNING, 0, 0.0, 0, 0.0
    reset_world(s)
    move_scenery(s, 0.0)


@register_jitable
def step_frame(s, action, acceleration) -> bool:
    """Advance by one frame, in the page's order; return True if it ended in a crash."""
    press_keys(s, action)
    last_time = s.clock
    s.clock += FRAME
    dt = s.clock - last_time  # FRAME, but for the clock's last digits
    if s.jumping:
        update_jump(s, dt)
    s.running += dt
    move_scenery(s, dt)
    hit = False
    if s.running > CLEAR_TIME:
        move_obstacles(s, dt)
        hit = crashed(s)
    if not hit:
        s.distance += s.speed * dt / FRAME
        if s.speed < MAX_SPEED:
            s.speed += acceleration
    points = displayed_score(s)
    update_flash(s, dt, points)
    update_night(s, dt, points)
    if hit:
        s.status = CRASHED
    else:
        animate(s, dt)
    if s.speed_drop and s.y == GROUND:  # the fall has reached the ground without passing it: it already is a duck
        s.speed_drop, s.ducking = 0, 1
        set_status(s, DUCKING)
    return hit


@register_jitable
def press_keys(s, action):
    """Send the key events before a frame. A held jump repeats; a held duck does not: that would restart the fall."""
    if s.held == JUMP and action != JUMP:
        end_jump(s)
    if s.held == DUCK and action != DUCK:
        s.speed_drop = 0
        if s.status == DUCKING:
            s.ducking = 0
            set_status(s, RUNNING)
    if action == JUMP and not s.jumping and not s.ducking:
        set_status(s, JUMPING)
        s.velocity = JUMP_VELOCITY - s.speed / 10
        s.jumping, s.reached, s.speed_drop = 1, 0, 0
    if action == DUCK and s.held != DUCK:
        if s.jumping:
            s.speed_drop, s.velocity = 1, 1.0
        elif not s.ducking:
            s.ducking = 1
            set_status(s, DUCKING)
    s.held = action


@register_jitable
def update_jump(s, dt):
    frames = dt / POSE_TIME[s.status]  # 1, unless a fast fall has become a duck before it ended
    s.y += rounded(s.velocity * (SPEED_DROP if s.speed_drop else 1) * frames)
    s.velocity += GRAVITY * frames
    if s.y < MIN_JUMP_TOP or s.speed_drop:
        s.reached = 1
    if s.y < MAX_JUMP_TOP or s.speed_drop:
        end_jump(s)
    if s.y > GROUND:
        s.y, s.velocity, s.jumping, s.ducking = GROUND, 0.0, 0, s.speed_drop
        set_status(s, DUCKING if s.speed_drop else RUNNING)
        s.speed_drop = 0


@register_jitable
def end_jump(s):
    if s.reached and s.velocity < END_VELOCITY:
        s.velocity = END_VELOCITY


@register_jitable
def set_status(s, status):
    s.status, s.pose = status, 0
    animate(s, 0.0)


@register_jitable
def animate(s, dt):
    s.drawn_pose = s.pose
    s.pose_time += dt
    if s.pose_time >= POSE_TIME[s.status]:
        s.pose_time = 0.0
        s.pose = 0 if s.status == JUMPING else 1 - s.pose


@register_jitable
def update_flash(s, dt, points):
    if s.flash_time > FLASH_TIME:
        s.flash_time = 0.0
    elif s.flash_time > 0 or (points % FLASH_POINTS == 0 and points > 0):
        s.flash_time += dt


@register_jitable
def update_night(s, dt, points):
    if s.night_time > NIGHT_TIME:
        s.night_time, s.night = 0.0, 0
    elif s.night_time > 0:
        s.night_time += dt
    elif points % NIGHT_POINTS == 0 and points > 0:
        s.night_time, s.night = s.night_time + dt, 1


@register_jitable
def score(s, reward):
    return float(displayed_score(s))


@register_jitable
def features(s, obs):
    """Write the state as FEATURES numbers: 6 of the T-Rex, 6 of each of the next obstacles, 0 where there is none."""
    obs[0], obs[1], obs[2] = s.speed / MAX_SPEED, (GROUND - s.y) / GROUND, s.velocity / 12
    obs[3], obs[4], obs[5] = s.jumping, s.ducking, s.speed_drop
    k = 6
    for i in range(s.obstacles):
        if k < FEATURES and s.x[i] + s.width[i] >= TREX_X:  # not behind the T-Rex
            obs[k], obs[k + 1], obs[k + 2] = 1.0, (s.x[i] - TREX_X - TREX_LENGTH) / VIEW, s.width[i] / 75
            obs[k + 3], obs[k + 4], obs[k + 5] = HEIGHT[s.kind[i]] / 50, s.top[i] / 150, s.offset[i] / SPEED_OFFSET
            k += 6
    for i in range(k, FEATURES):
        obs[i] = 0.0


def default_pixels(obs: str = "pixels") -> Pixels:
    """Return the default preprocessing: act on every fourth frame, observe the last four of them or one state."""
    return Pixels(skip=4, stack=4) if obs == "pixels" else Pixels(skip=4)


def game(obs: str = "pixels", acceleration: bool = True, reward: str = "survival") -> Game:
    """Return Dino with these options; see the module. Without `acceleration` the speed stays at 6 pixels a frame.

    Raises ValueError for other options.
    """
    allowed = {"obs": (obs, ("pixels", "state")), "reward": (reward, ("survival", "score"))}
    for option, (value, known) in {**allowed, "acceleration": (acceleration, (True, False))}.items():
        if value not in known or type(value) is not type(known[0]):
            raise InvalidValueError(
                f"expected Dino's {option} to be {' or '.join(map(repr, known))}, got {brief(value)}"
            )
    acceleration_rate = ACCELERATION if acceleration else 0.0
    reward_is_score = reward == "score"

    @register_jitable
    def reset_game(s):
        reset(s)
        s.speed += acceleration_rate

    @register_jitable
    def step(s, action):
        if reward_is_score:
            last_score = displayed_score(s)
            hit = step_frame(s, action, acceleration_rate)
            return float(displayed_score(s) - last_score), hit
        hit = step_frame(s, action, acceleration_rate)
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
        compile_seconds=8,
    )
