"""The examples run as they stand, shortened."""

from __future__ import annotations

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_quickstart(tmp_path, capsys):
    mean = runpy.run_path(str(EXAMPLES / "quickstart.py"))["main"](tmp_path, steps=4096)
    assert -1 <= mean <= 99
    assert "a perfect player catches 99" in capsys.readouterr().out
    assert (tmp_path / "catch.ckpt").exists()
    assert (tmp_path / "catch.gif").stat().st_size > 1000
