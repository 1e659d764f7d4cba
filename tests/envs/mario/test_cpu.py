"""The 6502 by its data sheet: the interpreter, as plain Python, on programs of a few bytes."""

from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rlgames.envs.mario.cpu import DONE, INSTRUCTIONS, LENGTH, OTHER, READ, WRITE, write_interpreter

interpret = write_interpreter(INSTRUCTIONS)
RAM = 0x800


def run(program: bytes, instructions: int = 1, latch: int = -1, **registers: Any) -> tuple[int, Any]:
    """Execute the first instructions of a program that begins at 0x8000; return why it stopped and the state."""
    s = SimpleNamespace(cycle=0, pc=0x8000, a=0, x=0, y=0, sp=0xFD, flags=0x34, bus_address=0, bus_value=0, bus_cycle=0)
    s.ram = np.arange(RAM, dtype=np.uint8)
    vars(s).update(registers)
    prg = np.zeros(0x8008, np.uint8)
    prg[: len(program)] = list(program)
    reason = DONE
    for _ in range(instructions):
        reason = interpret(s, prg, s.cycle + 1, latch)
    return reason, s


def flags(**chosen: int) -> int:
    """Return the flags as they are in memory, in nes-py's order."""
    order = {"n": 0, "v": 1, "d": 4, "i": 5, "z": 6, "c": 7}
    return 0x04 | sum(value << order[name] for name, value in chosen.items())


def test_the_data_sheet_has_all_documented_opcodes_but_brk() -> None:
    assert len(INSTRUCTIONS) == 150
    assert {op for op in INSTRUCTIONS if op & 3 == 3} == set()  # none is documented
    assert sum(instruction.page_costs for instruction in INSTRUCTIONS.values()) == 29


@pytest.mark.parametrize("opcode", sorted(INSTRUCTIONS), ids=lambda opcode: f"{opcode:02X}")
def test_every_instruction_takes_its_bytes_and_cycles(opcode: int) -> None:
    """With operands in the first page, where no index crosses, and not taking branches."""
    name, mode, cycles, _ = INSTRUCTIONS[opcode]
    taken_if = {"BPL": 0, "BMI": 1, "BVC": 0, "BVS": 1, "BCC": 0, "BCS": 1, "BNE": 0, "BEQ": 1}
    wrong = 1 - taken_if.get(name, 0)
    state = flags(n=wrong, v=wrong, c=wrong) if name != "BNE" and name != "BEQ" else flags(z=wrong)
    reason, s = run(bytes([opcode, 0x10, 0x00]), flags=state)
    assert (reason, s.cycle) == (DONE, cycles)
    if name not in ("JMP", "JSR", "RTS", "RTI"):
        assert s.pc == 0x8000 + LENGTH.get(mode, 2)


@pytest.mark.parametrize(("opcode", "subtracts"), [(0x69, False), (0xE9, True)], ids=["ADC", "SBC"])
def test_sums_and_their_flags_for_all_operands(opcode: int, subtracts: bool) -> None:
    values = [0, 1, 0x0F, 0x50, 0x7E, 0x7F, 0x80, 0x81, 0x90, 0xD0, 0xFE, 0xFF]
    for a, value, carry in product(values, values, (0, 1)):
        _, s = run(bytes([opcode, value]), a=a, flags=flags(c=carry))
        signed = [x - 256 * (x > 127) for x in (a, value)]
        total = a - value - 1 + carry if subtracts else a + value + carry
        exact = signed[0] - signed[1] - 1 + carry if subtracts else signed[0] + signed[1] + carry
        result = total & 0xFF
        expected = flags(
            n=result >> 7, z=result == 0, v=not -128 <= exact <= 127, c=(total >= 0) if subtracts else total > 255
        )
        assert (s.a, s.flags) == (result, expected), (a, value, carry)


