"""The processor of the NES: a 6502 without decimal mode, by its data sheet.

`TABLE` and `ONE_MODE` are the data sheet's: opcode and cycles of each instruction by addressing mode; `ADDRESS` and
`OPERATION` say in Python what modes and instructions do. `write_interpreter` puts them together into one function, a
loop with a case for each opcode, which Numba compiles to a jump table: twice as fast as decoding first the mode and
then the instruction.

An instruction acts in its first cycle; then its cycles pass. The loop knows memory and program only. It stops at an
instruction that reads or writes anything else, and the console does that (see `console`).

Sources: MOS MCS6500 hardware manual; https://www.nesdev.org/wiki/CPU. Three things are nes-py's and not the chip's:
the order of the flags, which is seen on the stack; that a branch to another page takes 2 cycles more instead of 1; and
the cycle that instructions such as INC take more at an indexed address on another page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

# Opcode and cycles by addressing mode; +: one cycle more if the indexed address is on another page.
TABLE = """
      #      zp     zp,x   zp,y   abs    abs,x  abs,y  (zp,x)  (zp),y  imp
LDA   A9 2   A5 3   B5 4   .      AD 4   BD 4+  B9 4+  A1 6    B1 5+   .
LDX   A2 2   A6 3   .      B6 4   AE 4   .      BE 4+  .       .       .
LDY   A0 2   A4 3   B4 4   .      AC 4   BC 4+  .      .       .       .
STA   .      85 3   95 4   .      8D 4   9D 5   99 5   81 6    91 6    .
STX   .      86 3   .      96 4   8E 4   .      .      .       .       .
STY   .      84 3   94 4   .      8C 4   .      .      .       .       .
ADC   69 2   65 3   75 4   .      6D 4   7D 4+  79 4+  61 6    71 5+   .
SBC   E9 2   E5 3   F5 4   .      ED 4   FD 4+  F9 4+  E1 6    F1 5+   .
CMP   C9 2   C5 3   D5 4   .      CD 4   DD 4+  D9 4+  C1 6    D1 5+   .
CPX   E0 2   E4 3   .      .      EC 4   .      .      .       .       .
CPY   C0 2   C4 3   .      .      CC 4   .      .      .       .       .
AND   29 2   25 3   35 4   .      2D 4   3D 4+  39 4+  21 6    31 5+   .
ORA   09 2   05 3   15 4   .      0D 4   1D 4+  19 4+  01 6    11 5+   .
EOR   49 2   45 3   55 4   .      4D 4   5D 4+  59 4+  41 6    51 5+   .
BIT   .      24 3   .      .      2C 4   .      .      .       .       .
INC   .      E6 5   F6 6   .      EE 6   FE 7+  .      .       .       .
DEC   .      C6 5   D6 6   .      CE 6   DE 7+  .      .       .       .
ASL   .      06 5   16 6   .      0E 6   1E 7+  .      .       .       0A 2
LSR   .      46 5   56 6   .      4E 6   5E 7+  .      .       .       4A 2
ROL   .      26 5   36 6   .      2E 6   3E 7+  .      .       .       2A 2
ROR   .      66 5   76 6   .      6E 6   7E 7+  .      .       .       6A 2
"""
ONE_MODE = {  # instructions that have no other
    "imp": """
        INX E8 2, INY C8 2, DEX CA 2, DEY 88 2, TAX AA 2, TAY A8 2, TXA 8A 2, TYA 98 2, TSX BA 2, TXS 9A 2,
        PHA 48 3, PLA 68 4, PHP 08 3, PLP 28 4, RTS 60 6, RTI 40 6,
        CLC 18 2, SEC 38 2, CLI 58 2, SEI 78 2, CLV B8 2, CLD D8 2, SED F8 2, NOP EA 2
    """,
    "rel": "BPL 10 2, BMI 30 2, BVC 50 2, BVS 70 2, BCC 90 2, BCS B0 2, BNE D0 2, BEQ F0 2",
    "abs": "JMP 4C 3, JSR 20 6",
    "(abs)": "JMP 6C 5",
}
LENGTH = {"imp": 1, "#": 2, "abs": 3, "abs,x": 3, "abs,y": 3, "(abs)": 3}  # bytes of an instruction; others: 2

# From the operand's bytes `lo` and `hi`. `low` is the indexed low byte: its bit 8 says that the page is another one.
ADDRESS = {
    "zp": "address = lo",
    "zp,x": "address = (lo + x) & 0xFF",
    "zp,y": "address = (lo + y) & 0xFF",
    "abs": "address = lo | hi << 8",
    "abs,x": "low = lo + x; address = (low + (hi << 8)) & 0xFFFF",
    "abs,y": "low = lo + y; address = (low + (hi << 8)) & 0xFFFF",
    "(zp,x)": "lo = (lo + x) & 0xFF; address = np.int64(ram[lo]) | np.int64(ram[(lo + 1) & 0xFF]) << 8",
    "(zp),y": "low = np.int64(ram[lo]) + y; address = (low + (np.int64(ram[(lo + 1) & 0xFF]) << 8)) & 0xFFFF",
    "rel": "address = pc + (lo ^ 0x80) - 0x80",
}
# Registers are a, x, y and sp. Of the flags, `carry` and `overflow` are 0 or 1, `nz` is the last result, of which N
# (bit 7 or 8) and Z (the lowest 8 bits are 0) are taken when they are needed, and `others` are the rest.
PULL_FLAGS = (
    "flags = np.int64(ram[0x100 | sp]); nz = (flags & 1) << 8 | (flags >> 6 & 1) ^ 1; overflow = flags >> 1 & 1; "
    "carry = flags >> 7; others = flags & 0x3C"
)
FLAGS = "((nz & 0x180) != 0) | overflow << 1 | others | ((nz & 0xFF) == 0) << 6 | carry << 7"  # nes-py's order of bits
PULL = "sp = (sp + 1) & 0xFF"
PULL_PC = f"{PULL}; pc = np.int64(ram[0x100 | sp]); {PULL}; pc |= np.int64(ram[0x100 | sp]) << 8"
OPERATION = {
    # from `value`, read from memory
    "LDA": "a = nz = value",
    "LDX": "x = nz = value",
    "LDY": "y = nz = value",
    "ADC": (
        "total = a + value + carry; carry = total >> 8; "
        "nz = total & 0xFF; overflow = ((a ^ nz) & (value ^ nz)) >> 7; a = nz"
    ),
    "SBC": (
        "total = a - value - (carry ^ 1); carry = (total >> 8 & 1) ^ 1; "
        "nz = total & 0xFF; overflow = ((a ^ nz) & (a ^ value)) >> 7; a = nz"
    ),
    "CMP": "total = a - value; carry = (total >> 8 & 1) ^ 1; nz = total & 0xFF",
    "CPX": "total = x - value; carry = (total >> 8 & 1) ^ 1; nz = total & 0xFF",
    "CPY": "total = y - value; carry = (total >> 8 & 1) ^ 1; nz = total & 0xFF",
    "AND": "a &= value; nz = a",
    "ORA": "a |= value; nz = a",
    "EOR": "a ^= value; nz = a",
    "BIT": "nz = a & value | (value & 0x80) << 1; overflow = value >> 6 & 1",
    # `value` back into memory; with mode imp the accumulator
    "INC": "value = nz = (value + 1) & 0xFF",
    "DEC": "value = nz = (value - 1) & 0xFF",
    "ASL": "carry = value >> 7; value = nz = value << 1 & 0xFF",
    "LSR": "carry = value & 1; value = nz = value >> 1",
    "ROL": "total = value << 1 | carry; carry = total >> 8; value = nz = total & 0xFF",
    "ROR": "total = value | carry << 8; carry = total & 1; value = nz = total >> 1",
    # registers
    "INX": "x = nz = (x + 1) & 0xFF",
    "INY": "y = nz = (y + 1) & 0xFF",
    "DEX": "x = nz = (x - 1) & 0xFF",
    "DEY": "y = nz = (y - 1) & 0xFF",
    "TAX": "x = nz = a",
    "TAY": "y = nz = a",
    "TXA": "a = nz = x",
    "TYA": "a = nz = y",
    "TSX": "x = nz = sp",
    "TXS": "sp = x",
    "PHA": "ram[0x100 | sp] = a; sp = (sp - 1) & 0xFF",
    "PLA": f"{PULL}; a = nz = np.int64(ram[0x100 | sp])",
    "PHP": f"ram[0x100 | sp] = {FLAGS}; sp = (sp - 1) & 0xFF",
    "PLP": f"{PULL}; {PULL_FLAGS}",
    # jumps; pc is that of the next instruction
    "JSR": (
        "pc -= 1; ram[0x100 | sp] = pc >> 8; ram[0x100 | (sp - 1) & 0xFF] = pc & 0xFF; "
        "sp = (sp - 2) & 0xFF; pc = address"
    ),
    "RTS": f"{PULL_PC}; pc += 1",
    "RTI": f"{PULL}; {PULL_FLAGS}; {PULL_PC}",
    # flags
    "CLC": "carry = 0",
    "SEC": "carry = 1",
    "CLI": "others &= ~0x20",
    "SEI": "others |= 0x20",
    "CLV": "overflow = 0",
    "CLD": "others &= ~0x10",
    "SED": "others |= 0x10",
    "NOP": "pass",
}
BRANCH = {  # if
    "BPL": "nz & 0x180 == 0",
    "BMI": "nz & 0x180 != 0",
    "BVC": "overflow == 0",
    "BVS": "overflow != 0",
    "BCC": "carry == 0",
    "BCS": "carry != 0",
    "BNE": "nz & 0xFF != 0",
    "BEQ": "nz & 0xFF == 0",
}
STORED = {"STA": "a", "STX": "x", "STY": "y"}
MODIFIED = ("INC", "DEC", "ASL", "LSR", "ROL", "ROR")
DONE, READ, WRITE, OTHER = range(4)  # why the interpreter stopped


class Instruction(NamedTuple):
    """A cell of the data sheet's table."""

    name: str
    mode: str
    cycles: int
    page_costs: bool  # a cycle more if the indexed address is on another page


