"""The wheel holds the package and nothing else, and works without the checkout."""

import configparser
import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import rlgames

ROOT = Path(__file__).parents[1]

INSTALLED_PACKAGE = """
import json, sys
import gymnasium

env = gymnasium.make("rlgames:rlgames/CatchBall-v0")
observation, _ = env.reset(seed=0)
assert env.observation_space.contains(observation), observation
observation, *_ = env.step(env.action_space.sample())
assert env.observation_space.contains(observation), observation
env.close()

import rlgames
from rlgames.cli.main import main
from rlgames.zoo.weights import find_weights

assert main(["list"]) == 0
assert main(["zoo"]) == 0
assert find_weights("catch-ppo", sys.argv[1]).is_relative_to(sys.argv[1])
print(json.dumps([rlgames.__file__, *sys.path]))
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Return the output of a command, which sees no checkout and gets no input; fail with its errors."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    completed = subprocess.run(
        [*command], cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, f"{command} in {cwd}\n{completed.stdout}\n{completed.stderr}"
    return completed.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, cwd=ROOT)
    [built] = folder.glob("*.whl")
    return built


def test_wheel_holds_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = next(name.split("/")[0] for name in names if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        scripts = configparser.ConfigParser()
        scripts.read_string(archive.read(f"{info}/entry_points.txt").decode())
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "rlgames").rglob("*") if path.is_file()}
    package = {name for name in package if "__pycache__" not in name}
    assert {"rlgames/__init__.py", "rlgames/py.typed"} <= package
    assert {name for name in names if not name.startswith(f"{info}/")} == package
    assert f"{info}/licenses/LICENSE" in names
    assert metadata["Name"] == "rlgames"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert dict(scripts["console_scripts"]) == {"rlgames": "rlgames.cli.main:main"}


def test_citation_names_the_version() -> None:
    assert f"\nversion: {rlgames.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_installed_wheel_makes_games_and_knows_the_zoo(wheel: Path, tmp_path: Path) -> None:
    """The wheel is alone in a fresh environment that borrows its dependencies (torch!) from that of the tests.

    They are borrowed by a .pth file: a folder named there is searched last, and its own .pth files, hence the editable
    install of the checkout, are not followed. It is written after the installation, or pip would find rlgames there.
    """
    prefix, folder = tmp_path.resolve() / "installed", tmp_path / "elsewhere"
    folder.mkdir()
    venv.create(prefix, with_pip=False, symlinks=True)
    python = prefix / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", wheel, cwd=folder)
    packages = prefix / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n", encoding="utf-8")

    *listing, last = run(python, "-W", "error", "-c", INSTALLED_PACKAGE, ROOT / "zoo", cwd=folder).splitlines()
    module, *path = json.loads(last)
    assert Path(module).is_relative_to(prefix)
    assert str(ROOT) not in path
    for game in ("CartPole", "CatchBall", "Cave"):
        assert any(line.startswith(f"  {game} ") for line in listing)
    assert any(line.startswith("catch-ppo ") for line in listing)  # of rlgames zoo
    assert run(prefix / "bin" / "rlgames", "--version", cwd=folder) == f"rlgames {rlgames.__version__}\n"
