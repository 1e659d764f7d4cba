"""A run goes on from its own files alone, and names in one line those that are another's or damaged."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlgames.agents.ppo import PPOConfig
from rlgames.checkpoint import file as checkpoint
from rlgames.checkpoint.file import weights_sha256
from rlgames.experience.env_runner import EnvRunner
from rlgames.runs.directory import RunDirectory, read_rows
from rlgames.runs.training import Training, train

SHORT = Training(
    *("ppo", "CatchBall", PPOConfig(n_steps=8, n_epochs=1, num_minibatches=1, net_arch=(16,)), 96, 2, 0, "cpu"),
    log_every=16,
    evaluate_every=48,
    evaluate_episodes=1,
    evaluate_max_steps=10,
    save_every=32,
)


@pytest.fixture
def finished(quick_runs: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Training], Path]:
    """Return a function that copies the directory of a finished run of a training, made once."""

    def copy(training: Training) -> Path:
        made = tmp_path_factory.getbasetemp() / "finished runs" / str(abs(hash(repr(training))))
        if not made.exists():
            train(training, made, quiet=True)
        return shutil.copytree(made, tmp_path_factory.mktemp("copied") / "run")

    return copy


def unfinished(run: Path) -> Path:
    """Return the run without its end, as it was after its checkpoint of step 64."""
    (run / "checkpoints" / "final.ckpt").unlink()
    (run / "checkpoints" / "step-000000000096.ckpt").unlink()
    return run


# ---- checkpoints of another run ----

OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "agent": ({"agent": "random", "config": None}, "agent was random, is ppo"),
    "seed": ({"seed": 5}, "seed was 5, is 0"),
    "envs": ({"envs": 3}, "num_envs was 3, is 2"),
    "config": ({"config": dataclasses.replace(SHORT.config, gamma=0.5)}, r"config\.gamma was 0\.5, is 0\.99"),
    "game": ({"game": "CatchBall:max_episode_steps=50"}, r"task\.options\.max_episode_steps was 50, is None"),
    "steps": ({"steps": 128}, "steps was 128, is 96"),
    "interval": ({"save_every": 16}, "save_every was 16, is 32"),
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("name", ["step", "final", "best"])
def test_checkpoint_of_another_run_is_refused(kind: str, name: str, finished: Any) -> None:
    """Wherever it comes from, and whichever checkpoint it is."""
    changes, differs = OTHERS[kind]
    run, other = unfinished(finished(SHORT)), finished(dataclasses.replace(SHORT, **changes))
    newest = max((other / "checkpoints").glob("step-*.ckpt"))
    source = newest if name == "step" else other / "checkpoints" / f"{name}.ckpt"
    path = run / "checkpoints" / source.name
    shutil.copy(source, path)
    before = sorted(run.rglob("*"))
    with pytest.raises(ValueError, match=rf"{path.name} is of another run, whose {differs}: delete it, or choose ano"):
        train(SHORT, run, resume=True, quiet=True)
    assert sorted(run.rglob("*")) == before
    path.unlink()
    if name != "best":
        result = train(SHORT, run, resume=True, quiet=True)
        assert result.agent.step == 96


def test_run_started_over_another_holds_nothing_of_it(finished: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed right after it was started, and resumed."""
    run, own = finished(dataclasses.replace(SHORT, seed=5)), finished(SHORT)

    class Killed(BaseException):
        pass

    def kill(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "truncate_after", kill)
        with pytest.raises(Killed):
            train(SHORT, run, overwrite=True, quiet=True)
    assert [path.name for path in (run / "checkpoints").iterdir()] == []
    train(SHORT, run, resume=True, quiet=True)
    for name in ("final", "best"):
        one, other = (checkpoint.load(each / "checkpoints" / f"{name}.ckpt") for each in (run, own))
        assert one[0] == other[0]
        assert weights_sha256(one[1]["net"]) == weights_sha256(other[1]["net"])


def test_checkpoints_in_another_folder_are_refused(finished: Any) -> None:
    """By a symbolic link, a run would go on from another's, and delete them."""
    run, other = finished(SHORT), finished(dataclasses.replace(SHORT, seed=5))
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").symlink_to(other / "checkpoints")
    before = sorted((other / "checkpoints").iterdir())
    for how in ({"resume": True}, {"overwrite": True}):
        with pytest.raises(FileExistsError, match="checkpoints is a symbolic link: .* delete the link, or choose"):
            train(SHORT, run, quiet=True, **how)
    (run / "config.json").unlink()
    with pytest.raises(FileExistsError, match="checkpoints is a symbolic link"):
        train(SHORT, run, quiet=True)
    assert sorted((other / "checkpoints").iterdir()) == before


def test_checkpoints_that_are_left_over_are_not_deleted_by_a_new_run(finished: Any) -> None:
    run = finished(dataclasses.replace(SHORT, seed=5))
    (run / "config.json").unlink()
    (run / "metrics.jsonl").write_text("another program's\n")
    before = sorted(run.rglob("*"))
    with pytest.raises(FileExistsError, match=r"ckpt is of another run: delete it with --overwrite, or choose another"):
        train(SHORT, run, quiet=True)
    assert sorted(run.rglob("*")) == before
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 1: is damaged"):  # it is not deleted without a run
        train(SHORT, run, overwrite=True, quiet=True)


