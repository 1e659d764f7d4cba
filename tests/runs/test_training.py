"""`train`: what a run leaves behind, what it refuses, and what its lines say, for every agent."""

from __future__ import annotations

import dataclasses
import json
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rlgames.runs.metrics import RECENT, Due, MetricsLog

from rlgames.agents.base import Agent, Update
from rlgames.agents.ppo import PPOConfig
from rlgames.agents.registry import AGENTS, find, load
from rlgames.checkpoint import file as checkpoint
from rlgames.evaluation import evaluate
from rlgames.presets.lookup import PRESETS
from rlgames.runs import directory as runs
from rlgames.runs import training as training_module
from rlgames.runs.directory import RunDirectory, difference, rows
from rlgames.runs.training import EVALUATION_SEEDS, Training, begin, stop_signals, train

agents = pytest.mark.parametrize("name", AGENTS)
QUICK = {
    "n_steps": 8,
    "n_epochs": 1,
    "num_minibatches": 1,
    "hidden": (16,),
    "episodes": 2,
    "buffer_size": 300,
    "learning_starts": 32,
    "workers": 1,  # several are not reproducible, see test_a3c.py
}


@pytest.fixture(autouse=True)
def without_events(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensorboard takes seconds to import."""
    if request.node.name != "test_events_are_written_for_tensorboard":
        monkeypatch.setattr(training_module, "tensorboard", lambda path, step: None)


def config_of(name: str, **changes: Any) -> Any:
    known = {field.name for field in dataclasses.fields(find(name).Config)}
    return find(name).Config(**{key: value for key, value in QUICK.items() if key in known} | changes)


def short(name: str = "ppo", **changes: Any) -> Training:
    settings: dict[str, Any] = {"steps": 320, "envs": 2, "log_every": 32, "evaluate_every": 96, "save_every": 64}
    settings |= {"config": config_of(name), "evaluate_episodes": 3, "evaluate_max_steps": 60, "seed": 7}
    return Training(name, changes.pop("game", "CatchBall"), **settings | changes)


def weights(agent: Agent) -> str:
    return checkpoint.weights_sha256(agent.net.state_dict())


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@agents
def test_what_a_run_leaves_behind(name: str, tmp_path: Path):
    result = train(short(name), tmp_path / "run", quiet=True)
    out = tmp_path / "run"
    assert result.stopped is None
    assert result.agent.step >= 320
    steps = sorted(int(path.stem.removeprefix("step-")) for path in (out / "checkpoints").glob("step-*"))
    files = {"config.json", "metrics.jsonl", "times.jsonl", "curve.png"}
    files |= {"checkpoints/best.ckpt", "checkpoints/final.ckpt"}
    parts = {path for path in names(out) if path.endswith(".part")}  # of a replay, see test_segments.py
    assert names(out) - parts == files | {f"checkpoints/step-{step:012d}.ckpt" for step in steps}
    assert len(steps) == 3
    assert steps[-1] == result.agent.step

    with Image.open(out / "curve.png") as picture:
        picture.load()
        assert picture.size == (960, 540)
    config = json.loads((out / "config.json").read_text())
    assert config == checkpoint.plain(short(name).filled())
    assert (config["agent"], config["game"], config["seed"], config["steps"]) == (name, "CatchBall", 7, 320)

    for kept in ("final", f"step-{steps[-1]:012d}"):
        agent = load(out / "checkpoints" / f"{kept}.ckpt")
        assert agent.step == result.agent.step
        assert weights(agent) == weights(result.agent)


@agents
def test_what_the_lines_say(name: str, tmp_path: Path):
    """Against the same training by hand: every score once, means of the scalars, evaluations of the agent as it was."""
    train(short(name), tmp_path / "run", quiet=True)
    lines = rows(tmp_path / "run" / "metrics.jsonl")
    times = rows(tmp_path / "run" / "times.jsonl")
    assert [time["step"] for time in times] == [line["step"] for line in lines]
    assert [time["seconds"] for time in times] == sorted(time["seconds"] for time in times)

    agent = find(name)("CatchBall", config_of(name), seed=7, num_envs=2)
    expected: list[dict[str, Any]] = []
    since: list[Update] = []
    scores: list[float] = []
    log = test = 0
    for update in agent.train(320):
        since.append(update)
        scores += update.scores
        last = update.step >= 320
        if update.step // 32 > log or last:
            log = update.step // 32
            means = {key: np.mean([float(one.scalars[key]) for one in since]) for key in update.scalars}
            told = {"step": update.step, "episodes": len(scores)}
            told |= {"score": np.mean(scores[-RECENT:]) if scores else None}
            expected.append({**told, "scores": [score for one in since for score in one.scores], **means})
            since = []
        if update.step // 96 > test or last:
            test = update.step // 96
            result = evaluate(agent, episodes=3, seed=7 + EVALUATION_SEEDS, max_steps=60)
            expected.append({"step": update.step, "evaluation": result.mean, "evaluation_scores": result.scores})
    assert lines == expected
    assert len([line for line in lines if "evaluation" in line]) == 4
    assert any(line.get("scores") for line in lines)


def test_the_best_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The last agent of the best evaluation: of equals the one that has learned longest."""
    means = iter([1.0, 3.0, 2.0, 3.0, 0.0])

    def told(*args: Any, **kwargs: Any) -> Any:
        return dataclasses.replace(evaluate(*args, **kwargs), scores=[next(means)])

    monkeypatch.setattr(training_module, "evaluate", told)
    result = train(short(evaluate_every=64), tmp_path / "run", quiet=True)
    assert result.best == 3.0
    assert load(result.directory.best).step == 256
    assert load(result.directory.final).step == 320


def test_the_same_run_twice_leaves_the_same_bytes(tmp_path: Path):
    for run in ("one", "other"):
        train(short(), tmp_path / run, quiet=True)
    for name in sorted(names(tmp_path / "one") - {"times.jsonl"}):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes(), name


def test_presets_fill_what_is_left_open(tmp_path: Path):
    filled = Training("PPO", "rlgames/CatchBall-v0").filled()
    assert (filled.agent, filled.game) == ("ppo", "CatchBall")
    steps = PRESETS["ppo", "CatchBall"].steps
    every = (filled.log_every, filled.evaluate_every, filled.save_every)
    assert (filled.steps, *every) == (steps, steps // 200, steps // 20, steps // 20)
    tiny = Training("random", "CatchBall", steps=3).filled()
    assert (tiny.log_every, tiny.evaluate_every, tiny.save_every) == (1, 1, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "expected steps >= 1, got 0"),
        ({"envs": 0}, "expected envs >= 1, got 0"),
        ({"log_every": 0}, "expected log_every >= 1, got 0"),
        ({"evaluate_every": -1}, "expected evaluate_every >= 1, got -1"),
        ({"save_every": 0}, "expected save_every >= 1, got 0"),
        ({"evaluate_episodes": 0}, "expected evaluate_episodes >= 1, got 0"),
        ({"evaluate_max_steps": 0}, "expected evaluate_max_steps >= 1, got 0"),
        ({"game": "Chess"}, "no game is called 'Chess'"),
        ({"agent": "sarsa"}, "no agent is called 'sarsa'"),
        ({"config": PPOConfig(encoder="nature")}, "too small for the encoder 'nature'"),
        ({"seed": -1}, "expected seed >= 0, got -1"),
        ({"start": "nowhere"}, "nowhere: there is no such file"),
    ],
)
def test_what_cannot_be_trained_takes_no_directory(changes: dict[str, Any], message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=message):
        train(dataclasses.replace(short(), **changes), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_run_starts_from_a_trained_agent(tmp_path: Path):
    """Whether it goes on after a kill before its first checkpoint, or is asked to write over where that agent lay."""
    trained = train(short(steps=64, seed=1), tmp_path / "a", quiet=True)
    training = short(seed=2, start=str(tmp_path / "a"))
    first = begin(training, tmp_path / "b", quiet=True)
    first.close()
    assert weights(first.agent) == weights(trained.agent)
    assert first.agent.step == 0
    assert json.loads((tmp_path / "b" / "config.json").read_text())["start"] == str(tmp_path / "a")
    again = train(training, tmp_path / "b", resume=True, quiet=True)
    over = train(training, tmp_path / "a", overwrite=True, quiet=True)  # its start is gone by now
    assert weights(again.agent) == weights(over.agent) != weights(train(short(seed=2), tmp_path / "c").agent)
    assert (tmp_path / "a" / "metrics.jsonl").read_bytes() == (tmp_path / "b" / "metrics.jsonl").read_bytes()
    assert train(training, tmp_path / "b", resume=True, quiet=True).agent.step == 320  # and is not asked for again
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no checkpoint: give a checkpoint file, or the directory"):
        train(short(start=str(tmp_path / "empty")), tmp_path / "d", quiet=True)
    assert not (tmp_path / "d").exists()


def test_what_is_resumed_is_not_thrown_away(tmp_path: Path):
    train(short(), tmp_path / "run", quiet=True)
    before = names(tmp_path / "run")
    train(short(), tmp_path / "run", resume=True, overwrite=True, quiet=True)
    assert names(tmp_path / "run") == before


def test_an_earlier_run_is_not_written_over(tmp_path: Path):
    out = tmp_path / "run"
    train(short(), out, quiet=True)
    before = {name: (out / name).read_bytes() for name in names(out)}
    with pytest.raises(FileExistsError, match=r"run holds a run already: go on with --resume, or choose another --out"):
        train(short(), out, quiet=True)
    assert {name: (out / name).read_bytes() for name in names(out)} == before


def test_overwriting_deletes_the_run_and_nothing_else(tmp_path: Path):
    out = tmp_path / "run"
    train(short(), out, quiet=True)
    (out / "notes.txt").write_text("mine")
    train(short(seed=8, steps=64, evaluate_every=1000), out, overwrite=True, quiet=True)
    assert (out / "notes.txt").read_text() == "mine"
    assert json.loads((out / "config.json").read_text())["seed"] == 8
    assert {line["step"] for line in rows(out / "metrics.jsonl")} == {32, 64}
    assert [path.name for path in (out / "checkpoints").glob("step-*")] == ["step-000000000064.ckpt"]
    plain = tmp_path / "no run"
    (plain / "checkpoints").mkdir(parents=True)
    (plain / "checkpoints" / "theirs").write_text("theirs")
    train(short(steps=64), plain, overwrite=True, quiet=True)
    assert (plain / "checkpoints" / "theirs").read_text() == "theirs"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 8}, "seed was 7, is 8"),
        ({"steps": 640}, "steps was 320, is 640"),
        ({"config": config_of("ppo", learning_rate=0.5)}, r"config\.learning_rate was 0\.00025, is 0\.5"),
        ({"config": config_of("ppo", hidden=(16, 16))}, r"config\.hidden was \[16\], is \[16, 16\]"),
        ({"game": "CartPole"}, "game was CatchBall, is CartPole"),
        ({"agent": "random", "config": None}, "agent was ppo, is random"),
        ({"evaluate_max_steps": None}, "evaluate_max_steps was 60, is None"),
        ({"start": "zoo/pong-ppo"}, "start was None, is zoo/pong-ppo"),
    ],
)
def test_a_run_of_other_settings_is_not_resumed(changes: dict[str, Any], message: str, tmp_path: Path):
    directory = RunDirectory(tmp_path / "run")
    directory.begin(checkpoint.plain(short().filled()))
    with pytest.raises(ValueError, match=rf"run was started with other settings: {message}.*; resume with the same"):
        train(dataclasses.replace(short(), **changes), tmp_path / "run", resume=True, quiet=True)


