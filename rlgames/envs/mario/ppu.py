"""The picture unit of the NES: name tables, sprites, scrolling, and pictures, drawn only when they are wanted.

Time is counted in dots, three a CPU cycle, from the start of the frame that is emulated. A line has 341 dots, a picture
262 lines: one before the picture, 240 of the picture, one after, and 20 of vertical blank. `catch_up` computes the dots
up to one of them. An undrawn line costs next to nothing: only the scroll position and sprite zero matter to the game.

A frame is as long as a picture and a dot, and neither begins where the other does. So the screen at the end of a frame
shows the last lines of one picture below the first lines of the next, and all of it was drawn within the frame.

Names of registers and the arithmetic of scrolling: https://www.nesdev.org/wiki/PPU_scrolling. Where this differs from
the chip it follows nes-py: the sprites of line 0 are those found on the last line of the picture before.
"""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

HEIGHT, WIDTH = 240, 256
LINE, LINES = 341, 262  # dots of a line, lines of a picture
INCREMENT_Y, COPY_X = 256, 257  # dots of a line at which the scroll position moves
FIRST_COPY_Y, LAST_COPY_Y = 280, 303  # dots of the line before the picture at which its row is set
MAX_SPRITES = 8  # of a line

FIELDS = [
    ("picture_dot", "i4"),  # dot of this frame at which the picture begins
    ("first_line", "i4"),  # dots of its first line: 341, or 340 in every other picture
    ("dot", "i4"),  # the next dot to compute
    ("odd_picture", "u1"),
    ("v", "u2"),  # the address in video memory; while drawing, the scroll position
    ("t", "u2"),  # the scroll position of the next picture
    ("fine_x", "u1"),  # pixels scrolled within a tile
    ("first_write", "u1"),  # 1: the next write to scroll or address is the first of two
    ("vblank", "u1"),
    ("sprite_zero_hit", "u1"),
    ("nmi", "u1"),  # 1: vertical blank interrupts the CPU
    ("tall_sprites", "u1"),  # 1: 8 x 16 pixels
    ("background_table", "u2"),  # address of the patterns
    ("sprite_table", "u2"),
    ("increment", "u1"),  # of `v` after an access
    ("hide_left_background", "u1"),  # in the first 8 columns
    ("hide_left_sprites", "u1"),
    ("show_background", "u1"),
    ("show_sprites", "u1"),
    ("read_buffer", "u1"),
    ("oam_address", "u1"),
    ("num_carried", "u1"),  # sprites found on the last line of the picture before
    ("carried", "u1", (MAX_SPRITES,)),
    ("palette", "u1", (32,)),
    ("oam", "u1", (256,)),  # 64 sprites: row above, tile, attributes, column
    ("vram", "u1", (0x800,)),  # two name tables
]
CANVAS = np.dtype(  # a picture, and what its painter needs
    [
        ("rows", "u8", (HEIGHT, WIDTH // 8)),  # 8 pixels a word
        ("row", "u8", (WIDTH // 8,)),  # one row, before a part of it is copied
        ("opaque", "u8", (WIDTH // 8,)),  # 0xFF where the background of this row is, 0 where it is transparent
        ("colors", "u8", (16,)),  # of the background, repeated in all bytes of a word; see `paint_background`
        ("levels", "u1", (64,)),  # the byte that is painted for each of the NES's colors
        ("sprites", "u1", (MAX_SPRITES,)),
    ],
    align=True,
)
EVERY_BYTE = np.uint64(0x0101010101010101)
SPREAD = np.array(  # the bits of a byte, each as a byte of a word: 0 or 0xFF; the leftmost pixel first
    [sum(0xFF << 8 * j for j in range(8) if byte >> 7 - j & 1) for byte in range(256)], np.uint64
)


# ---- video memory ----


@register_jitable
def table_address(address):
    """Return the place in `vram` of an address in a name table; the cartridge mirrors them vertically."""
    return address & 0x7FF if address < 0x3000 else 0x400 | address & 0x3FF  # nes-py takes the mirror for table 3


@register_jitable
def read_vram(s, cartridge, address):
    if address < 0x2000:
        return np.int64(cartridge.chr[address])
    if address < 0x3EFF:
        return np.int64(s.vram[table_address(address)])
    if address < 0x3FFF:
        return np.int64(s.palette[address & 0x1F])
    return np.int64(0)


@register_jitable
def write_vram(s, address, value):
    if 0x2000 <= address < 0x3EFF:
        s.vram[table_address(address)] = value
    elif 0x3EFF <= address < 0x3FFF:
        s.palette[0 if address == 0x3F10 else address & 0x1F] = value


# ---- the scroll position, bits yyy NN YYYYY XXXXX: row within a tile, name table, tile's row, tile's column ----


@register_jitable
def move_right(v, tiles):
    """Return `v` so many tiles to the right, -32 to 32, where the table beside continues."""
    column = (v & 0x1F) + tiles
    return (v & ~0x1F | column & 0x1F) ^ (column & 0x20) << 5


@register_jitable
def move_down(v):
    if v & 0x7000 != 0x7000:
        return v + 0x1000
    v &= ~0x7000
    row = v >> 5 & 0x1F
    if row == 29:
        return v & ~0x3E0 ^ 0x800
    return v & ~0x3E0 | (row + 1 & 0x1F) << 5


@register_jitable
def copy_x(v, t):
    return v & ~0x41F | t & 0x41F


@register_jitable
def copy_y(v, t):
    return v & ~0x7BE0 | t & 0x7BE0


# ---- patterns ----


@register_jitable
def background_pattern(s, v):
    """Return the address of the pattern's low bits; the high bits are 8 bytes further."""
    return np.int64(s.vram[v & 0x7FF]) * 16 + (v >> 12 & 7) + np.int64(s.background_table)


@register_jitable
def background_group(s, v):
    """Return the first of the four colors of a tile in the palette."""
    attributes = np.int64(s.vram[0x3C0 | v & 0x400 | v >> 4 & 0x38 | v >> 2 & 7])
    return (attributes >> (v >> 4 & 4 | v & 2) & 3) << 2


@register_jitable
def sprite_bits(s, cartridge, i, y):
    """Return the low and the high bits of the pixels of sprite `i` on line `y`."""
    height = 16 if s.tall_sprites else 8
    tile, attributes = np.int64(s.oam[4 * i + 1]), np.int64(s.oam[4 * i + 2])
    row = y - (np.int64(s.oam[4 * i]) + 1 & 0xFF)
    row = row % height if row >= 0 else -(-row % height)  # C's remainder: in nes-py, line 0 can be above the sprite
    if attributes & 0x80:
        row ^= height - 1
    if s.tall_sprites:
        address = (tile >> 1) * 32 + (row & 7 | (row & 8) << 1) | (tile & 1) << 12
    else:
        address = tile * 16 + row + np.int64(s.sprite_table) & 0xFFFF
    low = np.int64(cartridge.chr[address]) if address < 0x2000 else np.int64(0)
    high = np.int64(cartridge.chr[address + 8]) if address + 8 < 0x2000 else np.int64(0)
    return low, high


@register_jitable
def find_sprites(s, y, sprites):
    """Write the sprites of line `y` + 1 into `sprites`; return their number, at most 8."""
    height, n = 16 if s.tall_sprites else 8, 0
    for i in range(s.oam_address >> 2, 64):
        if 0 <= y - np.int64(s.oam[4 * i]) < height:
            sprites[n] = i
            n += 1
            if n == MAX_SPRITES:
                break
    return n


# ---- sprite zero ----


@register_jitable
def has_sprite_zero(s, y):
    if y == 0:
        return s.num_carried > 0 and s.carried[0] == 0
    return s.oam_address < 4 and 0 <= y - 1 - np.int64(s.oam[0]) < (16 if s.tall_sprites else 8)


@register_jitable
def hit_column(s, cartridge, v, y, first, end):
    """Return the column of [first, end) where sprite 0 first meets the background, or -1; `v` is at `first`."""
    left = np.int64(s.oam[3])
    start, stop = max(first, left), min(end, left + 8)
    if s.hide_left_background or s.hide_left_sprites:
        start = max(start, 8)
    if start >= stop:
        return -1
    low, high = sprite_bits(s, cartridge, 0, y)
    bits = low | high
    if bits == 0:
        return -1
    mirror = 0 if s.oam[2] & 0x40 else 7
    fine_x = np.int64(s.fine_x)
    for x in range(start, stop):
        if bits >> (x - left ^ mirror) & 1:
            address = background_pattern(s, move_right(v, (fine_x + x >> 3) - (fine_x + first >> 3)))
            background = np.int64(cartridge.chr[address]) | np.int64(cartridge.chr[address + 8])
            if background >> (7 - (fine_x + x & 7)) & 1:
                return x
    return -1


# ---- painting ----


@register_jitable
def paint(s, cartridge, canvas, v, y, first, end):
    """Paint the columns [first, end) of line `y`; `v` is at `first`."""
    if first == 0 and end == WIDTH:
        paint_line(s, cartridge, canvas, canvas.rows[y], v, y)
    else:  # as part of a whole line
        fine_x = np.int64(s.fine_x)
        paint_line(s, cartridge, canvas, canvas.row, move_right(v, -(fine_x + first >> 3)), y)
        pixels, row = canvas.rows[y].view(np.uint8), canvas.row.view(np.uint8)
        for x in range(first, end):
            pixels[x] = row[x]


@register_jitable
def paint_line(s, cartridge, canvas, row, v, y):
    if s.show_background:
        paint_background(s, cartridge, canvas, row, v)
    else:
        backdrop = level(s, canvas, 0)
        for k in range(WIDTH // 8):
            row[k], canvas.opaque[k] = backdrop, np.uint64(0)
    if s.show_sprites:
        paint_sprites(s, cartridge, canvas, row, y)


@register_jitable
def level(s, canvas, i):
    """Return the byte for color `i` of the palette, in all bytes of a word."""
    return np.uint64(canvas.levels[s.palette[i] & 63]) * EVERY_BYTE


@register_jitable
def paint_background(s, cartridge, canvas, row, v):
    """Paint 33 tiles, a word each, shifted by the fine scroll.

    A pixel's color is chosen by two bits. As words of bytes 0 or 0xFF these choose by `and` and `xor` alone: with c0 to
    c3 the colors of a group, the pixels are c0 ^ low & (c0 ^ c1) ^ high & (c0 ^ c2) ^ low & high & (c0 ^ c1 ^ c2 ^ c3).
    """
    colors, opaque = canvas.colors, canvas.opaque
    c0 = level(s, canvas, 0)
    for group in range(0, 16, 4):
        c1, c2, c3 = level(s, canvas, group + 1), level(s, canvas, group + 2), level(s, canvas, group + 3)
        colors[group], colors[group + 1], colors[group + 2] = c0 ^ c1, c0 ^ c2, c0 ^ c1 ^ c2 ^ c3
    fine_x = np.int64(s.fine_x)
    left, right = np.uint64(8 * fine_x), np.uint64(63 - 8 * fine_x)  # and 1 more: shifts by 64 are undefined
    last, last_bits = np.uint64(0), np.uint64(0)
    for k in range(WIDTH // 8 + 1):
        address = background_pattern(s, v)
        low, high = SPREAD[cartridge.chr[address]], SPREAD[cartridge.chr[address + 8]]
        group = background_group(s, v)
        pixels = c0 ^ (low & colors[group]) ^ (high & colors[group + 1]) ^ (low & high & colors[group + 2])
        bits = low | high
        if k:
            row[k - 1] = (last >> left) | ((pixels << right) << np.uint64(1))
            opaque[k - 1] = (last_bits >> left) | ((bits << right) << np.uint64(1))
        last, last_bits = pixels, bits
        v = move_right(v, 1)
    if s.hide_left_background:
        row[0], opaque[0] = c0, np.uint64(0)


@register_jitable
def paint_sprites(s, cartridge, canvas, row, y):
    """Paint the sprites of a line. Of several at a pixel the first counts, even where it is behind the background."""
    if y == 0:
        n, sprites = np.int64(s.num_carried), s.carried
    else:
        n, sprites = find_sprites(s, y - 1, canvas.sprites), canvas.sprites
    if n == 0:
        return
    pixels, opaque = row.view(np.uint8), canvas.opaque.view(np.uint8)
    for k in range(n):
        i = np.int64(sprites[k])
        low, high = sprite_bits(s, cartridge, i, y)
        left, attributes = np.int64(s.oam[4 * i + 3]), np.int64(s.oam[4 * i + 2])
        mirror = 0 if attributes & 0x40 else 7
        group = 0x10 | (attributes & 3) << 2
        for x in range(max(left, 8) if s.hide_left_sprites else left, min(left + 8, WIDTH)):
            bit = x - left ^ mirror
            color = low >> bit & 1 | (high >> bit & 1) << 1
            if color and opaque[x] in (0, 0xFF):  # no sprite is here yet
                if opaque[x] == 0 or not attributes & 0x20:
                    pixels[x] = canvas.levels[s.palette[group | color] & 63]
                opaque[x] = 1


# ---- time ----


@register_jitable
def catch_up(s, cartridge, canvas, drawing, until, stop_at_hit):
    """Compute the dots before `until`; with `stop_at_hit` stop after the one at which sprite zero is hit."""
    dot, start, first_line = np.int64(s.dot), np.int64(s.picture_dot), np.int64(s.first_line)
    v, t, fine_x = np.int64(s.v), np.int64(s.t), np.int64(s.fine_x)
    rendering = s.show_background and s.show_sprites
    while dot < until:
        x = dot - start
        if x < first_line:
            end = min(until - start, first_line)
            if rendering and x <= COPY_X < end:
                v = copy_x(v, t)
            if rendering and x <= LAST_COPY_Y and end > FIRST_COPY_Y:
                v = copy_y(v, t)
            dot = start + end
            continue
        y = (x - first_line) // LINE
        if y >= HEIGHT:
            dot = until
            break
        line = start + first_line + LINE * y
        x, end, hit = dot - line, min(until - line, LINE), False
        if x < WIDTH:
            last = min(end, WIDTH)
            if rendering and not s.sprite_zero_hit and has_sprite_zero(s, y):
                column = hit_column(s, cartridge, v, y, x, last)
                if column >= 0:
                    s.sprite_zero_hit = 1
                    if stop_at_hit:
                        hit, last, end = True, column + 1, column + 1
            if drawing:
                paint(s, cartridge, canvas, v, y, x, last)
            if s.show_background:
                v = move_right(v, (fine_x + last >> 3) - (fine_x + x >> 3))
        dot = line + end
        if hit:
            break
        if x <= INCREMENT_Y < end and s.show_background:
            v = move_down(v)
        if x <= COPY_X < end and rendering:
            v = copy_x(v, t)
        if y == HEIGHT - 1 and end == LINE:
            s.num_carried = find_sprites(s, y, s.carried)
    s.dot, s.v = dot, v