@pytest.mark.parametrize(
    ("program", "registers", "address", "cycles"),
    [
        ("A5 34", {}, 0x34, 3),
        ("B5 F0", {"x": 0x20}, 0x10, 4),  # within the first page
        ("B6 F0", {"y": 0x20}, 0x10, 4),
        ("AD 34 02", {}, 0x234, 4),
        ("AD 34 0A", {}, 0x234, 4),  # the memory repeats every 2 kB
        ("BD 34 02", {"x": 1}, 0x235, 4),
        ("BD F0 02", {"x": 0x20}, 0x310, 5),  # another page
        ("B9 F0 02", {"y": 0x20}, 0x310, 5),
        ("A1 F0", {"x": 0x11}, 0x201, 6),  # at 0x01 are 0x01 and 0x02
        ("B1 01", {"y": 2}, 0x203, 5),
        ("B1 01", {"y": 0xFF}, 0x300, 6),
        ("B1 FF", {"y": 0}, 0x0FF, 5),  # the pointer's high byte is at 0x00
    ],
)
def test_addressing(program: str, registers: dict[str, int], address: int, cycles: int) -> None:
    reason, s = run(bytes.fromhex(program), **registers)
    loaded = s.x if program.startswith("B6") else s.a
    assert (reason, loaded, s.cycle) == (DONE, address & 0xFF, cycles)


def test_branches_cost_one_more_if_taken_and_two_to_another_page() -> None:
    assert run(bytes([0xD0, 0x10]), flags=flags(z=1))[1].pc == 0x8002
    taken = run(bytes([0xD0, 0x10]), flags=flags())[1]
    assert (taken.pc, taken.cycle) == (0x8012, 3)
    back = run(bytes([0xD0, 0xF0]), flags=flags())[1]
    assert (back.pc, back.cycle) == (0x7FF2, 5)


def test_subroutines_return_behind_the_call() -> None:
    reason, s = run(bytes([0x20, 0x05, 0x80, 0xA9, 7, 0x60]), instructions=3)
    assert (reason, s.pc, s.a, s.sp, s.cycle) == (DONE, 0x8005, 7, 0xFD, 14)
    assert list(s.ram[0x1FC:0x1FE]) == [0x02, 0x80]


def test_flags_are_pushed_and_pulled() -> None:
    for state in (flags(n=1, c=1), flags(z=1, v=1), flags(i=1, d=1)):
        _, s = run(bytes([0x08, 0x28]), flags=state)
        assert s.ram[0x1FD] == state
        _, s = run(bytes([0x08, 0xA9, 0, 0x28]), instructions=3, flags=state)
        assert (s.flags, s.sp) == (state, 0xFD)


def test_a_jump_through_a_pointer_does_not_carry() -> None:
    s = run(bytes([0x6C, 0xFF, 0x02]))[1]
    assert s.pc == 0x00FF  # 0x2FF and 0x200


def test_registers_are_left_to_the_console() -> None:
    program = bytes([0xAD, 0x02, 0x20])
    reason, s = run(program)
    assert (reason, s.bus_address, s.pc, s.cycle) == (READ, 0x2002, 0x8000, 0)
    reason, s = run(program, latch=0x80)
    assert (reason, s.a, s.flags & 1, s.pc, s.cycle) == (DONE, 0x80, 1, 0x8003, 4)
    reason, s = run(bytes([0x8D, 0x06, 0x20]), a=9, cycle=5)
    assert (reason, s.bus_address, s.bus_value, s.bus_cycle) == (WRITE, 0x2006, 9, 5)
    assert (s.pc, s.cycle) == (0x8003, 9)
    reason, s = run(bytes([0x8D, 0x06, 0x90]))  # a ROM cannot be written
    assert (reason, s.pc) == (DONE, 0x8003)


def test_an_opcode_without_a_case_stops_before_it() -> None:
    reason, s = run(bytes([0x02]))
    assert (reason, s.pc, s.cycle) == (OTHER, 0x8000, 0)
