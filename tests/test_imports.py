"""The layers of imports (see `[tool.importlinter]` in pyproject.toml), and what importing rlgames loads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[1]
HEAVY = ("PIL", "ale_py", "cv2", "llvmlite", "matplotlib", "nes_py", "numba", "rich", "torch", "tyro")


def test_imports_point_down_without_circles(monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True) == 0


def test_importing_rlgames_loads_no_heavy_package() -> None:
    script = f"import rlgames, sys; print(*sorted({set(HEAVY)} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr


WITHOUT_POSIX = """
import gymnasium, importlib, json, os, pkgutil, signal, sys
packages = json.loads(sys.argv[1])
for package in packages:
    importlib.import_module(package)  # as they are here
missing = {
    os: "fork geteuid getuid killpg pidfd_open posix_spawn pread pwrite register_at_fork sched_getaffinity setsid",
    signal: "SIGHUP SIGKILL SIGPIPE SIGURG SIGUSR1 alarm pthread_sigmask setitimer",
}
for module, names in missing.items():
    for name in names.split():
        delattr(module, name)
sys.modules |= dict.fromkeys(["fcntl", "grp", "pwd", "resource", "termios"])
platform, sys.platform = sys.platform, "win32"
import rlgames
env = rlgames.make("CatchBall")
env.reset(seed=0)
assert env.step(1)[1] == 0
if "torch" in packages:
    for module in pkgutil.walk_packages(rlgames.__path__, "rlgames."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    sys.platform = platform  # torch asks for it
    from rlgames.cli.main import main
    assert main(["train", "ppo", "CatchBall", "--steps", "64", "--envs", "2", "--config.n-steps", "16", "--quiet"]) == 0
    assert main(["evaluate", "runs/ppo-CatchBall-seed0", "--episodes", "1"]) == 0
"""


@pytest.mark.parametrize(
    "packages", [["numba", "PIL", "cv2"], pytest.param(["torch", "matplotlib", "tyro", "rich"], marks=pytest.mark.slow)]
)
def test_games_play_where_the_functions_of_posix_are_missing(packages: list[str], tmp_path: Path) -> None:
    """As on Windows; with torch all modules are imported, and an agent is trained and evaluated."""
    command = [sys.executable, "-c", WITHOUT_POSIX, json.dumps(packages)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
