"""The layers of imports (see `[tool.importlinter]` in pyproject.toml), and what importing rlgames loads."""

import subprocess
import sys
from pathlib import Path

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
