"""Observations: the screen in color or grey, cropped and resized; the memory; the tiles around Mario.

A state holds the console and, in `before`, the console a frame earlier. Frames are emulated without drawing; to observe
emulates the last one again, from `before`, and draws it. So an observation depends on the record alone, and records
stay small.
"""

from __future__ import annotations

from math import ceil, floor

import numpy as np
from numba.extending import register_jitable

from rlgames.engine.game import CLOCK
from rlgames.envs.mario.console import CONSOLE, RAM_SIZE, shared_frame
from rlgames.envs.mario.ppu import CANVAS
from rlgames.envs.mario.rules import INFO, NUM_ENEMIES

RECORD = np.dtype(
    [
        *CLOCK,
        ("whole_game", "u1"),  # 0: one stage
        ("clock", "i4"),  # the game's, after the last frame with control
        ("x", "i4"),  # where Mario was then, in pixels from the start of the stage
        ("defeated", "u1", (NUM_ENEMIES,)),  # see `note_events` in `rules`
        ("item_points", "u1"),
        ("kills", "i4"),
        ("power_ups", "i4"),
        ("info", "i4", (len(INFO),)),
        ("furthest", "i8"),  # see `progress` in `rules`
        ("idle_steps", "i4"),  # of the agent, since that was reached
        ("console", CONSOLE),
        ("before", CONSOLE),  # the console before the last frame
    ]
)
PALETTE = np.frombuffer(  # red, green, blue of the NES's 64 colors, as nes-py shows them
    bytes.fromhex("""
        7C7C7C 0000FC 0000BC 4428BC 940084 A80020 A81000 881400 503000 007800 006800 005800 004058 000000 000000 000000
        BCBCBC 0078F8 0058F8 6844FC D800CC E40058 F83800 E45C10 AC7C00 00B800 00A800 00A844 008888 000000 000000 000000
        F8F8F8 3CBCFC 6888FC 9878F8 F878F8 F85898 F87858 FCA044 F8B800 B8F818 58D854 58F898 00E8D8 787878 000000 000000
        FCFCFC A4E4FC B8B8F8 D8B8F8 F8B8F8 F8A4C0 F0D0B0 FCE0A8 F8D878 D8F878 B8F8B8 B8F8D8 00FCFC F8D8F8 000000 000000
    """),
    np.uint8,
).reshape(64, 3)
GREYS = (PALETTE.astype(np.int64) @ (4899, 9617, 1868) + 8192 >> 14).astype(np.uint8)  # OpenCV's luminance
DRAWING = np.dtype([("canvas", CANVAS), ("console", CONSOLE)], align=True)  # memory to draw one picture


emulate = shared_frame.call

# ---- the screen ----


@register_jitable
def draw(s, cartridges, variants, drawings):
    """Draw the last frame of `s` on the canvas of `drawings[0]`, in the levels of the variant."""
    drawing = drawings[0]
    for i in range(64):
        drawing.canvas.levels[i] = variants[0].levels[i]
    drawing.console = s.before
    emulate(drawing.console, cartridges[0], drawing.canvas, 1, s.console.buttons)


@register_jitable
def observe_color(s, obs, cartridges, starts, variants, blank):
    drawings = np.empty_like(blank)
    draw(s, cartridges, variants, drawings)
    copy_colors(drawings, variants[0].top, variants[0].left, obs)


@register_jitable
def copy_colors(drawings, top, left, obs):
    pixels = drawings[0].canvas.rows.view(np.uint8)
    height, width, _ = obs.shape
    for y in range(height):
        for x in range(width):
            color = pixels[top + y, left + x]
            obs[y, x, 0], obs[y, x, 1], obs[y, x, 2] = PALETTE[color, 0], PALETTE[color, 1], PALETTE[color, 2]


@register_jitable
def observe_grey(s, obs, cartridges, starts, variants, blank):
    drawings = np.empty_like(blank)
    draw(s, cartridges, variants, drawings)
    copy_levels(drawings, variants[0].top, variants[0].left, obs)


@register_jitable
def copy_levels(drawings, top, left, obs):
    pixels = drawings[0].canvas.rows.view(np.uint8)
    height, width = obs.shape
    for y in range(height):
        for x in range(width):
            obs[y, x] = pixels[top + y, left + x]


# ---- area resize, bit for bit cv2.INTER_AREA ----


def area_weights(size: int, new_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what each of `new_size` pixels is made of: its first pixel of `size`, and weights of that and the next.

    Indices are int64 (new_size,), weights float32 (new_size, n), 0 where a pixel needs fewer. A new pixel covers
    size / new_size old ones, the first and the last of them in part; parts below a thousandth are left out.
    """
    scale = size / new_size
    cells: list[dict[int, float]] = []
    for i in range(new_size):
        start = i * scale
        end, covered = start + scale, min(scale, size - start)
        last = min(floor(end), size - 1)
        first = min(ceil(start), last)
        cell = dict.fromkeys(range(first, last), 1.0 / covered)
        if first - start > 1e-3:
            cell[first - 1] = (first - start) / covered
        if end - last > 1e-3:
            cell[last] = min(end - last, 1.0, covered) / covered
        cells.append(cell)
    starts = np.array([min(cell) for cell in cells])
    weights = np.zeros((new_size, max(len(cell) for cell in cells)), np.float32)
    for i, cell in enumerate(cells):
        for j, weight in cell.items():
            weights[i, j - starts[i]] = weight
    return starts, weights


def resizes_exactly(size: tuple[int, int], new_size: tuple[int, int]) -> bool:
    """Return True for sizes that OpenCV resizes by these weights: smaller ones, not both by whole factors."""
    (height, width), (new_height, new_width) = size, new_size
    smaller = new_height <= height and new_width <= width
    return smaller and not (height % new_height == 0 and width % new_width == 0)


@register_jitable
def observe_resized(s, obs, cartridges, starts, variants, blank, rows, row_weights, columns, column_weights):
    """Observe the screen in grey, resized."""
    drawings = np.empty_like(blank)
    draw(s, cartridges, variants, drawings)
    resize(drawings, variants[0], obs, rows, row_weights, columns, column_weights)


@register_jitable
def resize(drawings, variant, obs, rows, row_weights, columns, column_weights):
    """Add in OpenCV's order, in float32: the columns of a row, then the rows."""
    pixels = drawings[0].canvas.rows.view(np.uint8)
    height, width = obs.shape
    num_rows, num_columns = row_weights.shape[1], column_weights.shape[1]
    line = np.zeros(variant.width + num_columns, np.float32)
    narrow, total = np.zeros(width, np.float32), np.zeros(width, np.float32)
    done = -1  # the row that is in `narrow`
    for i in range(height):
        for k in range(num_rows):
            weight = row_weights[i, k]
            if weight == 0:
                continue
            if rows[i] + k != done:
                done = rows[i] + k
                for x in range(variant.width):
                    line[x] = pixels[variant.top + done, variant.left + x]
                for j in range(width):
                    cell = np.float32(0)
                    for m in range(num_columns):
                        cell += line[columns[j] + m] * column_weights[j, m]
                    narrow[j] = cell
            if k == 0:
                for j in range(width):
                    total[j] = weight * narrow[j]
            else:
                for j in range(width):
                    total[j] += weight * narrow[j]
        for j in range(width):
            obs[i, j] = np.uint8(np.rint(total[j]))


# ---- the memory ----


@register_jitable
def observe_ram(s, obs, cartridges, starts, variants, blank):
    for i in range(RAM_SIZE):
        obs[i] = s.console.ram[i]
