"""`rlgames doctor`: what it finds, also where packages that rlgames requires are missing."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import rlgames
from rlgames.cli import doctor
from rlgames.cli import main as cli
from rlgames.envs import registry
from rlgames.errors import PACKAGES, MissingPackageError
from rlgames.networks import precision

ROOT = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]


def test_doctor_lists_the_installation(capsys: Capture) -> None:
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    core = [name for name, extra in doctor.requirements() if extra is None]
    for name in ("rlgames", "python", *core, "cores", "device", "bfloat16", "compiled games", "display"):
        assert re.search(rf"^  {name}  +\S", text, re.MULTILINE), name
    for name, extra in doctor.requirements():
        if extra is not None:
            remedy = re.escape(f'pip install "rlgames[{extra}]"')
            assert re.search(rf"^  {name} \(extra {extra}\)  +(missing\n +-> {remedy}|\S+)$", text, re.MULTILINE)
    assert re.search(r"^  browser \(ChromeDino\)  +\S", text, re.MULTILINE)


def test_doctor_checks_all_requirements_of_the_project() -> None:
    """Under the names of their modules."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    expected = [(re.split("[>=<]", line)[0], None) for line in project["dependencies"]]
    for extra, lines in project["optional-dependencies"].items():
        if extra not in doctor.FOR_DEVELOPERS:
            expected += [(re.split("[>=<]", line)[0], extra) for line in lines]
    assert sorted(PACKAGES.values()) == sorted(name for name, extra in expected if extra is None)
    requirements = doctor.requirements()
    assert sorted(requirements, key=str) == sorted(expected, key=str)
    installed = [name for name, _ in requirements if doctor.version(name)]
    assert [name for name in installed if find_spec(doctor.module_name(name)) is None] == []


FOR_OTHERS = ["moviepy", "websockets"]  # Gymnasium's RecordVideo writes with it; uvicorn's sockets for browsers


def test_extras_install_what_rlgames_imports_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert [extra for extra in extras if extra not in doctor.FOR_DEVELOPERS] == re.findall(
        r"\w+", extras["all"][0].partition("[")[2]
    )
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "rlgames").rglob("*.py"))
    packages = {
        re.split("[>=<]", line)[0] for extra in extras if extra not in doctor.FOR_DEVELOPERS for line in extras[extra]
    }
    uses = r"import {0}\b|from {0}\b|torch.utils.{0}\b|(import_module|package_folder|find_spec)\(.{0}\b"
    unused = [name for name in packages if not re.search(uses.format(doctor.module_name(name)), source)]
    assert sorted(unused) == FOR_OTHERS


