"""`rlgames.plot`: the curves of runs, and which runs are one curve."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.run_files import write_run
from PIL import Image

import rlgames
from rlgames.errors import UsageError
from rlgames.plots import STEPS, Panel
from rlgames.runs import curves
from rlgames.runs.directory import RunDirectory

SCORE = "rollout/score_mean"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[list[Panel]]]:
    """Return the list to which the panels of each picture are added, instead of being drawn."""
    pictures: list[list[list[Panel]]] = []
    monkeypatch.setattr(curves, "draw_panels", lambda panels, *_: pictures.append(panels))
    return pictures


def scores(*values: float) -> dict[str, list[float]]:
    return {SCORE: [*values]}


def test_seeds_are_one_curve_and_games_are_panels(tmp_path: Path, drawn: list[Any]) -> None:
    for seed, value in enumerate((1.0, 2.0, 3.0, 4.0)):
        write_run(tmp_path / f"ppo-{seed}", scores(*[value] * 10))
    write_run(tmp_path / "more" / "dqn", scores(*range(10)), agent="dqn", game="Cave:frame_skip=4")
    write_run(tmp_path / "catch", scores(*range(10)), game="CatchBall:size=16,stack=2")
    runs = rlgames.plot(tmp_path, tmp_path / "a.png")
    assert [run.name for run in runs] == ["catch", "dqn", "ppo-0", "ppo-1", "ppo-2", "ppo-3"]
    [[catch, cave]] = drawn[0]
    assert (catch.title, cave.title) == ("CatchBall:size=16", "Cave")
    assert (cave.xlabel, cave.ylabel) == (STEPS, "score, mean of 100 episodes")
    dqn, ppo = cave.curves
    assert (dqn.name, dqn.num_runs, ppo.name, ppo.num_runs) == ("dqn", 1, "ppo", 4)
    assert ppo.x.tolist() == [*range(10, 101, 10)]
    assert set(ppo.y.tolist()) == {2.5}  # of 2 and 3
    assert (ppo.low >= 1).all()
    assert (ppo.high <= 4).all()
    assert (ppo.low < 2.5).all()
    assert dqn.y.tolist() == [*range(10)]
    assert np.isnan(dqn.low).all()


def test_curve_names_the_settings_that_differ(tmp_path: Path, drawn: list[Any]) -> None:
    write_run(tmp_path / "a", scores(*range(10)), n_steps=128, gamma=0.9)
    write_run(tmp_path / "b", scores(*range(10)), n_steps=2048, gamma=0.9)
    write_run(tmp_path / "c", scores(*range(10)), n_steps=128, gamma=0.9, game="Cave:stack=4")
    write_run(tmp_path / "d", scores(*range(10)), agent="dqn")
    write_run(tmp_path / "e", scores(*range(10)), agent="dqn")
    config = RunDirectory(tmp_path / "e").config
    other = {"seed": 1, "track": "wandb", "machines": ["another"], "threads": 2, "log_every": 5}  # the same curve
    config.write_text(json.dumps(json.loads(config.read_text()) | other))
    rlgames.plot([tmp_path / each for each in "abde"], tmp_path / "a.png")
    rlgames.plot([tmp_path / "a", str(tmp_path / "c")], tmp_path / "a.png")
    names = [[curve.name for curve in picture[0][0].curves] for picture in drawn]
    assert names == [["ppo, n_steps=128", "ppo, n_steps=2,048", "dqn"], ["ppo, game=Cave", "ppo, game=Cave:stack=4"]]


def test_curve_of_runs_in_progress_is_incomplete_beyond_them(tmp_path: Path, drawn: list[Any]) -> None:
    write_run(tmp_path / "a", scores(*[2.0] * 10))
    write_run(tmp_path / "b", scores(*[4.0] * 5))
    write_run(tmp_path / "c", {}) / "metrics.jsonl"
    (tmp_path / "c" / "metrics.jsonl").touch()
    runs = rlgames.plot(str(tmp_path), tmp_path / "a.png")
    assert [run.name for run in runs] == ["a", "b"]  # one has logged nothing
    [curve] = drawn[0][0][0].curves
    assert curve.y.tolist() == [3.0] * 5 + [2.0] * 5
    assert curve.complete.tolist() == [True] * 5 + [False] * 5


def test_curve_over_time_keeps_the_last_value_of_a_run_that_has_ended(tmp_path: Path, drawn: list[Any]) -> None:
    for name, slower in (("a", 1), ("b", 60)):
        run = RunDirectory(write_run(tmp_path / name, scores(*range(10))))
        rows = [json.loads(line) for line in run.times.read_text().splitlines()]
        run.times.write_text("".join(json.dumps(row | {"seconds": row["seconds"] * slower}) + "\n" for row in rows))
    rlgames.plot(tmp_path, tmp_path / "a.png", x="time")
    [[panel]] = drawn[0]
    assert panel.xlabel == "minutes of training"
    [curve] = panel.curves
    assert (curve.x[0], curve.x[-1]) == (10, 100)  # from where both are
    assert curve.y[-1] == 9
    at = int(np.flatnonzero(curve.x == 40)[0])
    assert curve.y[at] == (9 + 3) / 2
    assert curve.complete.all()


def test_points_between_those_that_were_logged_are_interpolated(tmp_path: Path, drawn: list[Any]) -> None:
    write_run(tmp_path / "a", scores(0, 10, 20, 30), interval=20)
    write_run(tmp_path / "b", scores(0, 6, 12), interval=30)
    rlgames.plot(tmp_path, tmp_path / "a.png")
    [curve] = drawn[0][0][0].curves
    assert curve.x.tolist() == [30, 40, 60, 80, 90]
    np.testing.assert_allclose(curve.y, [(5 + 0) / 2, (10 + 2) / 2, (20 + 6) / 2, (30 + 10) / 2, 12])


@pytest.mark.usefixtures("matplotlib_curves")
@pytest.mark.parametrize("name", ["a.png", "new/A.SVG"])
def test_picture_is_written_in_the_format_of_its_name(name: str, tmp_path: Path) -> None:
    write_run(tmp_path / "a", {SCORE: [*range(10)], "train/loss": [*range(9)]})
    write_run(tmp_path / "b", scores(*range(4)))
    path = tmp_path / name
    rlgames.plot(tmp_path, path, y=["score", "train/loss"], title="Both")
    first = path.read_bytes()
    if name == "a.png":
        with Image.open(path) as image:
            assert image.size == (960, 864)
            assert np.asarray(image.convert("L"))[0, 0] == 255
    else:
        assert first.startswith(b"<?xml")
    rlgames.plot(tmp_path, path, y=["score", "train/loss"], title="Both")
    assert path.read_bytes() == first


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"runs": "{folder}/none"}, "/none holds no run: expected the directory that rlgames train --out was given, a fol"),
    ({"runs": "{folder}/none-*"}, "/none-* holds no run"),
    ({"runs": []}, "expected the directory of a run, or several, got none"),
    ({"runs": 3}, "expected the directory of a run, or several, got 3"),
    ({"runs": "{folder}/empty"}, "/empty has logged nothing yet: wait for the first row of metrics.jsonl"),
    ({"runs": "{folder}/other"}, "other/config.json: expected agent to be a name, got None: it is not of a run"),
    (
        {"y": "train/los"},
        "no metric 'train/los' is logged: did you mean 'train/loss'? the metrics are score, episodes,",
    ),
    ({"y": []}, "expected y to name a metric or several, got none"),
    ({"y": [3]}, "expected the name of a metric such as 'score' or 'train/loss', got 3"),
    ({"x": "hours"}, "expected x to be 'steps' or 'time', got 'hours'"),
    ({"picture": "a.jpg"}, "expected a picture named *.png or *.svg, got 'a.jpg'"),
    ({"picture": 3}, "expected the path of a picture, named *.png or *.svg, got 3"),
    ({"picture": "{folder}/run.png"}, "run.png is a folder: choose another file for the picture"),
    ({"picture": "{folder}/run/config.json/a.png"}, "a.png cannot be written: "),
]


@pytest.mark.parametrize(("arguments", "message"), INVALID, ids=[str(arguments) for arguments, _ in INVALID])
def test_invalid_arguments_are_errors_of_one_line(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_run(tmp_path / "run", {"episodes": [1], SCORE: [1.0], "train/loss": [2.0]})
    write_run(tmp_path / "empty", {})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    (tmp_path / "run.png").mkdir()
    given: dict[str, Any] = {"runs": tmp_path / "run", "picture": tmp_path / "new.png"} | arguments
    given = {key: x.format(folder=tmp_path) if isinstance(x, str) else x for key, x in given.items()}
    with pytest.raises(UsageError, match=re.escape(message)) as raised:
        rlgames.plot(**given)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "new.png").exists()
