"""`train`: the files of a run, the rows of its metrics, and the errors, for every agent."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rlgames.agents import AGENTS
from rlgames.agents.base import SEED_STRIDE, Agent
from rlgames.agents.metrics import WINDOW, MetricsLog, Update
from rlgames.agents.ppo import PPOConfig
from rlgames.agents.registry import find, load
from rlgames.checkpoint import file as checkpoint
from rlgames.envs.task import Task
from rlgames.evaluation import MAX_ENVS, evaluate
from rlgames.experience.env_runner import EnvRunner, Episode
from rlgames.networks import threads
from rlgames.presets.lookup import PRESETS
from rlgames.runs import trackers
from rlgames.runs import training as training_module
from rlgames.runs.directory import KEEP_LAST, RunDirectory, find_checkpoint, read_rows
from rlgames.runs.machine import describe_machine
from rlgames.runs.training import Every, Session, Training, evaluation_seed, open_session, stop_signals, train

SMALL = {  # whichever of these a config has
    "n_steps": 8,
    "n_epochs": 1,
    "num_minibatches": 1,
    "net_arch": (16,),
    "n_episodes": 2,
    "buffer_size": 300,
    "learning_starts": 32,
    "workers": 1,  # several are not reproducible
}
LOSSES = {
    "ppo": {"train/loss", "train/policy_gradient_loss", "train/value_loss", "train/entropy_loss", "train/approx_kl"}
    | {"train/clip_fraction", "train/grad_norm", "train/value_grad_norm", "train/learning_rate", "train/clip_range"},
    "dqn": {"train/loss", "train/q_values", "train/grad_norm", "train/learning_rate", "rollout/exploration_rate"},
    "reinforce": {"train/policy_gradient_loss", "train/value_loss", "train/entropy_loss", "train/grad_norm"}
    | {"train/learning_rate"},
    "a3c": {"train/policy_gradient_loss", "train/value_loss", "train/entropy_loss", "train/grad_norm"}
    | {"train/value_grad_norm", "rollout/score_moving_average"},
    "random": set(),
}
LOSSES["ddqn"] = LOSSES["dqn"]


def small_config(name: str, **changes: Any) -> Any:
    known = {field.name for field in dataclasses.fields(find(name).Config)}
    return find(name).Config(**{key: value for key, value in SMALL.items() if key in known} | changes)


def short_training(name: str = "ppo", **changes: Any) -> Training:
    settings: dict[str, Any] = {"steps": 320, "envs": 2, "log_every": 32, "evaluate_every": 96, "save_every": 64}
    settings |= {"config": small_config(name), "evaluate_episodes": 3, "evaluate_max_steps": 60, "seed": 7}
    return Training(name, changes.pop("game", "CatchBall"), **settings | changes)


def weights(agent: Agent) -> str:
    return checkpoint.weights_sha256(agent.net.state_dict())


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names(folder)}


# ---- files and rows ----


@pytest.mark.parametrize("name", AGENTS)
def test_run_writes_its_files_and_rows(name: str, tmp_path: Path) -> None:
    """Compared with the same training by hand: every score once, means of the scalars, evaluations of that agent."""
    out, training = tmp_path / "run", short_training(name)
    result = train(training, out, quiet=True)
    assert result.stopped is None
    check_files(out, training, result.agent)

    rows, times = read_rows(out / "metrics.jsonl"), read_rows(out / "times.jsonl")
    expected = rows_by_hand(name)
    assert rows == [{key: value for key, value in row.items() if not isinstance(value, list)} for row in expected]
    assert len([row for row in rows if "eval/score_mean" in row]) == 4
    kinds = ("scores", "eval_scores")
    scores = [{key: row[key] for key in ("step", *kinds) if row.get(key)} for row in expected]
    assert read_rows(out / "episodes.jsonl") == [row for row in scores if len(row) > 1]
    assert {key for row in scores for key in row} == {"step", *kinds}
    assert [set(row) for row in times] == [{"step", "seconds", "time/fps"}] * len(rows)
    assert [row["step"] for row in times] == [row["step"] for row in rows]
    assert [row["seconds"] for row in times] == sorted(row["seconds"] for row in times)


def check_files(out: Path, training: Training, agent: Agent) -> None:
    steps = sorted(int(path.stem.removeprefix("step-")) for path in (out / "checkpoints").glob("step-*"))
    files = {"config.json", "metrics.jsonl", "episodes.jsonl", "times.jsonl", "curve.png"}
    files |= {"checkpoints/best.ckpt", "checkpoints/final.ckpt"}
    files |= {f"checkpoints/step-{step:012d}.ckpt" for step in steps}
    assert {path for path in names(out) if not path.endswith(".part")} == files  # parts: test_replay_files.py
    assert len(steps) == KEEP_LAST == 3
    assert steps[-1] == agent.step >= 320

    config = json.loads((out / "config.json").read_text())
    resolved = dataclasses.replace(training.resolve(), threads=torch.get_num_threads())
    assert config.pop("machines") == [describe_machine(torch.device("cpu"))]
    assert config == checkpoint.config_to_json(resolved)
    assert (config["agent"], config["game"], config["seed"], config["steps"]) == (agent.name, "CatchBall", 7, 320)

    for kept in ("final", f"step-{steps[-1]:012d}"):
        loaded = load(out / "checkpoints" / f"{kept}.ckpt", weights_only=True)
        assert loaded.step == agent.step
        assert weights(loaded) == weights(agent)


def rows_by_hand(name: str) -> list[dict[str, Any]]:
    """Train as `short_training` does, in a plain loop; return the rows of metrics.jsonl, with the scores."""
    rows: list[dict[str, Any]] = []
    updates: list[Update] = []  # since the last row
    episodes: list[Episode] = []
    logged = evaluated = 0
    with find(name)("CatchBall", small_config(name), seed=7, num_envs=2) as agent:
        for update in agent.train(320):
            updates.append(update)
            episodes += update.episodes
            last = update.step >= 320
            if update.step // 32 > logged or last:
                logged = update.step // 32
                row: dict[str, Any] = {"step": update.step, "episodes": len(episodes)}
                if episodes:
                    row["rollout/ep_rew_mean"] = np.mean([episode.reward for episode in episodes[-WINDOW:]])
                    row["rollout/ep_len_mean"] = np.mean([episode.length for episode in episodes[-WINDOW:]])
                    row["rollout/score_mean"] = np.mean([episode.score for episode in episodes[-WINDOW:]])
                scalars = {key for each in updates for key in each.scalars}
                for key in scalars:
                    row[key] = np.mean([float(each.scalars[key]) for each in updates if key in each.scalars])
                rows.append({**row, "scores": [score for each in updates for score in each.scores]})
                updates = []
                assert scalars <= LOSSES[name]
            if update.step // 96 > evaluated or last:
                evaluated = update.step // 96
                result = evaluate(agent, episodes=3, seed=evaluation_seed(7), max_episode_steps=60)
                row = {"step": update.step, "eval/score_mean": result.mean, "eval_scores": result.scores}
                rows.append(
                    {**row, "eval/mean_reward": np.mean(result.rewards), "eval/mean_ep_length": np.mean(result.lengths)}
                )
    assert LOSSES[name] <= {key for row in rows for key in row}
    return rows


@pytest.mark.usefixtures("matplotlib_curves")
def test_run_draws_a_curve(tmp_path: Path) -> None:
    train(short_training(steps=64), tmp_path / "run", quiet=True)
    with Image.open(tmp_path / "run" / "curve.png") as picture:
        picture.load()
        assert picture.size == (960, 540)


def test_best_checkpoint_is_of_the_best_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of equal evaluations it is the last, of the agent that was trained longest."""
    means = iter([1.0, 3.0, 2.0, 3.0, 0.0])

    def evaluate_as(*args: Any, **kwargs: Any) -> Any:
        return dataclasses.replace(evaluate(*args, **kwargs), scores=[next(means)])

    monkeypatch.setattr(training_module, "evaluate", evaluate_as)
    result = train(short_training(evaluate_every=64), tmp_path / "run", quiet=True)
    assert result.best == 3.0
    assert load(result.directory.best, weights_only=True).step == 256
    assert load(result.directory.final, weights_only=True).step == 320


