"""Functions compiled by Numba: what is kept on disk, what is damaged or cannot be kept, and what a person reads."""

from __future__ import annotations

import errno
import multiprocessing
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba.core import config

import rlgames
from rlgames import compilation
from rlgames.compilation import CheckedFiles, CodeCache, njit_cached
from rlgames.engine.single_env import make_env
from rlgames.envs.registry import load_game

COMPILING = "Compiling the toy once (5 s) ...\n"
MODULE = "def add(x):\n    return x + 1\n\ndef double(x):\n    return 2 * x\n"


class Workspace:
    """Two functions in a file and a cache of their own; each `compiled` stands for a new process."""

    def __init__(self, folder: Path):
        self.cache = folder / "cache"
        (folder / "toy.py").write_text(MODULE)
        self.module: Any = import_module("toy")

    def compiled(self, name: str = "add") -> Any:
        compilation.announced.clear()
        return njit_cached("the toy")(getattr(self.module, name))

    def hits(self) -> int:
        """Call `add` and return how often its code was found on disk."""
        add = self.compiled()
        assert add(4) == 5
        return sum(add.stats.cache_hits.values())

    def files(self, suffix: str) -> list[Path]:
        return [path for path in self.cache.rglob(f"toy.add*{suffix}") if path.is_file()]


CLOSURES = """
from numba.extending import register_jitable


def add(step):
    @register_jitable
    def inner(x):
        step_of_x = x + step
        return step_of_x

    def add(x):
        step_of_x = inner(x) + 1
        return step_of_x

    return add
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)
    yield Workspace(tmp_path)
    del sys.modules["toy"]
    compilation.announced.clear()


def damage(file: Path, how: str) -> None:
    content = file.read_bytes()
    if how == "folder":
        file.unlink()
        file.mkdir()
    elif how == "missing":
        file.unlink()
    else:
        file.write_bytes({"empty": b"", "half": content[: len(content) // 2], "longer": content + b"\0"}[how])


@pytest.mark.parametrize("how", ["empty", "half", "longer", "missing"])
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_damaged_file_is_compiled_anew_and_kept(workspace: Workspace, suffix: str, how: str) -> None:
    assert (workspace.hits(), workspace.hits()) == (0, 1)
    (file,) = workspace.files(suffix)
    damage(file, how)
    assert (workspace.hits(), workspace.hits()) == (0, 1)


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_file_that_cannot_be_read_or_replaced_is_said_once(workspace: Workspace, suffix: str, capsys: Any) -> None:
    workspace.hits()
    (file,) = workspace.files(suffix)
    damage(file, "folder")
    capsys.readouterr()
    assert workspace.hits() == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("Compiled code cannot be kept for the next start: [Errno")
    assert "NUMBA_CACHE_DIR" in lines[1]


def test_code_that_numba_cannot_load_is_compiled_anew(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace.hits()
    with monkeypatch.context() as patch:
        patch.setattr(CheckedFiles, "_load_data", lambda self, name: ("of another release",))
        assert workspace.hits() == 0
    assert workspace.hits() == 1


def test_no_flipped_bit_is_read(workspace: Workspace) -> None:
    workspace.hits()
    files = CodeCache(workspace.module.add, "Compiling the toy")._cache_file
    assert isinstance(files, CheckedFiles)
    (path,) = workspace.files(".nbc")
    content = path.read_bytes()
    assert files._read(str(path)) is not None
    for position in np.linspace(0, len(content) - 1, 200).astype(int).tolist():
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        assert files._read(str(path)) is None


def test_nothing_is_written_without_a_folder_and_that_is_said_once(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(config, "CACHE_LOCATOR_CLASSES", "UserProvidedCacheLocator")
    add = workspace.compiled()
    double = njit_cached("another toy")(workspace.module.double)
    assert (add(1), add(1.5), double(3), add.stats.cache_path) == (2, 2.5, 6, None)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" (")[0] for line in lines if "Compiling" in line] == [
        "Compiling the toy",
        "Compiling another toy",
    ]
    assert [line for line in lines if "no folder for it is writable; set NUMBA_CACHE_DIR" in line] == lines[1:2]


def test_full_disk_keeps_nothing_and_says_so(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def refuse(self: Any, path: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(CheckedFiles, "_open_for_write", refuse)
        assert workspace.hits() == 0
    assert "No space left on device; set NUMBA_CACHE_DIR" in capsys.readouterr().err
    assert (workspace.hits(), workspace.hits()) == (0, 1)


def test_compiling_is_said_once_and_only_when_something_is_compiled(workspace: Workspace, capsys: Any) -> None:
    add, double = workspace.compiled("add"), njit_cached("the toy")(workspace.module.double)
    assert capsys.readouterr().err == ""
    assert (add(1), double(3)) == (2, 6)
    assert capsys.readouterr().err == COMPILING
    workspace.hits()
    assert capsys.readouterr().err == ""


def test_processes_that_another_one_started_say_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: "the parent")
    assert workspace.hits() == 0
    assert capsys.readouterr().err == ""


def test_disabled_compilation_leaves_the_function(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "DISABLE_JIT", True)
    assert workspace.compiled() is workspace.module.add


def test_code_is_found_again_whether_its_module_comes_from_source_or_from_a_pyc_file(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closure is another one only if a function or a value in it is."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    (tmp_path / "closures.py").write_text(CLOSURES)
    hits, results = [], []
    for step in (1, 1, 2, 2, 1):
        add = njit_cached("the toy")(import_module("closures").add(step))
        results.append(add(1))
        hits.append(sum(add.stats.cache_hits.values()))
        assert [path.name for path in (tmp_path / "__pycache__").iterdir() if "closures" in path.name]
        del sys.modules["closures"]
    assert (results, hits) == ([3, 3, 4, 4, 3], [0, 1, 0, 1, 1])


def test_every_compiled_function_is_kept_by_this_module() -> None:
    package = Path(rlgames.__file__).parent
    users = {path.name for path in package.rglob("*.py") if re.search(r"\bnjit\b", path.read_text())}
    # game.py tells authors of games what not to use; functions of dense_ppo.py are kept with those that call them.
    assert users <= {"compilation.py", "game.py", "dense_ppo.py"}


def test_a_game_is_compiled_when_it_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    """So processes that are started afterwards find the code."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))

    make_env(replace(load_game("CartPole"), name="a new game"))
    assert capsys.readouterr().err == "Compiling a new game once (5 s) ...\n"
    compilation.announced.clear()
    env = make_env(replace(load_game("CartPole"), name="a new game"))
    env.reset(seed=0)
    env.step(0)
    assert capsys.readouterr().err == ""
