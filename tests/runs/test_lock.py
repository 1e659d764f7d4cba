"""One process at a time trains in the directory of a run, and the end of a process releases it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from helpers.processes import wait_until_ended

from rlgames.agents.ppo import PPO, PPOConfig
from rlgames.runs import lock as lock_module
from rlgames.runs.lock import FolderLock
from rlgames.runs.training import Training, open_session, train

pytestmark = pytest.mark.skipif(lock_module.fcntl is None, reason="there is no flock on Windows")
SHORT = Training("ppo", "CatchBall", PPOConfig(n_steps=8, n_epochs=1, net_arch=(16,)), steps=32, envs=2, device="cpu")


def test_lock_is_exclusive_until_it_is_released(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    assert (tmp_path / "lock").read_text() == f"{os.getpid()} {socket.gethostname()}\n"
    with pytest.raises(FileExistsError, match=rf"is in use by this process \({os.getpid()}\): wait until it ends"):
        FolderLock(tmp_path)
    lock.release()
    assert list(tmp_path.iterdir()) == []
    lock.release()
    FolderLock(tmp_path).release()


@pytest.mark.parametrize("content", ["", "\0junk", "1", "999999 elsewhere\n"])
def test_lock_file_that_is_left_behind_means_nothing(content: str, tmp_path: Path) -> None:
    """A killed process leaves one."""
    (tmp_path / "lock").write_text(content)
    FolderLock(tmp_path).release()


def test_lock_of_another_host_is_named(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    for content, named in (("17 node3\n", "process 17 on 'node3'"), ("", "another process")):
        (tmp_path / "lock").write_text(content)
        with pytest.raises(FileExistsError, match=f"is in use by {named}: wait"):
            FolderLock(tmp_path)
    lock.release()


def test_lock_file_that_its_holder_deletes_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the opening of the file and its locking; a lock on a deleted file would exclude nobody."""
    holder = FolderLock(tmp_path)
    open_file = os.open

    def open_and_release(*arguments: Any) -> int:
        descriptor = open_file(*arguments)
        holder.release()
        return descriptor

    monkeypatch.setattr(os, "open", open_and_release)
    lock = FolderLock(tmp_path)
    monkeypatch.undo()
    with pytest.raises(FileExistsError, match="is in use by this process"):
        FolderLock(tmp_path)
    lock.release()


def test_release_leaves_the_lock_of_a_new_folder(tmp_path: Path) -> None:
    """The folder was removed, and another process made it again."""
    folder = tmp_path / "run"
    folder.mkdir()
    first = FolderLock(folder)
    folder.rename(tmp_path / "moved")
    folder.mkdir()
    second = FolderLock(folder)
    first.release()
    assert (folder / "lock").exists()
    second.release()
    assert not (folder / "lock").exists()


HOLDER = """
import os, sys, time
from pathlib import Path
from rlgames.runs.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
if not os.fork():
    print(os.getpid(), flush=True)  # by the child, which has begun by then
    time.sleep(600)
sys.stdin.read()
"""


def test_killed_process_releases_the_lock(tmp_path: Path) -> None:
    """Although a child that it forked lives on."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child = None
    try:
        assert process.stdout
        child = int(process.stdout.readline())
        with pytest.raises(
            FileExistsError, match=f"is in use by process {process.pid}: wait until it ends, or stop it"
        ):
            FolderLock(tmp_path)
        process.kill()
        process.wait()
        os.kill(child, 0)  # it runs
        FolderLock(tmp_path).release()
    finally:
        process.kill()
        if child:
            os.kill(child, signal.SIGKILL)
            assert wait_until_ended([child])
        process.communicate()


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}])
def test_run_is_refused_beside_a_live_one(how: dict[str, bool], tmp_path: Path) -> None:
    """At once, however it is started, and without a change."""
    with closing(open_session(SHORT, tmp_path / "run", quiet=True)) as session:
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        for training in (SHORT, Training("random", "CatchBall")):
            with pytest.raises(FileExistsError, match=rf"run is in use by this process \({os.getpid()}\)"):
                train(training, tmp_path / "run", quiet=True, **how)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        session.run()
    assert not (tmp_path / "run" / "lock").exists()
    train(SHORT, tmp_path / "run", resume=True, quiet=True)


def test_two_runs_that_are_started_at_once_do_not_share_a_new_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second takes it while the first makes its agent."""
    other: list[Any] = []

    def check_memory(agent: PPO) -> None:
        patch.undo()
        other.append(open_session(SHORT, tmp_path / "run", quiet=True))

    with monkeypatch.context() as patch:
        patch.setattr(PPO, "check_memory", check_memory)
        with pytest.raises(FileExistsError, match="run is in use by this process"):
            train(SHORT, tmp_path / "run", quiet=True)
    with closing(other[0]) as session:
        session.run()


def test_failed_start_releases_the_directory(tmp_path: Path) -> None:
    train(SHORT, tmp_path / "run", quiet=True)
    for how in ({}, {"resume": True, "training": Training("random", "CatchBall")}):
        with pytest.raises(ValueError if how else FileExistsError):
            train(how.pop("training", SHORT), tmp_path / "run", quiet=True, **how)
        assert not (tmp_path / "run" / "lock").exists()
        FolderLock(tmp_path / "run").release()