def test_nothing_there_to_resume(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="run holds no run to resume: start it without --resume"):
        train(short(), tmp_path / "run", resume=True, quiet=True)


def test_a_finished_run_resumed_is_left_as_it_is(tmp_path: Path):
    out = tmp_path / "run"
    expected = weights(train(short(), out, quiet=True).agent)
    before = {name: (out / name).read_bytes() for name in names(out)}
    result = train(short(), out, resume=True, quiet=True)
    assert {name: (out / name).read_bytes() for name in names(out)} == before
    assert result.best is not None
    assert weights(result.agent) == expected


def test_seconds_are_those_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By a clock on which an update takes 1 s, an evaluation 100 and a checkpoint 10."""
    now = 0.0

    def taking(seconds: float, act: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal now
            now += seconds
            return act(*args, **kwargs)

        return call

    monkeypatch.setattr(training_module, "time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(training_module, "evaluate", taking(100, evaluate))
    monkeypatch.setattr(checkpoint, "save", taking(10, checkpoint.save))
    monkeypatch.setattr(MetricsLog, "add", taking(1, MetricsLog.add))
    result = train(short(), tmp_path / "run", quiet=True)
    assert result.seconds == 20
    assert now > 500
    for row in rows(tmp_path / "run" / "times.jsonl"):
        assert row["seconds"] == row["step"] / 16


def test_events_are_written_for_tensorboard(tmp_path: Path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(short(), tmp_path / "run", quiet=True)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    lines = rows(tmp_path / "run" / "metrics.jsonl")
    for key in ("score", "policy_loss", "evaluation"):
        told = [line for line in lines if line.get(key) is not None]
        assert [event.step for event in events.Scalars(key)] == [line["step"] for line in told]
        assert [event.value for event in events.Scalars(key)] == pytest.approx([line[key] for line in told])


def test_it_says_how_far_it_is_and_can_be_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    train(short(), tmp_path / "quiet", quiet=True)
    assert capsys.readouterr() == ("", "")
    train(short(), tmp_path / "loud")
    assert "ppo on CatchBall" in capsys.readouterr().out


def test_environments_are_closed_whatever_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opened: list[Any] = []
    find_agent = training_module.find

    def watched(name: str) -> Any:
        def make(*args: Any, **kwargs: Any) -> Any:
            opened.append(find_agent(name)(*args, **kwargs).envs)
            agent = find_agent(name)(*args, **kwargs)
            opened[-1] = agent.envs
            return agent

        return make

    monkeypatch.setattr(training_module, "find", watched)
    train(short(), tmp_path / "run", quiet=True)
    with pytest.raises(FileExistsError):
        train(short(), tmp_path / "run", quiet=True)
    monkeypatch.setattr(training_module, "evaluate", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(short(), tmp_path / "other", quiet=True)
    assert [envs.closed for envs in opened] == [True] * 3


def test_training_in_another_thread(tmp_path: Path):
    """Signals are the main thread's; a run elsewhere does without."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(train(short(), tmp_path / "run", quiet=True)))
    thread.start()
    thread.join()
    assert results[0].agent.step == 320


