"""Go-Explore: its ways are played again step by step, and it depends on its seed alone."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import rlgames
from rlgames.cli.main import main
from rlgames.errors import InvalidTypeError, InvalidValueError, UsageError
from rlgames.go_explore import Replay, Way, go_explore

needs_rom = pytest.mark.skipif(find_spec("gym_super_mario_bros") is None, reason="needs a ROM")


def play(way: Way) -> tuple[float, bool, bool]:
    """Return position, termination and goal after the last action of a way, in the game as agents see it."""
    env = rlgames.make(way.game)
    obs, info = env.reset(seed=way.seed)
    model, state, terminated = Replay(way), None, False
    for t in range(len(way.actions)):
        assert not terminated
        action, state = model.predict(obs, state, np.array([t == 0]))
        obs, _, terminated, _, info = env.step(action)
    env.close()
    return info["x_pos"], terminated, info["flag_get"]


@needs_rom
@pytest.mark.slow
def test_ways_lead_to_the_goal() -> None:
    ways = list(go_explore("Mario:world=1,stage=1", steps=120_000))
    assert play(ways[-1]) == (ways[-1].score, True, True)
    lengths = [len(way.actions) for way in ways if way.goal]
    assert lengths == sorted(set(lengths), reverse=True)


WAYS = sorted((Path(__file__).parents[1] / "zoo" / "ways").glob("*.json"))


@needs_rom
@pytest.mark.parametrize(
    "path", [WAYS[0], *(pytest.param(p, marks=pytest.mark.slow) for p in WAYS[1:])], ids=lambda path: path.stem
)
def test_stored_ways_lead_to_the_goal(path: Path) -> None:
    way = Way.load(path)
    world, stage = path.stem.split("-")
    assert way.game == f"Mario:world={world},stage={stage}"
    assert play(way) == (way.score, True, True)


@needs_rom
def test_ways_are_those_of_the_seed_and_lead_where_they_say() -> None:
    ways = list(go_explore("Mario:world=1,stage=2,patience=9", steps=2_000, seed=3))
    assert ways == list(go_explore("Mario:world=1,stage=2,noop_max=9", steps=2_000, seed=3))
    assert [way.score for way in ways] == sorted(way.score for way in ways)
    assert play(ways[-1]) == (ways[-1].score, False, False)


@needs_rom
@pytest.mark.parametrize(
    ("game", "error"),
    [
        ("Cave", "Go-Explore knows the cells of Mario alone, got 'Cave'"),
        ("Mario", "expected one stage"),
        ("Mario:stages=1-1+1-2", "expected one stage"),
        ("Mario:world=1,stage=1,engine=nes-py", "expected one stage"),
    ],
)
def test_other_games_are_refused(game: str, error: str) -> None:
    with pytest.raises(InvalidValueError, match=error):
        next(go_explore(game))


@needs_rom
def test_command_line_writes_a_way_and_films_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "way.json"
    assert main(["explore", "Mario:world=1,stage=1", "--steps", "1000", "--out", str(out)]) == 0
    assert f"rlgames watch {out} films it" in capsys.readouterr().out
    way = Way.load(out)
    assert main(["watch", str(out), "--seconds", "1"]) == 0
    assert f"{len(way.actions)} steps on Mario:world=1,stage=1" in capsys.readouterr().out
    assert (tmp_path / "way.gif").stat().st_size > 1000
    assert main(["watch", str(out), "--live"]) == 2
    assert "plays as a film, not live" in capsys.readouterr().err


@pytest.mark.parametrize("game", ["os:Mario", "Cave", "Mario", "Mario:world=1,stage=1,rom=/etc/passwd"])
def test_files_name_stages_and_nothing_else(game: str, tmp_path: Path) -> None:
    """Neither a module to import nor another file to read."""
    Way(game, 0, [0], 0.0, False).save(tmp_path / "way.json")
    with pytest.raises(UsageError, match=r"way\.json: "):
        Way.load(tmp_path / "way.json")


@pytest.mark.parametrize("text", ["", "[]", '{"game": "Cave"}', '{"game": 1, "seed": 0, "actions": [], "score": 0}'])
def test_files_that_hold_no_way_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "way.json").write_text(text)
    with pytest.raises((UsageError, InvalidTypeError), match=r"way\.json"):
        Way.load(tmp_path / "way.json")
