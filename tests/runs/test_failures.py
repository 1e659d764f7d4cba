"""A full disk, a folder that is gone, a closed or full output: one line, the right exit status, and the run resumes."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rlgames.agents.metrics import MetricsLog
from rlgames.cli import main as cli
from rlgames.errors import WriteError
from rlgames.runs import directory as directory_module
from rlgames.runs import trackers
from rlgames.runs import training as training_module

SETTINGS = [
    "--steps",
    "96",
    "--envs",
    "2",
    "--config.n-steps",
    "8",
    "--config.n-epochs",
    "1",
    "--config.net-arch",
    "16",
]
SETTINGS += ["--log-every", "16", "--evaluate-every", "48", "--evaluate-episodes", "1", "--evaluate-max-steps", "10"]
SETTINGS += ["--save-every", "32", "--config.num-minibatches", "1", "--device", "cpu"]
Capture = pytest.CaptureFixture[str]


def run_cli(out: Path, *options: str) -> int:
    return cli.main(["train", "ppo", "CatchBall", *SETTINGS, "--out", str(out), *options])


def files_of(run: Path) -> dict[str, bytes]:
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.fixture
def expected(quick_runs: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files of a run without any failure."""
    out = tmp_path_factory.getbasetemp() / "without failure" / "run"
    if not out.exists():
        assert run_cli(out, "--quiet") == 0
    return files_of(out)


def check_one_line(capsys: Capture, message: str) -> None:
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("rlgames: ")
    assert message in line


def check_resumes(out: Path, expected: dict[str, bytes]) -> None:
    """To the same files, but for the times."""
    assert run_cli(out, "--resume", "--quiet") == 0
    found = files_of(out)
    assert set(found) == set(expected)
    assert [name for name in found if found[name] != expected[name] and name != "times.jsonl"] == []