def test_doctor_fails_without_a_core_dependency(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """It then says nothing about the machine, which needs them all."""
    monkeypatch.setattr(doctor, "requirements", lambda: [("no-such-module", None), ("no-such-extra", "fun")])
    assert cli.main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert re.search(r"no-such-module +missing\n +-> pip install --force-reinstall no-such-module", text)
    assert re.search(r'no-such-extra \(extra fun\) +missing\n +-> pip install "rlgames\[fun\]"', text)
    assert "bfloat16" not in text


MISSING = ("PIL", "gymnasium", "numba", "tyro")
WITHOUT_PACKAGES = """
import contextlib, io, json, os, sys

def run(*argv):
    out, err = io.StringIO(), io.StringIO()
    from rlgames.cli.main import main
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(argv)
    return status, out.getvalue(), err.getvalue()

def without(names, *commands):
    sys.modules.update(dict.fromkeys(names))  # None: Python's mark of a module that is not there
    from rlgames.errors import PACKAGES  # whatever is missing, rlgames can be imported
    if len(names) == 1:
        for module in [each for each in PACKAGES if each not in names]:
            del PACKAGES[module]  # the others need not be imported
    from rlgames.cli import doctor
    doctor.requirements = lambda: []
    return [run(*command.split()) for command in commands]

def in_a_fork(function, *arguments):
    reader, writer = os.pipe()
    if os.fork() == 0:
        with open(writer, "w") as pipe:
            json.dump(function(*arguments), pipe)
        os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        return json.loads(pipe.read() or "null")

print(json.dumps([in_a_fork(without, names, *commands) for names, *commands in json.loads(sys.argv[1])]))
"""


def test_commands_name_a_required_package_that_is_missing() -> None:
    """`--help` and `doctor` work, whatever is missing; what needs it says in one line how to get it."""
    cases = [[[name], "--help", "doctor", "play CartPole"] for name in MISSING]
    cases += [[[*PACKAGES], "doctor"], [["torch"], "train ppo CatchBall", "evaluate zoo/pong-ppo", "demo"]]
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_PACKAGES, json.dumps(cases)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "")
    *single, every, torch = json.loads(process.stdout)
    for name, (usage, report, play) in zip(MISSING, single, strict=True):
        package = PACKAGES[name]
        assert usage[0] == 0
        assert usage[1].startswith("usage: rlgames")
        assert report[0] == 1
        assert re.search(
            rf"^  {package} +missing\n +-> pip install --force-reinstall {package}$", report[1], re.MULTILINE
        )
        message = f"rlgames: rlgames needs {package}, which is not installed: pip install {package} (rlgames doctor"
        assert (play[0], play[1]) == (2, "")
        assert play[2].startswith(message)
        assert play[2].count("\n") == 1
    [[status, text, _]] = every
    assert status == 1
    assert [name for name in PACKAGES.values() if not re.search(rf"^  {name} +missing$", text, re.MULTILINE)] == []
    for status, out, err in torch:
        assert (status, out) == (2, "")
        assert err == (
            "rlgames: agents need PyTorch, which is not installed: pip install torch "
            "(rlgames doctor lists what is missing)\n"
        )


def test_attribute_that_needs_a_missing_package_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "rlgames.agents.ppo", raising=False)
    with pytest.raises(MissingPackageError, match="^agents need PyTorch, which is not installed: pip install torch "):
        _ = rlgames.PPO
    for module in ("rlgames.no_such_module", "numpy.no_such_module"):  # a fault of the program, not of the installation
        monkeypatch.setitem(rlgames.LAZY, "PPO", module)
        with pytest.raises(ModuleNotFoundError, match=f"^No module named '{module}'$"):
            _ = rlgames.PPO


def test_doctor_finds_a_broken_dependency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_module.py").write_text("raise OSError('libfoo.so: cannot open\\nshared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    finding = doctor.dependency("broken-module")
    assert finding.broken
    assert finding.found == "broken: OSError: libfoo.so: cannot open shared object file"


def test_doctor_works_where_rlgames_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", not_found)
    monkeypatch.setattr(importlib.metadata, "version", not_found)
    assert doctor.requirements() == []
    assert next(doctor.examine()).found == f"not installed: runs from {Path(rlgames.__file__).parent}"


def test_doctor_says_whether_bfloat16_is_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "slow")
    found = {finding.name: finding.found for finding in doctor.machine([])}
    assert "not known to be faster" in found["bfloat16"]
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "fast")
    (tmp_path / "fast").write_text("flags : fpu amx_bf16\n")
    found = {finding.name: finding.found for finding in doctor.machine([])}
    assert "faster than float32 on this CPU" in found["bfloat16"]


def test_doctor_finds_a_display_and_a_folder_for_compiled_games(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or says what is missing without them."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", ":0")
    assert doctor.display() == doctor.Finding("display", "found")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert doctor.display().remedy == "rlgames watch writes recordings"

    assert doctor.numba_cache().found.startswith("kept in ")
    stats = SimpleNamespace(stats=SimpleNamespace(cache_path=None))
    game = SimpleNamespace(loops=SimpleNamespace(reset=stats))
    monkeypatch.setattr(registry, "load_game", lambda name: game)
    assert doctor.numba_cache().remedy == "export NUMBA_CACHE_DIR=~/.cache/numba"
