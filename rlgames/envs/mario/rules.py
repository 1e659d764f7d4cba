"""The rules of the environment, by the memory of the console: position, reward, termination, information.

Addresses, rewards and termination are those of gym-super-mario-bros, the environment of most published results:

    reward = dx + dt - 25 (if Mario dies), clipped to [-15, 15]

dx is the distance in pixels that Mario moved to the right (0 if more than 5 at once: he was moved elsewhere), dt the
change of the game's clock, never positive. After each frame, scenes without control are skipped: deaths, pipes, black
screens, the end of a world.

The functions act on a state `s` with the console's memory, `s.console.ram`: in the compiled engine a record, with
nes-py an object. `make_rules` makes those that emulate frames.
"""

from __future__ import annotations

from collections.abc import Callable

from numba.extending import register_jitable

# Addresses in memory.
STATE = 0x000E  # of Mario
ENEMY_FLAGS, ENEMIES, ENEMY_STATES, NUM_ENEMIES = 0x000F, 0x0016, 0x001E, 5  # 0: none there; kinds; states
ITEM_POINTS, ITEM_POINTS_TIMER = 0x0115, 0x0131  # shown where Mario took an item
FLOATING = 0x001D  # how Mario is in the air; 3: on a pole or a vine
X_PAGE, X = 0x006D, 0x0086
Y_PAGE, Y_ON_SCREEN = 0x00B5, 0x03B8
AREA_TIMER = 0x06DE  # frames until the area changes
SIZE = 0x0756  # 0 small, 1 tall, above: with fire
LIVES, STAGE, WORLD, AREA = 0x075A, 0x075C, 0x075F, 0x0760
MODE = 0x0770  # 2: the end of a world
STAGE_TIMER = 0x07A0  # of the black screen before a stage
SCORE, COINS, CLOCK = 0x07DE, 0x07ED, 0x07F8  # a byte for each digit

LAST_CUTSCENE, DEAD, RETURNING, DYING = 5, 6, 7, 11  # states of Mario; up to 5 and in 7 he is moved by the game
GOOMBA, FIRST_LIFT, BOWSER, FLAGPOLE = 0x06, 0x24, 0x2D, 0x31  # kinds
FALLING, FLAT = 0x20, 4  # states of enemies: a bit, and the state of what was trodden on
POWER_UP_POINTS = 6  # 1,000, for a mushroom, a flower or a star; the mushroom for a life shows "1UP"
ON_POLE, END_OF_WORLD = 3, 2
GAME_OVER = 255  # lives after the last one is lost
START_BUTTON = 8
MAX_SPEED = 5  # pixels a frame
DEATH_REWARD, MAX_REWARD = -25, 15
STATUS = ("small", "tall", "fireball")
INFO = (
    *("coins", "flag_get", "life", "score", "stage", "status", "time", "world", "x_pos", "y_pos"),
    *("kills", "power_ups"),  # in this episode
)
SCORE_INDEX, STAGE_INDEX, WORLD_INDEX, X_INDEX = (INFO.index(key) for key in ("score", "stage", "world", "x_pos"))


# ---- values in memory ----


@register_jitable
def read_digits(ram, address, count):
    """Return a number of the score board."""
    number = 0
    for i in range(count):
        number = 10 * number + int(ram[address + i])
    return number


@register_jitable
def read_clock(ram):
    return read_digits(ram, CLOCK, 3)


@register_jitable
def read_x(ram):
    return 256 * int(ram[X_PAGE]) + int(ram[X])


@register_jitable
def read_y(ram):
    above_screen = ram[Y_PAGE] < 1  # heights continue there
    return 255 - int(ram[Y_ON_SCREEN]) + (255 if above_screen else 0)


@register_jitable
def is_dying(ram):
    return ram[STATE] == DYING or ram[Y_PAGE] > 1  # below the screen


@register_jitable
def is_without_control(ram):
    return ram[STATE] <= LAST_CUTSCENE or ram[STATE] == RETURNING or ram[MODE] == END_OF_WORLD


@register_jitable
def at_goal(ram):
    """Return True while Mario slides down the flagpole or after he has beaten Bowser; on a vine he floats alike."""
    if ram[MODE] == END_OF_WORLD:
        return True
    ends = False
    for i in range(NUM_ENEMIES):
        ends |= ram[ENEMIES + i] == BOWSER or ram[ENEMIES + i] == FLAGPOLE
    return ends and ram[FLOATING] == ON_POLE


@register_jitable
def begin(s):
    """Start an episode where the console is."""
    s.clock, s.x = read_clock(s.console.ram), read_x(s.console.ram)
    s.kills = s.power_ups = 0
    note_events(s)
    describe(s, False)


