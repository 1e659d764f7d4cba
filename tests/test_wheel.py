"""A wheel built from this checkout holds the package and nothing else, and works where there is no checkout."""

import configparser
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]

STEP = """
import sys
from pathlib import Path

import gymnasium

env = gymnasium.make("rlgames:rlgames/CatchBall-v0")
observation, _ = env.reset(seed=0)
assert env.observation_space.contains(observation), observation
observation, *_ = env.step(env.action_space.sample())
assert env.observation_space.contains(observation), observation
env.close()

import rlgames

print(Path(rlgames.__file__).resolve())
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command, which is given no sight of a checkout and no input; its errors are the test's."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [*command], cwd=cwd, env=surroundings, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command} in {cwd}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Installed(NamedTuple):
    """An environment with the wheel in it, and an empty folder to work in."""

    prefix: Path
    desk: Path

    def run(self, program: str, *arguments: str) -> str:
        return run(self.prefix / "bin" / program, *arguments, cwd=self.desk)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, cwd=ROOT)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel, alone in a fresh environment that borrows its dependencies (torch!) from the one that runs the tests.

    They are borrowed by a .pth file: a folder named there is searched last, and its own .pth files, hence the editable
    install of the checkout, are not followed. It is written after the installation, or pip would see rlgames there.
    """
    prefix = tmp_path_factory.mktemp("installed").resolve()
    desk = tmp_path_factory.mktemp("desk")
    venv.create(prefix, with_pip=False, symlinks=True)
    python = prefix / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", wheel, cwd=desk)
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(python, "-c", ask, cwd=desk).strip())
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n", encoding="utf-8")
    return Installed(prefix, desk)


def test_contents(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        info = next(name.split("/")[0] for name in held if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        scripts = configparser.ConfigParser()
        scripts.read_string(archive.read(f"{info}/entry_points.txt").decode())
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "rlgames").rglob("*") if path.is_file()}
    package = {name for name in package if "__pycache__" not in name}
    assert {"rlgames/__init__.py", "rlgames/py.typed"} <= package
    assert {name for name in held if not name.startswith(f"{info}/")} == package
    assert f"{info}/licenses/LICENSE" in held
    assert metadata["Name"] == "rlgames"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert dict(scripts["console_scripts"]) == {"rlgames": "rlgames.cli.main:main"}


def test_import_takes_the_installed_package(installed: Installed):
    script = "import sys, rlgames; print(rlgames.__file__, *sys.path, sep='\\n')"
    module, *path = installed.run("python", "-W", "error", "-c", script).splitlines()
    assert Path(module).is_relative_to(installed.prefix)
    assert str(ROOT) not in path


def test_a_bare_interpreter_makes_and_steps_a_game(installed: Installed):
    module = installed.run("python", "-W", "error", "-c", STEP).strip()
    assert Path(module).is_relative_to(installed.prefix)


def test_the_command_lists_the_games(installed: Installed):
    games = installed.run("rlgames", "list")
    for game in ("CartPole", "CatchBall", "Cave"):
        assert game in games
