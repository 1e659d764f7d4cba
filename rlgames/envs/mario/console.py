"""The NES: processor, picture unit, memory and one controller, a frame at a time.

A console is a record. It equals nes-py's after every frame, byte by byte and pixel by pixel, as tests and
`benchmarks/mario_differences.py` compare; timing is nes-py's, where that is not the chip's. There is no sound: nes-py
has none, and the game does not listen.

A frame has 29,781 CPU cycles of three dots each, and the dots come first: an instruction that begins at cycle t sees
all dots up to 3t + 2. The picture unit is behind, and catches up when the CPU asks for it; the CPU runs from one event
of the picture unit to the next.
"""

from __future__ import annotations

import numpy as np
from numba import from_dtype, types
from numba.extending import register_jitable

from rlgames.engine.loops import SharedFunction
from rlgames.envs.mario.cartridge import CARTRIDGE
from rlgames.envs.mario.cpu import DONE, INSTRUCTIONS, OTHER, READ, write_interpreter
from rlgames.envs.mario.ppu import CANVAS, FIELDS, LINE, LINES, catch_up, read_vram, write_vram

CYCLES = 29_781  # of a frame
RAM_SIZE = 0x800  # bytes
CONSOLE = np.dtype(
    [
        # the CPU
        ("cycle", "i4"),  # of this frame, at which the next instruction begins
        ("pc", "u2"),
        ("a", "u1"),
        ("x", "u1"),
        ("y", "u1"),
        ("sp", "u1"),
        ("flags", "u1"),
        ("bus_address", "u2"),  # of an access that the interpreter leaves to the console
        ("bus_value", "u1"),
        ("bus_cycle", "i4"),
        # the console
        ("event", "u1"),  # the next one of the picture unit
        ("odd_frame", "u1"),  # 1 after an odd number of frames
        ("buttons", "u1"),  # that are held: a sum of `BUTTONS` in `game`
        ("shifted", "u1"),  # buttons that the game has not read yet
        ("strobe", "u1"),  # 1: the controller shows its first button
        *FIELDS,
        ("ram", "u1", (RAM_SIZE,)),
    ]
)
PICTURE_BEGINS, FIRST_LINE_ENDS, VBLANK_BEGINS = range(3)  # events
RESET_VECTOR, NMI_VECTOR = 0x7FFC, 0x7FFA  # in the program
STATUS, OAM_DMA, CONTROLLER, CONTROLLER_2 = 0x2002, 0x4014, 0x4016, 0x4017
NO_BYTE = -1  # no latch
BNE, BEQ = 0xD0, 0xF0

# By how often the game executes them; 90 make 99.9% of what it executes. The others have a loop of their own, since
# the compiler's time grows with the square of a loop's length.
FREQUENT = bytes.fromhex(
    "D0 C8 85 4A F0 C9 AD A5 99 BD 20 60 10 29 18 88 90 CA B5 A9 8D 68 B9 0A B1 48 A8 B0 69 9D 05 4C"
    "E8 A0 A4 A6 AC 86 38 E0 2A 79 A2 F5 C0 C5 30 98 BE 65 84 95 E9 F9 AA E6 6A AE 91 46 75 ED C6 7E"
)
interpret = register_jitable(write_interpreter(FREQUENT))
interpret_rare = register_jitable(write_interpreter(INSTRUCTIONS.keys() - set(FREQUENT)))


def new_console() -> np.ndarray:
    """Return one console that was never switched on, a record of `CONSOLE`."""
    console = np.zeros(1, CONSOLE)
    console["strobe"] = 1
    return console


@register_jitable
def switch_on(s, cartridge):
    """Press reset, as nes-py does: memory, sprites and palette stay, and the picture is switched on."""
    s.pc = np.int64(cartridge.prg[RESET_VECTOR]) | np.int64(cartridge.prg[RESET_VECTOR + 1]) << 8
    s.cycle, s.a, s.x, s.y, s.sp, s.flags, s.odd_frame = 0, 0, 0, 0, 0xFD, 0x34, 0
    s.picture_dot, s.first_line, s.dot, s.odd_picture, s.event = 1, LINE, 1, 0, PICTURE_BEGINS
    s.v, s.t, s.fine_x, s.first_write, s.vblank, s.nmi, s.num_carried = 0, 0, 0, 1, 0, 0, 0
    s.tall_sprites, s.background_table, s.sprite_table, s.increment, s.oam_address = 0, 0, 0, 1, 0
    s.show_background, s.show_sprites = 1, 1