def parse_tables() -> dict[int, Instruction]:
    """Return the instructions by opcode."""
    instructions = {}

    def add(name: str, mode: str, opcode: str, cycles: str) -> None:
        instructions[int(opcode, 16)] = Instruction(name, mode, int(cycles[0]), cycles.endswith("+"))

    header, *lines = TABLE.strip().splitlines()
    for line in lines:
        name, *cells = re.split(r"  +", line)
        for mode, cell in zip(header.split(), cells, strict=True):
            if cell != ".":
                add(name, mode, *cell.split())
    for mode, cells in ONE_MODE.items():
        for cell in cells.split(","):
            name, opcode, cycles = cell.split()
            add(name, mode, opcode, cycles)
    return instructions


INSTRUCTIONS = parse_tables()

LOOP = f"""
def interpret(s, prg, stop, latch):
    ram = s.ram
    cycle, pc = np.int64(s.cycle), np.int64(s.pc)
    a, x, y, sp = np.int64(s.a), np.int64(s.x), np.int64(s.y), np.int64(s.sp)
    flags = np.int64(s.flags)
    nz, overflow = (flags & 1) << 8 | (flags >> 6 & 1) ^ 1, flags >> 1 & 1
    carry, others = flags >> 7, flags & 0x3C
    reason = {DONE}
    while cycle < stop:
        i = pc & 0x7FFF
        opcode, lo, hi = prg[i], np.int64(prg[i + 1]), np.int64(prg[i + 2])
        {{cases}}
        else:
            reason = {OTHER}
            break
    s.cycle, s.pc, s.a, s.x, s.y, s.sp = cycle, pc, a, x, y, sp
    s.flags = {FLAGS}
    return reason
"""


