"""`benchmarks/zoo.py` writes weights, manifest and tables of a trained agent, and nothing of one that it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import rlgames
from rlgames.errors import UsageError
from rlgames.runs.training import Training, train
from rlgames.zoo import manifest
from rlgames.zoo.manifest import read_manifest
from rlgames.zoo.table import markdown_table
from rlgames.zoo.weights import find_weights

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The script, on a zoo without agents."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.chdir(tmp_path)
    module = import_module("zoo")
    monkeypatch.setattr(module, "ZOO", tmp_path / "zoo")
    monkeypatch.setattr(module, "MANIFEST", tmp_path / "manifest.json")
    monkeypatch.setattr(module, "README", tmp_path / "zoo" / "README.md")
    monkeypatch.setattr(manifest, "files", lambda _: tmp_path)
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "README.md").write_text("# Trained agents\n\n| old |\n")
    (tmp_path / "manifest.json").write_text("{}")
    yield module
    read_manifest.cache_clear()
    sys.modules.pop("zoo")


def test_agent_is_added_evaluated_again_and_removed(zoo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(Training("random", "CatchBall", steps=64, envs=4, track="none"), tmp_path / "run", quiet=True)
    options = zoo.Options("catch-random", tmp_path / "run")
    zoo.main(options)
    read_manifest.cache_clear()
    card = read_manifest()["catch-random"]
    assert find_weights("catch-random") == Path("zoo/catch-random/agent.ckpt")
    assert card.command is not None
    assert (card.checkpoint, card.evaluation["episodes"], len(card.machines)) == ("best", 100, 1)
    assert (
        tmp_path / "zoo" / "README.md"
    ).read_text() == f"# Trained agents\n\n{markdown_table({'catch-random': card})}"
    written = (tmp_path / "manifest.json").read_text()

    zoo.main(replace(options, run=None))
    assert (tmp_path / "manifest.json").read_text() == written
    monkeypatch.setattr(zoo, "LARGEST", 10)
    for refused, message in (
        (replace(options, name="other"), "other has [0-9,]+ bytes, the zoo takes up to 10"),
        (replace(options, name="../x"), "expected a name of small letters, digits and hyphens, got '../x'"),
        (zoo.Options("nothing", remove=True), "unknown trained agent 'nothing'"),
    ):
        with pytest.raises(UsageError, match=message):
            zoo.main(refused)
    assert (tmp_path / "manifest.json").read_text() == written
    assert [path.name for path in (tmp_path / "zoo").iterdir() if path.is_dir()] == ["catch-random"]

    zoo.main(replace(options, remove=True))
    assert json.loads((tmp_path / "manifest.json").read_text()) == {}
    assert [path.name for path in (tmp_path / "zoo").iterdir()] == ["README.md"]


def test_agent_without_a_run_has_no_command(zoo: Any, tmp_path: Path) -> None:
    rlgames.Random("CatchBall", num_envs=2).save(tmp_path / "a.ckpt", weights_only=True)
    zoo.main(zoo.Options("catch-random", tmp_path / "a.ckpt"))
    read_manifest.cache_clear()
    card = read_manifest()["catch-random"]
    assert (card.command, card.checkpoint, card.training, card.machines) == (None, None, None, [])
