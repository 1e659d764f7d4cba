"""Super Mario Bros. on our own NES, as a game of the compiled engine.

The rules are those of `rules`, compiled on a record with the console in it. All variants share the compiled code: ROM,
starts of the stages, buttons of the actions and the like are data.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
from gymnasium.spaces import Box
from numba.extending import register_jitable

from rlgames.engine.game import Game
from rlgames.engine.loops import compile_cached
from rlgames.engine.rng import below
from rlgames.envs.mario.console import CONSOLE, RAM_SIZE, new_console, shared_frame, switch_on
from rlgames.envs.mario.game import MarioGame
from rlgames.envs.mario.picture import (
    DRAWING,
    GREYS,
    RECORD,
    area_weights,
    observe_color,
    observe_grey,
    observe_ram,
    observe_resized,
)
from rlgames.envs.mario.ppu import HEIGHT, WIDTH
from rlgames.envs.mario.rules import INFO, SCORE_INDEX, STATUS, area_of, begin, make_rules, progress
from rlgames.envs.mario.tiles import COLUMNS as TILE_COLUMNS
from rlgames.envs.mario.tiles import ROWS as TILE_ROWS
from rlgames.envs.mario.tiles import observe_tiles
from rlgames.wrappers.pixels import Pixels

SCREEN = Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
NO_LIMIT = 2**31 - 1  # frames: the game's own clock ends an episode
START = np.dtype([("whole_game", "u1"), ("console", CONSOLE), ("before", CONSOLE)])
VARIANT = np.dtype(
    [
        ("buttons", "u1", (256,)),  # of each action
        ("patience", "i8"),  # steps of the agent, 0: no limit
        ("noop_max", "i8"),  # frames
        ("top", "i4"),  # of the screen, where the observation begins
        ("left", "i4"),
        ("width", "i4"),  # before it is resized
        ("levels", "u1", (64,)),  # in which the NES's colors are drawn
    ]
)
INFO_VALUES = dict.fromkeys(INFO) | {
    "flag_get": lambda numbers: numbers != 0,
    "status": lambda numbers: np.array(STATUS, object)[numbers],
}


emulate = shared_frame.call


# ---- the rules on a record ----


@register_jitable
def run_frame(s, buttons, cartridges, blank):
    s.before = s.console
    if emulate(s.console, cartridges[0], blank[0].canvas, 0, buttons) == 0:
        raise RuntimeError("Mario's NES met an opcode that the 6502 does not have")


step_with_rules, skip_title = make_rules(run_frame)


@register_jitable
def reset(s, cartridges, starts, variants, blank, *sizes):
    start = starts[below(s, len(starts)) if len(starts) > 1 else 0]
    s.whole_game, s.console, s.before = start.whole_game, start.console, start.before
    begin(s)
    if variants[0].noop_max > 0:
        for _ in range(below(s, variants[0].noop_max + 1)):
            step_with_rules(s, 0, cartridges, blank)
        begin(s)
    s.furthest, s.idle_steps = progress(s.info), 0


@register_jitable
def step(s, action, cartridges, starts, variants, blank, *sizes):
    return step_with_rules(s, variants[0].buttons[action], cartridges, blank)


@register_jitable
def describe(s, info, *data):
    for i in range(len(s.info)):
        info[i] = s.info[i]


@register_jitable
def score(s, reward):
    return float(s.info[SCORE_INDEX])


@register_jitable
def give_up(s, cartridges, starts, variants, *data):
    """Return True after `patience` steps in which Mario got no further."""
    reached = progress(s.info)
    s.idle_steps = 0 if reached > s.furthest else s.idle_steps + 1
    s.furthest = max(reached, s.furthest)
    return 0 < variants[0].patience <= s.idle_steps


# ---- the game ----


@partial(compile_cached, "Mario")
def start_stage(starts, cartridges, blank, world, stage, area):
    """Switch on the console of `starts[0]` and play to the first frame with control."""
    s = starts[0]
    switch_on(s.console, cartridges[0])
    skip_title(s, world, stage, area, cartridges, blank)


@lru_cache
def make_starts(game: MarioGame) -> np.ndarray:
    """Return the first frame of each of the game's stages, or of the whole game, (n,) of `START`."""
    shared_frame.load()
    starts = np.zeros(len(game.targets) or 1, START)
    starts["whole_game"] = not game.targets
    starts["console"] = new_console()
    for i, (world, stage) in enumerate(game.targets or [(0, 0)]):
        area = area_of(world, stage, game.lost_levels)
        start_stage(starts[i : i + 1], game.cartridge(), np.zeros(1, DRAWING), world, stage, area)
    starts.flags.writeable = False
    return starts


@lru_cache
def compiled_game(
    game: MarioGame,
    grey: bool = False,
    crop: tuple[int, int, int, int] | None = None,
    size: tuple[int, int] | None = None,
) -> Game:
    """Return the game of the compiled engine, observed as `game.obs` says; pictures also grey, cropped, resized.

    `size` is for grey pictures, and one of those that `resizes_exactly`. Raises ValueError for a crop outside of the
    screen.
    """
    Pixels(crop=crop).check(SCREEN)
    top, bottom, left, right = crop or (0, HEIGHT, 0, WIDTH)
    variant = np.zeros(1, VARIANT)
    variant["buttons"][0, : len(game.codes)] = game.codes
    variant["patience"] = game.patience or 0
    variant["noop_max"] = game.noop_max
    variant["top"], variant["left"], variant["width"] = top, left, right - left
    variant["levels"] = GREYS if grey else np.arange(64)
    variant.flags.writeable = False
    data = game.cartridge(), make_starts(game), variant, np.zeros(1, DRAWING)
    height, width = size or (bottom - top, right - left)
    if game.obs == "ram":
        observe, space = observe_ram, Box(0, 255, (RAM_SIZE,), np.uint8)
    elif game.obs == "tiles":
        observe, space = observe_tiles, Box(0, 255, (TILE_ROWS, TILE_COLUMNS), np.uint8)
    elif size:
        observe, space = observe_resized, Box(0, 255, size, np.uint8)
        data += *area_weights(bottom - top, height), *area_weights(right - left, width)
    else:
        observe = observe_grey if grey else observe_color
        space = Box(0, 255, (height, width) if grey else (height, width, 3), np.uint8)

    return Game(
        name=game.name,
        record=RECORD,
        observation=space,
        actions=game.actions,
        max_frames=NO_LIMIT,
        reset=reset,
        step=step,
        observe=observe,
        render=partial(render, game),
        fps=game.fps,
        score=score,
        info=INFO_VALUES,
        describe=describe,
        give_up=give_up,
        data=data,
        score_key=game.score_key,
        keys=game.keys,
        envs_per_thread=4,
        maker=partial(compiled_game, game, grey, crop, size),
    )


def render(game: MarioGame, record: np.void) -> np.ndarray:
    """Return the whole screen, (240, 256, 3) uint8."""
    screen = compiled_game(replace(game, obs="pixels"))
    obs = np.empty((1, HEIGHT, WIDTH, 3), np.uint8)
    screen.loops.reset(np.array([record], RECORD), np.zeros(1, np.bool_), obs, *screen.data)
    return obs[0]