# ---- files ----


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("limit", [0, 300, 2_000, 20_000])
def test_file_size_limit(limit: int, tmp_path: Path, expected: dict[str, bytes], capsys: Capture) -> None:
    """Of config.json, of the lock, of a row of metrics, of a checkpoint."""
    out = tmp_path / "run"
    with file_size_limit(limit):
        status = run_cli(out, "--quiet")
    assert status == (2 if limit < 1_000 else 1)  # before the run began, and in the middle of it
    check_one_line(capsys, "cannot be written: ")
    if (out / "config.json").exists():
        check_resumes(out, expected)
    else:
        assert run_cli(out, "--quiet") == 0


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
OPERATIONS: dict[str, tuple[Any, str]] = {  # each is the last that works, and the next fails
    "row": (directory_module, "append_row"),
    "fsync": (os, "fsync"),
    "replace": (os, "replace"),
    "curve": (training_module, "draw_curve"),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("count", [1, 4, 9])
def test_full_disk(
    name: str, count: int, tmp_path: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    owner, attribute = OPERATIONS[name]
    operation, calls = getattr(owner, attribute), 0

    def fail(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= count or name == "curve":
            raise FULL
        return operation(*args, **kwargs)

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(owner, attribute, fail)
        status = run_cli(out, "--quiet")
    assert status == (2 if (name, count) == ("replace", 1) else 1)
    check_one_line(capsys, "cannot be written: ")
    if (out / "config.json").exists():
        check_resumes(out, expected)


def test_failure_of_the_tensorboard_writer(
    tmp_path: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Whichever of its methods fails, as it writes in a thread: the run goes on."""

    class FullWriter:
        def __init__(self, failing: str) -> None:
            self.failing = failing

        def fail(self, method: str) -> None:
            if method == self.failing:
                raise FULL

        def add_scalar(self, *_: Any) -> None:
            self.fail("add_scalar")

        def flush(self) -> None:
            self.fail("flush")

        def close(self) -> None:
            self.fail("close")

    for method in ("add_scalar", "flush", "close"):
        with monkeypatch.context() as patch:
            patch.setattr(trackers, "summary_writer", lambda *_, method=method: FullWriter(method))
            assert run_cli(tmp_path / method, "--quiet") == 0
        check_one_line(capsys, "tensorboard failed, the run goes on without it (OSError: [Errno 28] No space left")
        found = files_of(tmp_path / method)
        assert {name for name in found if found[name] != expected[name]} <= {"times.jsonl"}


def at_step(step: int, action: Callable[[], Any], patch: pytest.MonkeyPatch) -> None:
    """Let `action` happen once a run has reached a step."""
    add = MetricsLog.add

    def add_and_act(log: MetricsLog, update: Any) -> None:
        add(log, update)
        if update.step == step:
            action()

    patch.setattr(MetricsLog, "add", add_and_act)


@pytest.mark.parametrize("kind", ["removed", "a file"])
def test_directory_that_is_gone(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Removed while the run lasts, or replaced: it is not made anew."""
    out = tmp_path / "run"

    def remove() -> None:
        shutil.rmtree(out)
        if kind == "a file":
            out.write_text("in its place")

    with monkeypatch.context() as patch:
        at_step(48, remove, patch)
        assert run_cli(out, "--quiet") == 1
    check_one_line(capsys, f"{out}")
    assert [path.name for path in tmp_path.iterdir()] == ["run"] * (kind == "a file")
    assert run_cli(out, "--resume") == 2
    check_one_line(capsys, "holds no run to resume")


def test_directory_without_permission(
    tmp_path: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """As a read-only file system answers, which does not stop the tests' root user."""
    out, open_file = tmp_path / "run", os.open

    def read_only(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return open_file(path, flags, *args, **kwargs)

    assert run_cli(out, "--quiet") == 0
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", read_only)
        for options in (["--resume"], ["--overwrite"], []):
            assert run_cli(out, *options) == 2
            check_one_line(capsys, "run cannot be written: [Errno 30] Read-only file system")
    check_resumes(out, expected)


# ---- output and memory ----


def test_closed_output_does_not_stop_a_run(
    tmp_path: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """As `rlgames train ... >&-`."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        assert run_cli(tmp_path / "run") == 0
    assert capsys.readouterr() == ("", "")
    found = files_of(tmp_path / "run")
    assert {name for name in found if found[name] != expected[name]} <= {"times.jsonl"}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a device that is full")
@pytest.mark.parametrize("buffering", [1, 2**20])
def test_full_output_stops_a_run_in_one_line(
    buffering: int, tmp_path: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """At its first line, or at the end if nothing was flushed before; it resumes."""
    with open("/dev/full", "w", buffering, encoding="utf-8") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        assert run_cli(tmp_path / "run") == 1
        assert cli.main(["--help"]) == 0  # what could not be written is dropped
    check_one_line(capsys, "the output cannot be written: No space left on device")
    check_resumes(tmp_path / "run", expected)


@pytest.mark.slow
def test_processes_with_a_closed_or_a_full_output(tmp_path: Path, expected: dict[str, bytes]) -> None:
    """A closed one leaves its number to the next file that is opened, unless another takes it first."""
    command = [sys.executable, "-W", "error", "-m", "rlgames", "train", "ppo", "CatchBall", *SETTINGS, "--out"]
    for redirection, status, error in (
        (">&-", 0, ""),
        (">&- 2>&- <&-", 0, ""),
        (">/dev/full", 1, "rlgames: the output cannot be written: No space left on device\n"),
    ):
        out = tmp_path / f"run{status}{len(redirection)}"
        process = subprocess.run(
            ["sh", "-c", f'"$@" {redirection}', "sh", *command, str(out)],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=240,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert (process.returncode, process.stderr) == (status, error)
        found = files_of(out)
        if status == 0:
            for name in ("metrics.jsonl", "checkpoints/final.ckpt"):
                assert found[name] == expected[name]
        assert json.loads(found["config.json"])["steps"] == 96


@pytest.mark.parametrize("text", ["", "Unable to allocate 7 GiB"])
def test_memory_that_is_used_up_is_a_sentence(
    text: str, tmp_path: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def fail() -> None:
        raise MemoryError(text)

    with monkeypatch.context() as patch:
        at_step(64, fail, patch)
        assert run_cli(tmp_path / "run", "--quiet") == 1
    check_one_line(capsys, f"the memory is used up ({text or 'no more could be had'}): try fewer environments")
    check_resumes(tmp_path / "run", expected)


def test_write_error_is_an_oserror() -> None:
    """For those who call `train` from Python."""
    assert issubclass(WriteError, OSError)