@register_jitable
def event_dot(s):
    """Return the dot of the next event."""
    dot = np.int64(s.picture_dot)
    if s.event == FIRST_LINE_ENDS:
        return dot + LINE - 2
    if s.event == VBLANK_BEGINS:
        return dot + np.int64(s.first_line) + LINE * (LINES - 21)
    return dot


@register_jitable
def handle_event(s, cartridge):
    if s.event == PICTURE_BEGINS:
        s.vblank, s.sprite_zero_hit, s.event = 0, 0, FIRST_LINE_ENDS
    elif s.event == FIRST_LINE_ENDS:
        if s.odd_picture and s.show_background and s.show_sprites:
            s.first_line = LINE - 1
        s.event = VBLANK_BEGINS
    else:
        s.vblank = 1
        if s.nmi:
            interrupt(s, cartridge)
        s.picture_dot += np.int64(s.first_line) + LINE * (LINES - 1)
        s.dot = s.picture_dot  # nothing happens before
        s.first_line = LINE
        s.odd_picture ^= 1
        s.event = PICTURE_BEGINS


@register_jitable
def interrupt(s, cartridge):
    sp = np.int64(s.sp)
    s.ram[0x100 | sp] = s.pc >> 8
    s.ram[0x100 | sp - 1 & 0xFF] = s.pc & 0xFF
    s.ram[0x100 | sp - 2 & 0xFF] = s.flags | 0x20
    s.sp = sp - 3 & 0xFF
    s.flags |= 0x20
    s.pc = np.int64(cartridge.prg[NMI_VECTOR]) | np.int64(cartridge.prg[NMI_VECTOR + 1]) << 8
    s.cycle += 7


# ---- the bus ----


@register_jitable
def run_cpu(s, cartridge, canvas, drawing, stop, event):
    """Execute the instructions that begin before the cycle `stop`; the next event is at cycle `event`.

    Return False before an opcode that the data sheet does not have.
    """
    latch = NO_BYTE
    while True:
        reason = interpret(s, cartridge.prg, stop, latch)
        if reason == OTHER:
            reason = interpret_rare(s, cartridge.prg, np.int64(s.cycle) + 1, latch)
            if reason == OTHER:
                return False
            if reason == DONE:  # one instruction
                latch = NO_BYTE
                continue
        latch = NO_BYTE
        if reason == DONE:
            return True
        if reason == READ:
            if s.bus_address < 0x4000:
                catch_up(s, cartridge, canvas, drawing, 3 * np.int64(s.cycle) + 3, False)
            value = read_register(s, cartridge)
            if not skip_waiting(s, cartridge, canvas, drawing, value, stop, event):
                latch = value
        else:
            if s.bus_address < 0x4000 or s.bus_address == OAM_DMA:
                catch_up(s, cartridge, canvas, drawing, 3 * np.int64(s.bus_cycle) + 3, False)
            write_register(s)