def test_repeated_run_writes_the_same_bytes(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for run in (one, other):
        train(short_training(), run, quiet=True)
    assert names(one) == names(other)
    for name in names(one) - {"times.jsonl"}:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_seconds_are_of_training_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which an update takes 1 s, an evaluation 100 and a checkpoint 10."""
    now = 0.0

    def lasting(seconds: float, function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal now
            now += seconds
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(training_module, "time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(training_module, "evaluate", lasting(100, evaluate))
    monkeypatch.setattr(checkpoint, "save", lasting(10, checkpoint.save))
    monkeypatch.setattr(MetricsLog, "add", lasting(1, MetricsLog.add))
    result = train(short_training(), tmp_path / "run", quiet=True)
    assert result.seconds == 20
    assert now > 500
    for row in read_rows(tmp_path / "run" / "times.jsonl"):
        assert row["seconds"] == row["step"] / 16
        assert row["time/fps"] == 16.0


@pytest.mark.slow  # in the quick set: test_resume.py, events of a resumed run
@pytest.mark.usefixtures("tensorboard")
def test_events_are_the_metrics(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import (  # noqa: PLC0415  optional
        EventAccumulator,
    )

    train(short_training(), tmp_path / "run", quiet=True)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    rows = read_rows(tmp_path / "run" / "metrics.jsonl")
    for key in ("rollout/score_mean", "train/policy_gradient_loss", "eval/score_mean"):
        logged = [row for row in rows if row.get(key) is not None]
        assert [event.step for event in events.Scalars(key)] == [row["step"] for row in logged]
        assert [event.value for event in events.Scalars(key)] == pytest.approx([row[key] for row in logged])
    assert len(events.Scalars("time/fps")) == len(rows)


@pytest.mark.parametrize("fails", ["start_training", "train"])
def test_the_tensorboard_writer_is_closed_when_training_fails(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers: list[SimpleNamespace] = []

    def open_writer(folder: Path, step: int) -> SimpleNamespace:
        writer = SimpleNamespace(closed=False)
        writer.close = lambda: setattr(writer, "closed", True)
        writers.append(writer)
        return writer

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(trackers, "summary_writer", open_writer)
    with closing(open_session(short_training(), tmp_path / "run", quiet=True)) as session:
        monkeypatch.setattr(session.agent, fails, fail)
        with pytest.raises(OSError, match="disk full"):
            session.run()
    assert all(writer.closed for writer in writers)


def test_a_run_that_diverges_stops_and_saves_no_such_weights(tmp_path: Path) -> None:
    with closing(open_session(short_training(steps=1_000), tmp_path / "run", quiet=True)) as session:
        train_agent = session.agent.train

        def diverge(steps: int) -> Any:
            for i, update in enumerate(train_agent(steps)):
                if i == 5:
                    next(session.agent.net.parameters()).data[0] = torch.nan
                yield update

        session.agent.train = diverge  # type: ignore[method-assign]  # its sixth update spoils a weight
        with pytest.raises(ValueError, match="steps ppo has weights that are not finite"):
            session.run()
    paths = list((tmp_path / "run").rglob("*.ckpt"))
    assert paths
    for path in paths:
        assert all(p.isfinite().all() for p in load(path).net.parameters())


def test_progress_is_printed_unless_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(short_training(steps=64), tmp_path / "quiet", quiet=True)
    assert capsys.readouterr() == ("", "")
    train(short_training(steps=64), tmp_path / "loud")
    assert "ppo on CatchBall" in capsys.readouterr().out


# ---- settings ----


def test_resolve_takes_the_preset() -> None:
    resolved = Training("PPO", "rlgames/CatchBall-v0").resolve()
    assert (resolved.agent, resolved.game) == ("ppo", "CatchBall")
    steps = PRESETS["ppo", "CatchBall"].steps
    intervals = (resolved.log_every, resolved.evaluate_every, resolved.save_every)
    assert (resolved.steps, *intervals) == (steps, steps // 200, steps // 20, steps // 20)
    tiny = Training("random", "CatchBall", steps=3).resolve()
    assert (tiny.log_every, tiny.evaluate_every, tiny.save_every) == (1, 1, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "expected steps >= 1, got 0"),
        ({"steps": 2.5}, "expected steps >= 1, got 2.5"),
        ({"threads": 0}, "expected threads >= 1 or None, got 0"),
        ({"envs": 0}, "expected envs >= 1 or None, got 0"),
        ({"log_every": 0}, "expected log_every >= 1 or None, got 0"),
        ({"evaluate_every": -1}, "expected evaluate_every >= 1 or None, got -1"),
        ({"save_every": 0}, "expected save_every >= 1 or None, got 0"),
        ({"evaluate_episodes": 0}, "expected evaluate_episodes >= 1, got 0"),
        ({"evaluate_max_steps": 0}, "expected evaluate_max_steps >= 1 or None, got 0"),
        ({"game": "Chess"}, "unknown game 'Chess'"),
        ({"agent": "sarsa"}, "unknown agent 'sarsa'"),
        ({"game": "CartPole", "config": PPOConfig(encoder="nature")}, "the encoder 'nature' takes pictures"),
        ({"seed": -1}, "expected seed to be an integer in 0..4294967295, got -1"),
        ({"start": "nowhere"}, "nowhere: no such file"),
    ],
)
def test_invalid_settings_leave_no_directory(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        train(dataclasses.replace(short_training(), **changes), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_start_takes_the_networks_of_a_trained_agent(tmp_path: Path) -> None:
    """Also of one whose run is then overwritten; a resumed run does not need it any more."""
    trained = train(short_training(steps=64, seed=1), tmp_path / "a", quiet=True)
    training = short_training(seed=2, steps=160, start=str(tmp_path / "a"))
    with closing(open_session(training, tmp_path / "b", quiet=True)) as session:  # stopped before its first checkpoint
        assert weights(session.agent) == weights(trained.agent)
        assert session.agent.step == 0
    assert json.loads((tmp_path / "b" / "config.json").read_text())["start"] == str(tmp_path / "a")
    resumed = train(training, tmp_path / "b", resume=True, quiet=True)
    overwritten = train(training, tmp_path / "a", overwrite=True, quiet=True)
    other = train(dataclasses.replace(training, start=None), tmp_path / "c", quiet=True)
    assert weights(resumed.agent) == weights(overwritten.agent) != weights(other.agent)
    assert (tmp_path / "a" / "metrics.jsonl").read_bytes() == (tmp_path / "b" / "metrics.jsonl").read_bytes()
    assert train(training, tmp_path / "b", resume=True, quiet=True).agent.step == 160
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no checkpoint: give a checkpoint file, or the directory"):
        train(short_training(start=str(tmp_path / "empty")), tmp_path / "d", quiet=True)
    assert not (tmp_path / "d").exists()


# ---- earlier runs ----


@pytest.fixture
def finished(quick_runs: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a finished run of `short_training()`, which tests may read."""
    out = tmp_path_factory.getbasetemp() / "finished" / "run"
    if not out.exists():
        train(short_training(), out, quiet=True)
    return out


def test_new_run_in_a_directory_with_a_run_raises(finished: Path) -> None:
    before = contents(finished)
    with pytest.raises(FileExistsError, match="run holds a run already: continue it with --resume, delete it"):
        train(short_training(), finished, quiet=True)
    assert contents(finished) == before


def test_resuming_a_finished_run_changes_nothing(finished: Path) -> None:
    """Not even with `overwrite`."""
    before = contents(finished)
    for overwrite in (False, True):
        result = train(short_training(), finished, resume=True, overwrite=overwrite, quiet=True)
        assert contents(finished) == before
        assert result.best is not None
        assert weights(result.agent) == weights(load(finished / "checkpoints" / "final.ckpt", weights_only=True))


def test_overwrite_deletes_the_run_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(short_training(steps=128), out, quiet=True)
    (out / "notes.txt").write_text("mine")
    train(short_training(seed=8, steps=64, evaluate_every=1000), out, overwrite=True, quiet=True)
    assert (out / "notes.txt").read_text() == "mine"
    assert json.loads((out / "config.json").read_text())["seed"] == 8
    assert {row["step"] for row in read_rows(out / "metrics.jsonl")} == {32, 64}
    assert [path.name for path in (out / "checkpoints").glob("step-*")] == ["step-000000000064.ckpt"]
    other = tmp_path / "no run"
    (other / "checkpoints").mkdir(parents=True)
    (other / "checkpoints" / "theirs").write_text("theirs")
    train(short_training(steps=64), other, overwrite=True, quiet=True)
    assert (other / "checkpoints" / "theirs").read_text() == "theirs"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 8}, "seed was 7, is 8"),
        ({"save_every": 640}, "save_every was 64, is 640"),
        ({"config": small_config("ppo", learning_rate=0.5)}, r"config\.learning_rate was 0\.00025, is 0\.5"),
        ({"config": small_config("ppo", net_arch=(16, 16))}, r"config\.net_arch was \[16\], is \[16, 16\]"),
        ({"game": "CartPole"}, "game was CatchBall, is CartPole"),
        ({"agent": "random", "config": None}, "agent was ppo, is random"),
        ({"evaluate_max_steps": None}, "evaluate_max_steps was 60, is None"),
        ({"start": "zoo/pong-ppo"}, "start was None, is zoo/pong-ppo"),
    ],
)
def test_resuming_with_other_settings_raises(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    directory.create(checkpoint.config_to_json(short_training(threads=1).resolve()))
    directory.release()
    with pytest.raises(ValueError, match=rf"run was started with other settings: {message}.*; resume with the same"):
        train(dataclasses.replace(short_training(), **changes), tmp_path / "run", resume=True, quiet=True)


def test_resuming_without_a_run_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run holds no run to resume: start it without --resume"):
        train(short_training(), tmp_path / "run", resume=True, quiet=True)


def test_directory_that_cannot_be_written_raises(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PermissionError, match="run cannot be written: "):
        train(short_training(), tmp_path / "file" / "run", quiet=True)


# ---- environments, threads and signals ----


def test_environments_are_closed(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a run, and after an error before or during training."""
    opened: list[Any] = []
    make_vec = Task.make_vec

    def make_vec_and_record(task: Task, num_envs: int, *, training: bool = False) -> Any:
        opened.append(make_vec(task, num_envs, training=training))
        return opened[-1]

    monkeypatch.setattr(Task, "make_vec", make_vec_and_record)
    train(short_training(steps=64), tmp_path / "run", quiet=True)
    with pytest.raises(FileExistsError):
        train(short_training(), finished, quiet=True)
    monkeypatch.setattr(training_module, "evaluate", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(short_training(), tmp_path / "other", quiet=True)
    assert [envs.closed for envs in opened] == [True] * 4  # of three agents and one evaluation


def test_run_notes_the_number_of_torchs_threads_and_takes_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless another is asked for; a run from before has torch's own."""
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "own_numbers", lambda: {2})
    used: list[int] = []
    add = MetricsLog.add

    def add_and_note(log: MetricsLog, update: Update) -> None:
        used.append(torch.get_num_threads())
        add(log, update)

    def threads_of(steps: int, given: int | None = None) -> set[int]:
        used.clear()
        training = short_training(steps=steps, threads=given)
        train(training, tmp_path / "run", resume=steps > 32, quiet=True)
        assert torch.get_num_threads() == 2
        return set(used)

    monkeypatch.setattr(MetricsLog, "add", add_and_note)
    before, config = torch.get_num_threads(), tmp_path / "run" / "config.json"
    torch.set_num_threads(2)
    try:
        assert threads_of(32) == {1}
        assert json.loads(config.read_text())["threads"] == 1
        monkeypatch.setattr(threads, "ENOUGH_ARITHMETIC", 1)
        assert threads_of(64) == {1}
        assert "threads" not in capsys.readouterr().out
        assert threads_of(96, 3) == {3}
        assert "resuming with 3 of torch's threads instead of 1: the run is not bit-for-bit" in capsys.readouterr().out
        saved = json.loads(config.read_text())
        assert saved.pop("threads") == 1
        config.write_text(json.dumps(saved))
        monkeypatch.setattr(threads, "ENOUGH_ARITHMETIC", 10**12)
        assert threads_of(128) == {2}
    finally:
        torch.set_num_threads(before)


def test_train_runs_in_another_thread(tmp_path: Path) -> None:
    """Signals are delivered to the main thread alone, so that a run elsewhere does not handle any."""
    results: list[Any] = []
    training = short_training(steps=64)
    thread = threading.Thread(target=lambda: results.append(train(training, tmp_path / "run", quiet=True)))
    thread.start()
    thread.join()
    assert results[0].agent.step == 64


def test_stop_signals_are_listed_and_handlers_restored() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stop_signals() as stop:
        assert not stop
        signal.raise_signal(signal.SIGTERM)
        assert stop == ["SIGTERM"]
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)  # it was asked to stop already
    with stop_signals() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop == ["SIGINT"]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("quiet", [False, True])
