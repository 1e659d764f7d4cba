"""Cartridges of Super Mario Bros.: ROM files in iNES format, found, read, and checked to be the right ones.

rlgames contains no ROM. gym-super-mario-bros has all that `ROMS` lists, of which this file is all that is used; it
calls itself free for educational use. A file of your own has the option `rom`.

A cartridge is a mapper 0 board (NROM, https://www.nesdev.org/wiki/NROM): 32 kB of program, 8 kB of patterns, and wires
that mirror the name tables vertically. Nothing of it changes, so all consoles share one.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from gymnasium.error import DependencyNotInstalled

from rlgames.errors import InvalidValueError

HEADER, PRG_SIZE, CHR_SIZE = 16, 0x8000, 0x2000  # bytes of a file, in this order
CARTRIDGE = np.dtype(
    [
        (
            "prg",
            "u1",
            (PRG_SIZE + 8,),
        ),  # the program, and its first bytes again, so that operands are read without a check
        ("chr", "u1", (CHR_SIZE,)),  # patterns of tiles and sprites
    ]
)
REMEDY = 'pip install --no-deps "gym-super-mario-bros<8" (or the option rom=PATH)'


class Rom(NamedTuple):
    """One of the known ROMs."""

    file: str  # in gym-super-mario-bros
    sha256: str  # of program and patterns, without the header, in which copies differ
    summary: str


ROMS: dict[tuple[bool, int], Rom] = {  # by lost_levels and version
    (False, 0): Rom(
        "super-mario-bros.nes",
        "6b3189414053f975bcac33eb51a1e9991e0d06f42abead7919969417cc26e2ad",
        "Super Mario Bros.",
    ),
    (False, 1): Rom(
        "super-mario-bros-downsample.nes",
        "b10924e6ae2c5c2b161229449a1d9d593bfa05051fa5b4b14ed00556c59ae88c",
        "Super Mario Bros. without backgrounds",
    ),
    (False, 2): Rom(
        "super-mario-bros-pixel.nes",
        "843b5e9b333d5fa7be940171d13b92acc9eb01fdd37617dfb32f069b32d84b13",
        "Super Mario Bros. in coarse pixels",
    ),
    (False, 3): Rom(
        "super-mario-bros-rectangle.nes",
        "e2f9fb25d9fc2ffe7ee080fd8a9e5dc8f30c9336adb5df1e0db2eefa8a699383",
        "Super Mario Bros. in rectangles",
    ),
    (True, 0): Rom(
        "super-mario-bros-2.nes",
        "653a141c457e84da3e43f2d789df7d7ce670efbb1f1b2883d195335b9eac02b6",
        "The Lost Levels",
    ),
    (True, 1): Rom(
        "super-mario-bros-2-downsample.nes",
        "cbf6e4b9867fb947593b9b6aba3b0926698e8611df8ecbee521178e95587132e",
        "The Lost Levels without backgrounds",
    ),
}


def find_rom(lost_levels: bool, version: int) -> Path:
    """Return the path of a ROM of gym-super-mario-bros, which is not imported. Raises DependencyNotInstalled."""
    spec = find_spec("gym_super_mario_bros")
    if spec is None or not spec.submodule_search_locations:
        raise DependencyNotInstalled(f"Mario needs a ROM, which gym-super-mario-bros has: {REMEDY}")
    path = Path(spec.submodule_search_locations[0]) / "_roms" / ROMS[lost_levels, version].file
    if not path.is_file():
        raise DependencyNotInstalled(f"this gym-super-mario-bros has no ROM {path.name}, expected version 7: {REMEDY}")
    return path


@lru_cache
def read_cartridge(path: Path, lost_levels: bool = False, version: int = 0) -> np.ndarray:
    """Return the cartridge in a file, one record of `CARTRIDGE`, not to be changed.

    Raises ValueError if the file is missing, is no ROM of mapper 0, or is another one than `ROMS` has for the options.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidValueError(f"cannot read the ROM {path}: {error.strerror or error}") from error
    body = data[HEADER:]
    check_header(path, data)
    if len(body) < PRG_SIZE + CHR_SIZE:
        raise InvalidValueError(
            f"the ROM {path} is cut short: expected {HEADER + PRG_SIZE + CHR_SIZE:,} bytes, got {len(data):,}"
        )
    body = body[: PRG_SIZE + CHR_SIZE]
    check_hash(path, body, lost_levels, version)
    cartridge = np.zeros(1, CARTRIDGE)
    program = np.frombuffer(body, np.uint8, PRG_SIZE)
    cartridge["prg"][0, :PRG_SIZE], cartridge["prg"][0, PRG_SIZE:] = program, program[:8]
    cartridge["chr"][0] = np.frombuffer(body, np.uint8, CHR_SIZE, PRG_SIZE)
    cartridge.flags.writeable = False
    return cartridge


def check_header(path: Path, data: bytes) -> None:
    """Check the first 16 bytes, https://www.nesdev.org/wiki/INES. Raises ValueError."""
    if data[:4] != b"NES\x1a" or len(data) < HEADER:
        raise InvalidValueError(f"{path} is no NES ROM: expected a file in iNES format")
    mapper, sizes = data[6] >> 4 | data[7] & 0xF0, (data[4] * 16, data[5] * 8)
    if mapper or sizes != (32, 8):
        raise InvalidValueError(
            f"the ROM {path} is of another game: expected mapper 0 with 32 kB of program and 8 kB of patterns, "
            f"got mapper {mapper} with {sizes[0]} and {sizes[1]} kB"
        )


def check_hash(path: Path, body: bytes, lost_levels: bool, version: int) -> None:
    """Check that program and patterns are those of the ROM for these options. Raises ValueError."""
    expected, digest = ROMS[lost_levels, version], hashlib.sha256(body).hexdigest()
    if digest == expected.sha256:
        return
    for (lost, number), rom in ROMS.items():
        if digest == rom.sha256:
            options = f"lost_levels={str(lost).lower()} and version={number}"
            raise InvalidValueError(
                f"the ROM {path} is {rom.summary}, expected {expected.summary}: give {options}, or another file"
            )
    raise InvalidValueError(
        f"the ROM {path} is not {expected.summary} or a changed copy: expected the SHA-256 {expected.sha256} of all "
        f"bytes after the header, got {digest}"
    )