@register_jitable
def skip_waiting(s, cartridge, canvas, drawing, status, stop, event):
    """Skip whole turns of a loop that waits for sprite zero; return False where the CPU is not in one.

    The loop is LDA $2002, AND #$40, and a branch back as long as sprite zero was not hit (BEQ), or still is (BNE). It
    ends at the hit, to which the picture unit runs ahead, or at the next event.
    """
    i, prg = s.pc & 0x7FFF, cartridge.prg
    if s.bus_address != STATUS or prg[i + 3] != 0x29 or prg[i + 4] != 0x40 or prg[i + 6] != 0xF9:
        return False
    branch, hit = prg[i + 5], status & 0x40
    if not (branch == BEQ and not hit) and not (branch == BNE and hit):
        return False
    until = event
    if branch == BEQ and s.event == VBLANK_BEGINS:
        catch_up(s, cartridge, canvas, drawing, 3 * stop, True)
        if s.sprite_zero_hit:
            until = (np.int64(s.dot) - 1) // 3
    pc = np.int64(s.pc)
    turn = 9 if pc + 7 >> 8 == pc >> 8 else 11  # cycles
    s.cycle += turn * max((min(until, stop) - np.int64(s.cycle) + turn - 1) // turn, 1)
    s.a = hit
    s.flags = s.flags & 0xBE | (hit == 0) << 6  # Z, and not N
    return True


@register_jitable
def read_register(s, cartridge):
    """Return the byte at `s.bus_address`, 0x2000 to 0x7FFF."""
    address = np.int64(s.bus_address)
    if address == CONTROLLER:
        pressed = np.int64(s.buttons if s.strobe else s.shifted) & 1
        if not s.strobe:
            s.shifted >>= 1
        return pressed | 0x40
    if address == CONTROLLER_2:  # nobody has it
        return np.int64(0x40)
    register = address & 7
    if address >= 0x4000:
        return np.int64(0)
    if register == 2:
        status = np.int64(s.sprite_zero_hit) << 6 | np.int64(s.vblank) << 7
        s.vblank, s.first_write = 0, 1
        return status
    if register == 4:
        return np.int64(s.oam[s.oam_address])
    if register == 7:
        value = read_vram(s, cartridge, np.int64(s.v))
        s.v = np.int64(s.v) + s.increment & 0xFFFF
        if s.v < 0x3F00:  # by the next address: nes-py
            buffered, s.read_buffer = np.int64(s.read_buffer), value
            return buffered
        return value
    return np.int64(0)


@register_jitable
def write_register(s):
    """Write `s.bus_value` to `s.bus_address`, 0x2000 to 0x7FFF."""
    address, value = np.int64(s.bus_address), np.int64(s.bus_value)
    if address == OAM_DMA:
        for i in range(256):
            s.oam[s.oam_address + i & 0xFF] = s.ram[(value << 8 & 0x7FF) + i]
        s.cycle += 513 + (s.bus_cycle + 1 + s.odd_frame & 1)  # one more on an odd cycle
    elif address == CONTROLLER:
        s.strobe = value & 1
        if not s.strobe:
            s.shifted = s.buttons
    elif address < 0x4000:
        write_ppu(s, address & 7, value)


@register_jitable
def write_ppu(s, register, value):
    if register == 0:
        s.nmi, s.tall_sprites = value >> 7, value >> 5 & 1
        s.background_table, s.sprite_table = (value & 0x10) << 8, (value & 0x8) << 9
        s.increment = 32 if value & 4 else 1
        s.t = np.int64(s.t) & ~0xC00 | (value & 3) << 10
    elif register == 1:
        s.hide_left_background, s.hide_left_sprites = value >> 1 & 1 ^ 1, value >> 2 & 1 ^ 1
        s.show_background, s.show_sprites = value >> 3 & 1, value >> 4 & 1
    elif register == 3:
        s.oam_address = value
    elif register == 4:
        s.oam[s.oam_address] = value
        s.oam_address = np.int64(s.oam_address) + 1 & 0xFF
    elif register == 5:
        if s.first_write:
            s.t, s.fine_x = np.int64(s.t) & ~0x1F | value >> 3, value & 7
        else:
            s.t = np.int64(s.t) & ~0x73E0 | (value & 7) << 12 | (value & 0xF8) << 2
        s.first_write ^= 1
    elif register == 6:
        if s.first_write:
            s.t = np.int64(s.t) & 0xFF | (value & 0x3F) << 8
        else:
            s.t = np.int64(s.t) & 0xFF00 | value
            s.v = s.t
        s.first_write ^= 1
    elif register == 7:
        write_vram(s, np.int64(s.v), value)
        s.v = np.int64(s.v) + s.increment & 0xFFFF


# ---- a frame ----


def run_frame(s, cartridge, canvas, drawing, buttons):
    """Advance by one frame with these buttons held; paint the picture if `drawing`. Return 0 if the CPU is stuck."""
    s.buttons = buttons
    while True:
        dot = event_dot(s)
        if not run_cpu(s, cartridge, canvas, drawing, min(dot // 3, CYCLES), dot // 3):
            return 0
        if dot // 3 >= CYCLES:
            break
        catch_up(s, cartridge, canvas, drawing, dot, False)
        handle_event(s, cartridge)
    catch_up(s, cartridge, canvas, drawing, 3 * CYCLES, False)
    s.picture_dot -= 3 * CYCLES
    s.dot -= 3 * CYCLES
    s.cycle -= CYCLES
    s.odd_frame ^= 1
    return 1


shared_frame = SharedFunction(
    "Mario",
    run_frame,
    types.int64(*map(from_dtype, (CONSOLE, CARTRIDGE, CANVAS)), types.int64, types.int64),
    seconds=20,
)
