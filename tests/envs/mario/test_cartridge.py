"""ROM files: what is read, and one line for each that is not the right one. The files are made here, of no game."""

import hashlib
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled

import rlgames
from rlgames.envs.mario import cartridge, game, make_env
from rlgames.envs.mario.cartridge import CHR_SIZE, PRG_SIZE, ROMS, Rom, find_rom, read_cartridge

HEADER = b"NES\x1a" + bytes([2, 1, 1, 0]) + bytes(8)
BODY = np.random.default_rng(0).integers(0, 256, PRG_SIZE + CHR_SIZE, np.uint8).tobytes()


@pytest.fixture
def rom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as the ROM of version 0."""
    monkeypatch.setitem(ROMS, (False, 0), Rom("toy.nes", hashlib.sha256(BODY).hexdigest(), "the toy"))
    path = tmp_path / "toy.nes"
    path.write_bytes(HEADER + BODY)
    return path


def test_program_and_patterns_are_read(rom: Path) -> None:
    found = read_cartridge(rom)
    assert found["prg"][0].tobytes() == BODY[:PRG_SIZE] + BODY[:8]
    assert found["chr"][0].tobytes() == BODY[PRG_SIZE:]
    assert not found.flags.writeable


def test_the_header_and_what_follows_do_not_count(rom: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.nes"
    other.write_bytes(HEADER[:8] + b"DiskDude" + BODY + b"a title")
    np.testing.assert_array_equal(read_cartridge(other), read_cartridge(rom))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no NES ROM: expected a file in iNES format"),
        (b"PK\x03\x04" + bytes(99), "is no NES ROM: expected a file in iNES format"),
        (HEADER[:12], "is no NES ROM"),
        (HEADER + BODY[:-1], "is cut short: expected 40,976 bytes, got 40,975"),
        (HEADER[:4] + b"\x10\x00\x42" + HEADER[7:] + BODY, "another game: expected mapper 0 .* got mapper 4 with 256"),
        (HEADER[:4] + b"\x01\x01" + HEADER[6:] + BODY, "another game: .* got mapper 0 with 16 and 8 kB"),
        (HEADER + BODY[:-1] + b"x", "is not the toy or a changed copy: expected the SHA-256 [0-9a-f]{64} of all"),
    ],
)
def test_a_wrong_file_is_named_in_one_line(data: bytes, message: str, rom: Path) -> None:
    rom.write_bytes(data)
    read_cartridge.cache_clear()
    with pytest.raises(ValueError, match=message) as error:
        read_cartridge(rom)
    assert str(rom) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_rom_of_another_version_is_named(rom: Path) -> None:
    with pytest.raises(ValueError, match=r"toy.nes is the toy, expected The Lost Levels: give lost_levels=false and"):
        read_cartridge(rom, lost_levels=True)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ValueError, match="cannot read the ROM /nowhere/smb.nes: No such file or directory"):
        make_env(game(rom="/nowhere/smb.nes"))
    with pytest.raises(ValueError, match="expected rom to be a path, got 7"):
        game(rom=7)  # pyright: ignore[reportArgumentType]


def test_without_the_package_the_remedy_needs_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cartridge, "find_spec", lambda name: None)
    remedy = r'pip install --no-deps "gym-super-mario-bros<8" \(or the option rom=PATH\)'
    with pytest.raises(DependencyNotInstalled, match=remedy):
        find_rom(False, 0)  # what was made before needs no file
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(cartridge, "find_spec", lambda name: spec)
    with pytest.raises(DependencyNotInstalled, match="no ROM super-mario-bros.nes, expected version 7"):
        find_rom(False, 0)


@pytest.mark.skipif(find_spec("gym_super_mario_bros") is None, reason="needs gym-super-mario-bros")
def test_a_rom_of_ones_own_plays_as_that_of_the_package(tmp_path: Path) -> None:
    path = tmp_path / "own.nes"
    path.write_bytes(find_rom(False, 0).read_bytes())
    envs: list[Any] = [rlgames.make("Mario:world=1,stage=1", rom=rom).unwrapped for rom in (None, str(path))]
    first, second = (env.reset(seed=0) for env in envs)
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1] == second[1]
    envs[1].restore(envs[0].snapshot())  # a path is no part of the rules