@pytest.mark.parametrize("name", ["checkpoints/best.ckpt", "metrics.jsonl", "config.json"])
def test_overwrite_names_what_it_cannot_delete(name: str, finished: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run, unlink = finished(SHORT), Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path == run / name:
            raise PermissionError(13, "Permission denied", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(PermissionError, match=f"{name} cannot be deleted .Permission denied.: delete it yourself, or"):
        train(dataclasses.replace(SHORT, seed=5), run, overwrite=True, quiet=True)
    assert json.loads((run / "config.json").read_text())["seed"] == 0  # it is still the old run


def test_error_of_an_environment_is_not_one_of_the_checkpoint(finished: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("a bug in reset")

    run = unfinished(finished(SHORT))
    monkeypatch.setattr(EnvRunner, "restart_episodes", fail)
    with pytest.raises(ValueError, match="^a bug in reset$"):
        train(SHORT, run, resume=True, quiet=True)


def test_checkpoint_without_the_state_of_a_run_is_refused(finished: Any) -> None:
    """As `agent.save` writes it."""
    run = unfinished(finished(SHORT))
    newest = max((run / "checkpoints").glob("step-*.ckpt"))
    header, state = checkpoint.load(newest)
    checkpoint.save(newest, header, {key: value for key, value in state.items() if key != "run"})
    with pytest.raises(checkpoint.CheckpointError, match="ckpt: does not fit: 'run'"):
        train(SHORT, run, resume=True, quiet=True)


# ---- settings that an older version did not know ----


def test_new_options_have_their_defaults_in_old_runs(finished: Any) -> None:
    """In config.json, and in the headers of checkpoints."""
    run = unfinished(finished(SHORT))
    config = json.loads((run / "config.json").read_text())
    for fields, name in (
        (config, "evaluate_max_steps"),
        (config["config"], "target_kl"),
        (config["config"], "n_threads"),
    ):
        assert fields.pop(name) is not ...
    (run / "config.json").write_text(json.dumps(config))
    for path in (run / "checkpoints").glob("*.ckpt"):
        header, state = checkpoint.load(path)
        del header["config"]["target_kl"], header["run"]["start"]
        checkpoint.save(path, header, state)
    with pytest.raises(ValueError, match="other settings: evaluate_max_steps was None, is 10; resume with the same"):
        train(SHORT, run, resume=True, quiet=True)
    config["evaluate_max_steps"] = 10
    (run / "config.json").write_text(json.dumps(config))
    for training in (
        dataclasses.replace(SHORT, config=dataclasses.replace(SHORT.config, target_kl=0.1)),
        dataclasses.replace(SHORT, start="zoo/pong-ppo"),
    ):
        with pytest.raises(ValueError, match=r"target_kl was None, is 0\.1|start was None, is zoo/pong-ppo"):
            train(training, run, resume=True, quiet=True)
    result = train(SHORT, run, resume=True, quiet=True)
    final = checkpoint.load(finished(SHORT) / "checkpoints" / "final.ckpt")
    assert weights_sha256(result.agent.net.state_dict()) == weights_sha256(final[1]["net"])


# ---- damage ----

DAMAGED: list[tuple[str, bytes, str]] = [
    ("config.json", b"", r"config\.json, line 1: is damaged \(Expecting value\)"),
    ("config.json", b'{\n  "agent": "ppo",\n  "ste', r"config\.json, line 3: is damaged"),
    ("config.json", b"[1, 2]", r"config\.json, line 1: expected settings, got \[1, 2\]"),
    ("config.json", b"\xff\xfe", r"config\.json, line 1: is damaged \('utf-8' codec"),
    ("config.json", bytes(40), r"config\.json, line 1: is damaged"),
    ("config.json", b'{"steps": "many"}', r"config\.json: expected steps >= 1, got 'many'"),
    ("config.json", b"[" * 10**5, r"config\.json, line 1: is damaged"),
    ("metrics.jsonl", b'{"step": 16}\nnot a row\n', r"metrics\.jsonl, line 2: is damaged"),
    ("metrics.jsonl", b'{"step": 16}\n{"step": "a"}\n', r"metrics\.jsonl, line 2: expected a row with a step, got"),
    ("metrics.jsonl", b'{"step": 16, "train/loss": "low"}\n', r"metrics\.jsonl, line 1: expected numbers, got"),
    ("episodes.jsonl", b"\n", r"episodes\.jsonl, line 1: is damaged"),
    ("times.jsonl", b'{"step": 16}\n[]\n', r"times\.jsonl, line 2: expected a row with a step, got \[\]"),
    ("times.jsonl", bytes(40) + b"\n", r"times\.jsonl, line 1: is damaged"),
]


@pytest.mark.parametrize(("name", "content", "message"), DAMAGED, ids=[message for _, _, message in DAMAGED])
def test_damaged_file_is_named_with_its_line(name: str, content: bytes, message: str, finished: Any) -> None:
    run = finished(SHORT)
    (run / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        train(SHORT, run, resume=True, quiet=True)
    assert str(raised.value).isprintable()
    assert not (run / "lock").exists()


def test_pipe_in_place_of_a_file_is_refused(finished: Any) -> None:
    for name in ("config.json", "metrics.jsonl"):
        run = finished(SHORT)
        (run / name).unlink()
        os.mkfifo(run / name)
        with pytest.raises(ValueError, match=f"{name}: is a pipe or a device"):
            train(SHORT, run, resume=True, quiet=True)


def test_incomplete_last_row_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert read_rows(path) == []
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n{"st')
    assert read_rows(path) == [{"step": 1}, {"step": 2}]