def write_case(instruction: Instruction) -> list[str]:
    """Return the lines that execute an instruction."""
    name, mode, cycles, page_costs = instruction
    size = LENGTH.get(mode, 2)
    finish = [f"pc += {size}", f"cycle += {cycles}" + " + (low >> 8)" * page_costs]
    if name in BRANCH:
        taken = [ADDRESS["rel"], "cycle += 3 if (address ^ pc) & 0xFF00 else 1", "pc = address"]
        return [*finish, f"if {BRANCH[name]}:", *indent(taken)]
    if name == "JMP":
        return write_jump(mode, cycles)
    if name == "JSR":
        return [ADDRESS[mode], *finish, OPERATION[name]]
    if mode == "imp" and name in MODIFIED:
        return ["value = a", OPERATION[name], "a = value", *finish]
    if mode == "imp":
        return [*finish, OPERATION[name]]
    if mode == "#":
        return ["value = lo", OPERATION[name], *finish]
    zero_page = mode.startswith("zp")
    lines = [ADDRESS[mode]]
    if name not in STORED:
        lines += ["value = np.int64(ram[address])"] if zero_page else READ_BYTE
        lines += [OPERATION[name]]
    if name in STORED or name in MODIFIED:
        value = STORED.get(name, "value")
        lines += [f"ram[address] = {value}"] if zero_page else [line.format(value=value) for line in WRITE_BYTE]
    return [*lines, *finish]


