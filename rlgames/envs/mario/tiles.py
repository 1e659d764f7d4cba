"""The cells around Mario, from the memory of the console: an observation of 13 x 16 numbers.

The game keeps the two screens around Mario as blocks of 16 x 16 pixels, in 13 rows below the score board, and the place
and the kind of five enemies, an item, and the hammers in the air. Names in comments are those of doppelganger's
disassembly (https://gist.github.com/1wErt3r/4048722).
"""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from rlgames.envs.mario.rules import (
    BOWSER,
    ENEMIES,
    ENEMY_FLAGS,
    FIRST_LIFT,
    NUM_ENEMIES,
    X_PAGE,
    Y_PAGE,
    X,
    read_x,
)

ROWS, COLUMNS = 13, 16
BEHIND = 6  # columns to the left of Mario's
EMPTY, SOLID, ITEM, ENEMY, MARIO = 0, 64, 128, 192, 255  # spread over a byte, as networks expect of pictures

BLOCKS, PAGE, NUM_PAGES = 0x0500, ROWS * 16, 2  # Block_Buffer: a page has 13 rows of 16 blocks
FIRST_CLIMBED = np.array([0x24, 0x6D, 0x8A, 0xC6], np.uint8)  # ClimbMTileUpperExt: poles and vines, by block >> 6
NO_BLOCK, HIDDEN, ITEMS = 0, (0x5F, 0x60), (0xC2, 0xC3, 0xC5)  # blocks that appear when hit; coins and the axe
LEFT_PAGE, LEFT = 0x071A, 0x071C  # ScreenLeft: the screen does not scroll back
Y = 0x00CE  # Player_Y_Position; the addresses of objects are Mario's, and follow from there: 1 to 5 enemies, 6 an item
ITEM_SLOT, POWER_UP = 5, 0x2E
LAST_LIFT = 0x2B  # kinds below the first lift are enemies
HAMMERS, NUM_HAMMERS, HAMMER_FLAG = 0x002A, 9, 0x80  # Misc_State
HAMMER_PAGE, HAMMER_X, HAMMER_Y = 0x007A, 0x0093, 0x00DB
HEADROOM = 32  # pixels of the score board, above the first row


@register_jitable
def observe_tiles(s, obs, *data):
    """Write the cells: column 6 is Mario's, the rows are those of the screen; what is left of the screen is solid."""
    ram = s.console.ram
    first = (read_x(ram) + 8 >> 4) - BEHIND  # column of the stage
    left = 256 * int(ram[LEFT_PAGE]) + int(ram[LEFT]) >> 4
    for column in range(COLUMNS):
        for row in range(ROWS):
            obs[row, column] = SOLID if first + column < left else block_level(ram, row, first + column)
    for i in range(NUM_ENEMIES + 1):
        if ram[ENEMY_FLAGS + i]:
            mark_object(ram, obs, i, first)
    for i in range(NUM_HAMMERS):
        if ram[HAMMERS + i] & HAMMER_FLAG:
            x = 256 * int(ram[HAMMER_PAGE + i]) + int(ram[HAMMER_X + i])
            mark(obs, int(ram[HAMMER_Y + i]), (x + 8 >> 4) - first, ENEMY)
    if ram[Y_PAGE] == 1:  # on the screen
        mark(obs, int(ram[Y]) + 16, BEHIND, MARIO)


@register_jitable
def block_level(ram, row, column):
    block = ram[BLOCKS + PAGE * (column >> 4 & NUM_PAGES - 1) + 16 * row + (column & 15)]
    if block in ITEMS:
        return ITEM
    passable = block == NO_BLOCK or block in HIDDEN or block >= FIRST_CLIMBED[block >> 6]
    return EMPTY if passable else SOLID


@register_jitable
def mark_object(ram, obs, i, first):
    """Mark enemy `i`, the item or a lift, which is two or three cells wide."""
    kind, x = ram[ENEMIES + i], 256 * int(ram[X_PAGE + 1 + i]) + int(ram[X + 1 + i])
    row_pixel, column = int(ram[Y + 1 + i]), (x + 8 >> 4) - first
    if ram[Y_PAGE + 1 + i] != 1:
        return
    if i == ITEM_SLOT:
        if kind == POWER_UP:
            mark(obs, row_pixel + 8, column, ITEM)
    elif FIRST_LIFT <= kind <= LAST_LIFT:
        mark(obs, row_pixel, column, SOLID)
        mark(obs, row_pixel, column + 1, SOLID)
    elif kind < FIRST_LIFT or kind == BOWSER:
        mark(obs, row_pixel + 8, column, ENEMY)


@register_jitable
def mark(obs, y, column, level):
    """Mark the cell of a column that contains the pixels around the row `y` + 8 of the screen."""
    row = y + 8 - HEADROOM >> 4
    if 0 <= row < ROWS and 0 <= column < COLUMNS:
        obs[row, column] = level