@register_jitable
def note_events(s):
    """Note which enemies are defeated and whether an item's points are shown; return the kills and items since."""
    ram, kills = s.console.ram, 0
    for i in range(NUM_ENEMIES):
        defeated = ram[ENEMY_FLAGS + i] != 0 and is_defeated(ram[ENEMIES + i], ram[ENEMY_STATES + i])
        kills += 1 if defeated and not s.defeated[i] else 0
        s.defeated[i] = defeated
    points = ram[ITEM_POINTS_TIMER] if ram[ITEM_POINTS] == POWER_UP_POINTS else 0
    power_ups = 1 if points > s.item_points else 0
    s.item_points = points
    return kills, power_ups


@register_jitable
def is_defeated(kind, state):
    """Return True for an enemy that falls off the screen, and for a flat goomba; a turtle in its shell lives on."""
    if kind >= FIRST_LIFT and kind != BOWSER:
        return False
    return state & FALLING != 0 or (kind == GOOMBA and state == FLAT)


@register_jitable
def describe(s, goal):
    """Write the information into `s.info`, in the order of `INFO`."""
    ram, info = s.console.ram, s.info
    info[0] = read_digits(ram, COINS, 2)
    info[1] = goal
    info[2] = ram[LIVES]
    info[3] = read_digits(ram, SCORE, 6)
    info[4] = ram[STAGE] + 1
    info[5] = min(ram[SIZE], len(STATUS) - 1)
    info[6] = s.clock
    info[7] = ram[WORLD] + 1
    info[8] = s.x
    info[9] = read_y(ram)
    info[10], info[11] = s.kills, s.power_ups


@register_jitable
def progress(info):
    """Return a number that grows with world, stage and position, in this order."""
    return (256 * int(info[WORLD_INDEX]) + int(info[STAGE_INDEX]) << 32) + int(info[X_INDEX])


# ---- frames ----


def make_rules(run_frame: Callable) -> tuple[Callable, Callable]:
    """Return the rules that emulate frames, for consoles that `run_frame(s, buttons, *data)` advances by one.

    step(s, buttons, *data)                     a frame, and the scenes without control after it; returns (reward,
                                                terminated)
    skip_title(s, world, stage, area, *data)    from power-on to the first frame with control
    """

    @register_jitable
    def step(s, buttons, *data):
        ram = s.console.ram
        run_frame(s, buttons, *data)
        clock, x = read_clock(ram), read_x(ram)
        moved, ticked = x - s.x, clock - s.clock
        s.clock, s.x = clock, x
        died = is_dying(ram) or ram[STATE] == DEAD
        reward = (moved if abs(moved) <= MAX_SPEED else 0) + min(ticked, 0) + (DEATH_REWARD if died else 0)
        goal = at_goal(ram)
        terminated = ram[LIVES] == GAME_OVER if s.whole_game else died or goal
        kills, power_ups = note_events(s)
        s.kills += kills
        s.power_ups += power_ups
        describe(s, goal)  # before the scenes are skipped
        if not terminated:
            skip_cutscenes(s, *data)
            note_events(s)  # what happens in them does not count
        return max(-MAX_REWARD, min(MAX_REWARD, reward)), terminated

    @register_jitable
    def skip_cutscenes(s, *data):
        ram = s.console.ram
        if is_dying(ram):
            ram[STATE] = DEAD
            run_frame(s, 0, *data)
        if s.whole_game and ram[MODE] == END_OF_WORLD:
            clock = read_clock(ram)
            while read_clock(ram) == clock:
                run_frame(s, 0, *data)
        if 1 < ram[AREA_TIMER] < 255:
            ram[AREA_TIMER] = 1
        while is_without_control(ram):
            ram[STAGE_TIMER] = 0
            run_frame(s, 0, *data)

    @register_jitable
    def skip_title(s, world, stage, area, *data):
        """Press start until the clock runs, with a stage in memory, or the game's own first one if `world` is 0."""
        ram = s.console.ram
        run_frame(s, START_BUTTON, *data)
        run_frame(s, 0, *data)
        while read_clock(ram) == 0:
            run_frame(s, START_BUTTON, *data)
            if world:
                ram[WORLD], ram[STAGE], ram[AREA] = world - 1, stage - 1, area - 1
            run_frame(s, 0, *data)
            ram[STAGE_TIMER] = 0
        clock = read_clock(ram)
        while read_clock(ram) >= clock:
            clock = read_clock(ram)
            run_frame(s, START_BUTTON, *data)
            run_frame(s, 0, *data)

    return step, skip_title


def area_of(world: int, stage: int, lost_levels: bool = False) -> int:
    """Return the game's number of a stage's area; where Mario first walks into a pipe, that is an area of its own."""
    with_walk = (1, 3) if lost_levels else (1, 2, 4, 7)
    return stage + (world in with_walk and stage >= 2)