def write_jump(mode: str, cycles: int) -> list[str]:
    if mode == "abs":  # a jump to itself waits for an interrupt, whole turns of it
        return [
            ADDRESS["abs"],
            f"cycle += {cycles} if address != pc else {cycles} * ((stop - cycle + {cycles - 1}) // {cycles})",
            "pc = address",
        ]
    return [  # the chip does not carry into the pointer's high byte
        "lo = lo | hi << 8; hi = lo & 0xFF00 | (lo + 1) & 0xFF",
        "pc = np.int64(ram[lo & 0x7FF]) if lo < 0x2000 else np.int64(prg[lo & 0x7FFF])",
        "pc |= (np.int64(ram[hi & 0x7FF]) if hi < 0x2000 else np.int64(prg[hi & 0x7FFF])) << 8",
        f"cycle += {cycles}",
    ]


READ_BYTE = [
    "if address < 0x2000:",
    "    value = np.int64(ram[address & 0x7FF])",
    "elif address >= 0x8000:",
    "    value = np.int64(prg[address & 0x7FFF])",
    "elif latch >= 0:",  # what the console has read there
    "    value = latch; latch = -1",
    "else:",
    f"    s.bus_address = address; reason = {READ}",
    "    break",
]
WRITE_BYTE = [
    "if address < 0x2000:",
    "    ram[address & 0x7FF] = {value}",
    "elif address < 0x8000:",  # the console writes, with the time of this instruction
    f"    s.bus_address, s.bus_value, s.bus_cycle, reason = address, {{value}}, cycle, {WRITE}",
    "    stop = cycle",
]


def indent(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def write_interpreter(opcodes: Iterable[int]) -> Callable[..., Any]:
    """Return a function that executes these instructions of a console `s`, from the first that begins now.

        interpret(s, prg, stop, latch) -> DONE, READ, WRITE or OTHER

    It returns DONE when the next instruction begins at or after the cycle `stop`; READ before an instruction that reads
    `s.bus_address`, to be called again with the byte as `latch` (otherwise -1); WRITE after an instruction that began
    at `s.bus_cycle` and writes `s.bus_value` to `s.bus_address`; OTHER before an opcode that is none of these.
    """
    cases: list[str] = []
    for opcode in sorted(opcodes):
        name, mode, *_ = INSTRUCTIONS[opcode]
        cases.append(f"{'elif' if cases else 'if'} opcode == 0x{opcode:02X}:  # {name} {mode}")
        cases += indent(write_case(INSTRUCTIONS[opcode]))
    scope: dict[str, Any] = {"np": np}
    source = LOOP.replace("{cases}", "\n        ".join(cases))
    exec(compile(source, "<interpreter>", "exec"), scope)
    return scope["interpret"]