def test_first_ctrl_c_is_answered_at_once(quiet: bool, capfd: pytest.CaptureFixture[str]) -> None:
    answer = "" if quiet else "stopping after this update; again to stop now\n"
    with stop_signals(quiet):
        signal.raise_signal(signal.SIGTERM)
        assert capfd.readouterr() == ("", "")
    with stop_signals(quiet) as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop == ["SIGINT"]
        assert capfd.readouterr() == ("", answer)
        signal.raise_signal(signal.SIGTERM)
    assert capfd.readouterr() == ("", "")


# ---- intervals, metrics and checkpoints ----


def test_every_is_true_once_for_each_multiple_passed() -> None:
    """Compared with a plain count; a new one, made at any step, continues as the old one does."""
    for interval in (1, 5, 64, 100):
        due, passed = Every(interval, 0), 0
        for step in range(0, 700, 48):
            assert due(step) == (step // interval > passed)
            passed = step // interval
            assert Every(interval, step).next == due.next


def test_metrics_log_restores_its_state() -> None:
    def update(k: int) -> Update:
        scalars = {"train/loss": torch.tensor(k / 2)} if k % 3 else {}
        return Update(k, scalars, [Episode(float(k), k / 2, k + 1)] * 5)

    log, other = MetricsLog(), MetricsLog()
    assert log.score_mean is None
    assert log.row(0) == {"step": 0, "episodes": 0, "scores": []}
    for k in range(30):
        log.add(update(k))
        if k == 10:
            assert log.row(k)["train/loss"] == np.mean([i / 2 for i in range(11) if i % 3])
            other.load_state_dict(json.loads(json.dumps(log.state_dict())))
    for k in range(11, 30):
        other.add(update(k))
    assert log.state_dict() == other.state_dict()
    row = log.row(30)
    assert row == other.row(30)
    assert row["episodes"] == 150
    assert row["rollout/score_mean"] == np.mean([float(k) for k in range(10, 30)])  # of the last 100 episodes
    assert row["rollout/ep_rew_mean"] == np.mean([k / 2 for k in range(10, 30)])
    assert row["rollout/ep_len_mean"] == np.mean([k + 1 for k in range(10, 30)])
    assert row["scores"] == [float(k) for k in range(11, 30) for _ in range(5)]
    assert log.row(31)["scores"] == []


def test_only_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.create({})
    directory.release()
    for step in (5, 10, 9_999, 10_000, 123_456_789_012):
        directory.save(step, {}, {"step": step})
    kept = sorted(directory.checkpoints.iterdir())
    assert [checkpoint.load(path)[1]["step"] for path in kept] == [9_999, 10_000, 123_456_789_012]
    assert find_checkpoint(tmp_path) == kept[-1]  # of a run without a best or final one
    directory.save_without_replay(directory.final, {}, {})
    assert find_checkpoint(tmp_path) == directory.final
    directory.save_without_replay(directory.best, {}, {})
    assert find_checkpoint(tmp_path) == directory.best
    assert find_checkpoint(kept[0]) == kept[0]


# ---- seeds of evaluations ----


def test_evaluations_play_no_episode_of_any_training() -> None:
    """Whatever the seeds: a training with `num_envs` environments uses SEED_STRIDE * seed + i, i < num_envs.

    Counted modulo 2**31 too, as emulators do. Of A3C's workers and restarted episodes: seeds below 2**30, plus i.
    """
    seeds = [*range(300), 9_999, 100_009, 100_010, 100_011, 110_000, 123_456, 2**20, 2**31, 2**32 - 1]
    num_envs = SEED_STRIDE - MAX_ENVS
    for modulus in (2**200, 2**31):
        evaluated = {(evaluation_seed(seed) + i) % modulus for seed in seeds for i in range(MAX_ENVS)}
        assert len(evaluated) == len(seeds) * MAX_ENVS or modulus == 2**31
        trained = {
            (SEED_STRIDE * seed + i) % modulus for seed in [*seeds, *range(109_700, 110_301)] for i in range(2_000)
        }
        assert not evaluated & trained
        assert min(evaluated) >= 2**30 + 65_536 or modulus == 2**31
    for seed in seeds:  # exactly: the remainder tells who uses a seed
        remainders = {(evaluation_seed(seed) + i) % SEED_STRIDE for i in range(MAX_ENVS)}
        assert min(remainders) >= num_envs


@pytest.mark.parametrize(("seed", "agent"), [(0, "ppo"), (100_010, "ppo"), (110_000, "a3c"), (7, "reinforce")])
def test_run_resets_its_evaluations_with_other_seeds(
    seed: int, agent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of all resets with a seed, of environments without snapshots too, which are reset at each checkpoint."""
    used: dict[str, set[int]] = {"training": set(), "evaluation": set()}
    kind = "training"
    restart, evaluate_agent = EnvRunner.restart_episodes, Session.evaluate

    def restart_and_record(runner: EnvRunner, seed: int | None = None) -> None:
        if seed is not None:
            used[kind] |= {seed + i for i in range(runner.num_envs)}
        restart(runner, seed)

    def evaluate_and_note(session: Session) -> Any:
        nonlocal kind
        kind = "evaluation"
        row = evaluate_agent(session)
        kind = "training"
        return row

    monkeypatch.setattr(EnvRunner, "restart_episodes", restart_and_record)
    monkeypatch.setattr(Session, "evaluate", evaluate_and_note)
    train(short_training(agent, game="CartPole-v1", seed=seed, steps=128), tmp_path / "run", quiet=True)
    assert used["training"] & {SEED_STRIDE * seed, SEED_STRIDE * seed + 1}
    assert len(used["evaluation"]) == 3
    assert not used["evaluation"] & used["training"]


# ---- another number of steps ----


def test_finished_run_is_extended(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its schedules go over the new number of steps, as those of an agent that learns on by hand."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    result = train(short_training(steps=640), run, resume=True, quiet=True)
    assert capsys.readouterr().out == (
        "the run ends after 640 steps instead of 320: its schedules go on at 50% instead of 100%\n"
    )
    assert result.agent.step == 640
    by_hand = find("ppo")("CatchBall", small_config("ppo"), seed=7, num_envs=2)
    for _ in by_hand.train(320):
        pass
    for _ in by_hand.train(640):
        pass
    assert weights(result.agent) == weights(by_hand) == weights(load(run / "checkpoints" / "final.ckpt"))
    config = json.loads((run / "config.json").read_text())
    assert (config["steps"], config["extended_from"], config["log_every"]) == (640, [320], 32)
    assert [row["step"] for row in read_rows(run / "metrics.jsonl")][-1] == 640
    assert train(short_training(steps=640), run, resume=True, quiet=True).agent.step == 640
    assert train(short_training(steps=None), run, resume=True, quiet=True).agent.step == 640
    assert capsys.readouterr().out == ""
    assert train(short_training(steps=656), run, resume=True, quiet=True).agent.step == 656
    assert json.loads((run / "config.json").read_text())["extended_from"] == [320, 640]


def test_run_with_a_replay_buffer_is_extended_from_its_last_checkpoint(tmp_path: Path) -> None:
    """Not from final.ckpt, which has no replay buffer; killed and resumed, it ends alike."""
    one, other = tmp_path / "one", tmp_path / "other"
    train(short_training("dqn"), one, quiet=True)
    shutil.copytree(one, other)
    result = train(short_training("dqn", steps=480), one, resume=True, quiet=True)

    class Killed(BaseException):
        pass

    def kill(*_: Any) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "evaluate", kill)
        with pytest.raises(Killed):
            train(short_training("dqn", steps=480), other, resume=True, quiet=True)
    assert not (other / "checkpoints" / "final.ckpt").exists()  # the newest agent is not the one of 320 steps
    train(short_training("dqn", steps=480), other, resume=True, quiet=True)
    assert {name: content for name, content in contents(other).items() if name != "times.jsonl"} == {
        name: content for name, content in contents(one).items() if name != "times.jsonl"
    }
    assert result.agent.step == 480


def test_stopped_run_is_extended_or_shortened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for steps, expected in ((480, "40% instead of 60%"), (256, "75% instead of 60%")):
        run = tmp_path / f"{steps}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training_module.Progress, "update", lambda *_: signal.raise_signal(signal.SIGTERM))
            patch.setattr(Every, "__call__", lambda *_: False)
            with closing(open_session(short_training(), run, quiet=True)) as session:
                session.agent.step = 176
                session.run()
        capsys.readouterr()
        result = train(short_training(steps=steps), run, resume=True, quiet=True)
        assert capsys.readouterr().out.endswith(f"its schedules go on at {expected}\n")
        assert result.agent.step == steps
        assert load(run / "checkpoints" / "final.ckpt", weights_only=True).step == steps
    with pytest.raises(ValueError, match="expected --steps >= 256, where the run is, got 128"):
        train(short_training(steps=128), run, resume=True, quiet=True)
    assert json.loads((run / "config.json").read_text())["steps"] == 256


def test_extended_run_needs_its_other_settings(finished: Path) -> None:
    before = contents(finished)
    with pytest.raises(ValueError, match="seed was 7, is 8; resume with the same"):
        train(short_training(steps=640, seed=8), finished, resume=True, quiet=True)
    assert contents(finished) == before