def test_signals_are_noted_and_given_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stop_signals() as stop:
        assert not stop
        signal.raise_signal(signal.SIGTERM)
        assert stop == ["SIGTERM"]
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)  # it was asked to stop already: now at once
    with stop_signals() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop == ["SIGINT"]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


# ---- the parts ----


def test_due_is_once_for_each_multiple_passed():
    """Against a plain count; and made anew at any step it goes on as if it had been there before."""
    for every in (1, 5, 64, 100):
        due, passed = Due(every, 0), 0
        for step in range(0, 700, 48):
            assert due(step) == (step // every > passed)
            passed = step // every
            assert Due(every, step).next == due.next


def test_a_journal_remembers():
    journal, other = MetricsLog(), MetricsLog()
    assert journal.score is None
    for k in range(30):
        journal.add(Update(k, {"loss": torch.tensor(k / 2)} if k % 3 else {}, [float(k)] * 5))
        if k == 10:
            assert journal.row(k)["loss"] == np.mean([i / 2 for i in range(11) if i % 3])
            other = MetricsLog(**json.loads(json.dumps(journal.state())))
    for k in range(11, 30):
        other.add(Update(k, {"loss": torch.tensor(k / 2)} if k % 3 else {}, [float(k)] * 5))
    assert journal.state() == other.state()
    row = journal.row(30)
    assert row == other.row(30)
    assert row["episodes"] == 150
    assert row["score"] == np.mean([float(k) for k in range(10, 30)])  # of the last 100 episodes
    assert row["scores"] == [float(k) for k in range(11, 30) for _ in range(5)]
    assert journal.row(31)["scores"] == []


def test_differences_are_named():
    assert difference({"a": 1, "b": {"c": [1, 2]}}, {"a": 1, "b": {"c": [1, 2]}}) == ""
    assert difference({"a": 1, "b": {"c": [1, 2]}}, {"a": 1, "b": {"c": [1, 3]}}) == "b.c was [1, 2], is [1, 3]"
    assert difference({"a": 1}, {}) == "a was 1, is None"
    assert difference({}, {"a": 1}) == "a was None, is 1"


def test_only_the_last_checkpoints_are_kept(tmp_path: Path):
    directory = RunDirectory(tmp_path)
    directory.begin({})
    for step in (5, 10, 9_999, 10_000, 123_456_789_012):
        directory.save(step, {}, {"step": step})
    kept = sorted(directory.checkpoints.iterdir())
    assert [checkpoint.load(path)[1]["step"] for path in kept] == [9_999, 10_000, 123_456_789_012]
    assert runs.KEEP == 3
