"""The page on a running training: it shows the newest agent and the curves, and changes and delays nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from helpers.processes import TIMEOUT, wait_until_ended
from websockets.sync.client import ClientConnection, connect

import rlgames
from rlgames.agents.a3c import A3CConfig
from rlgames.agents.dqn import DQNConfig
from rlgames.agents.ppo import PPOConfig
from rlgames.checkpoint import weights_sha256
from rlgames.cli.main import main
from rlgames.runs import trackers
from rlgames.runs import training as runs
from rlgames.runs.training import Training, open_session
from rlgames.web import training
from rlgames.web.server import listen
from rlgames.web.training import Curves, Run, TrainingPage

CONFIG = PPOConfig(n_steps=8, n_epochs=1, num_minibatches=1, net_arch=(16,))
SETTINGS: dict[str, Any] = {"steps": 240, "envs": 2, "seed": 3, "log_every": 16, "evaluate_every": 120}
SETTINGS |= {"evaluate_episodes": 2, "evaluate_max_steps": 30, "save_every": 240}
TRAININGS = [
    Training("ppo", "CatchBall", CONFIG, **SETTINGS),
    Training("a3c", "CatchBall", A3CConfig(workers=1, n_steps=8, net_arch=(16,)), **SETTINGS),
    Training("dqn", "CatchBall", DQNConfig(buffer_size=60, learning_starts=16, batch_size=4), **SETTINGS),
]


class NoProcess:
    """Stands in for the process that serves; a test does its part at the other end of the pipe."""

    def join(self, timeout: float | None = None) -> None:
        pass

    kill = join


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """The end of the pipe of the process that serves, which is not started."""
    ours, theirs = Pipe()
    monkeypatch.setattr(training, "start", lambda *_: (ours, NoProcess()))
    monkeypatch.setattr(trackers, "summary_writer", lambda folder, step: None)  # it takes seconds to import
    monkeypatch.setattr(runs, "draw_curve", lambda rows, picture, title: None)
    yield theirs
    theirs.close()


def run(training: Training, out: Path, watch: Callable[[TrainingPage], None] | None = None) -> dict[str, bytes]:
    """Train with a page, and `watch` it before each update, or without one; return what the run leaves."""
    session = open_session(training, out, quiet=True)
    page = TrainingPage(session, listen()) if watch else None

    def update() -> None:
        assert page is not None
        assert watch is not None
        watch(page)
        page.update()

    session.run(update if page else None)
    session.close()
    if page:
        page.close()
        assert not page.folder.exists()
    return {name: (out / name).read_bytes() for name in ("metrics.jsonl", "episodes.jsonl", "checkpoints/final.ckpt")}


@pytest.mark.parametrize("settings", TRAININGS, ids=lambda each: each.agent)
def test_a_viewer_changes_no_bit_of_the_run(settings: Training, pipe: Connection, tmp_path: Path) -> None:
    """It asks for weights again and again, and gets those of the agent, with the steps and the seconds."""
    updates, steps, weights = [], [], []

    def watch(page: TrainingPage) -> None:
        updates.append(page)
        if pipe.poll():
            step, seconds = pipe.recv()
            agent = rlgames.load(page.weights, weights_only=True)
            assert (agent.step, seconds > 0) == (step, True)
            steps.append(step)
            weights.append(weights_sha256(agent.net.state_dict()))
        if len(updates) % 5 == 1:
            page.next_check = 0.0
            pipe.send(None)

    assert run(settings, tmp_path / "watched", watch) == run(settings, tmp_path / "alone")
    assert len(steps) == len(set(steps)) >= 3
    assert len(set(weights)) >= 3


def test_weights_are_written_for_viewers_alone_and_seldom(pipe: Connection, tmp_path: Path) -> None:
    written = []

    def watch(page: TrainingPage) -> None:
        written.append(page.weights.stat().st_mtime_ns)
        if len(written) == 10:
            page.next_check = 0.0
            pipe.send(None)
        if len(written) == 11:
            pipe.send(None)
            assert page.next_check >= training.CHECK_INTERVAL  # of a clock that began before: not before a second

    run(TRAININGS[0], tmp_path / "run", watch)
    assert len(set(written[:10])) == 1
    assert len(set(written[10:])) == 1
    assert written[0] != written[10]


def test_a_page_that_fails_or_finds_no_room_stops_no_training(
    pipe: Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    updates = []

    def watch(page: TrainingPage) -> None:
        updates.append(page)
        page.next_check = 0.0
        if len(updates) == 5:
            pipe.send(None)
            monkeypatch.setattr(type(page.session.agent), "save", fail)
        if len(updates) == 6:
            assert pipe.recv()[0] == page.session.agent.step - 16  # one update before: it is answered all the same
            monkeypatch.undo()
            pipe.close()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    run(TRAININGS[0], tmp_path / "run", watch)
    assert len(updates) == 15
    assert capsys.readouterr().err == "the live page has failed; the training goes on without it\n"


def test_curves_grow_with_the_files(tmp_path: Path) -> None:
    metrics, times = tmp_path / "metrics.jsonl", tmp_path / "times.jsonl"
    curves = Curves(Run(metrics, times, 1000, 0))
    assert curves.read() == {"step": 0, "steps": 1000, "fps": None, "curves": {}}
    metrics.write_text('{"step": 10, "train/loss": 2.0, "episodes": 3}\n{"step": 20, "train/lo')
    times.write_text('{"step": 10, "seconds": 1, "time/fps": 10.0}\n')
    assert curves.read() == {
        "step": 10,
        "steps": 1000,
        "fps": 10.0,
        "curves": {"train/loss": [(10,), (2.0,)], "time/fps": [(10,), (10.0,)]},
    }
    with metrics.open("a") as file:
        file.write('ss": 1.5}\n' + "".join(json.dumps({"step": i, "train/loss": i}) + "\n" for i in range(21, 1020)))
    steps, values = curves.read()["curves"]["train/loss"]
    assert (len(steps), values[-1]) == (167, 1019)  # every sixth of 1001, the newest among them
    curves.advance(100, 1.0)
    curves.advance(180, 3.0)
    assert curves.read()["fps"] == 40


# ---- the command ----


PROGRAM = """
import sys
from rlgames.cli.main import main
from rlgames.web.training import TrainingPage
TrainingPage.niceness = 0
sys.exit(main())
"""


class Command:
    """`rlgames train` in a process of its own; its page has the usual priority, as other tests run beside it."""

    def __init__(self, out: Path, steps: int, *options: str):
        arguments = ["train", "ppo", "CatchBall", "--out", str(out), "--steps", str(steps), "--quiet", "--envs", "2"]
        config = ["--config.n-steps", "8", "--config.num-minibatches", "1", "--config.net-arch", "16"]
        command = [sys.executable, "-c", PROGRAM, *arguments, *config, *options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    def address(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.fullmatch(r"open (http://\S+)\n", line):
                return found[1]
        raise AssertionError(f"no address: exit status {self.process.wait()}")

    def server(self) -> int:
        """Return the process that serves."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        (server,) = [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return server

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    commands = []

    def start(*arguments: Any) -> Command:
        commands.append(Command(tmp_path / f"run{len(commands)}", *arguments))
        return commands[-1]

    yield start
    for each in commands:
        each.end()


def view(address: str, **settings: Any) -> ClientConnection:
    address = address.replace("http", "ws").replace("/?", "/frames?")
    return connect(address, open_timeout=TIMEOUT, max_size=None, ping_interval=None, **settings)


def facts_of(frame: Any) -> dict[str, Any]:
    return json.loads(frame[4 : 4 + int.from_bytes(frame[:4], "little")])


def get(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_the_command_makes_the_same_files_with_a_page(command: Callable[..., Command], tmp_path: Path) -> None:
    for each in (command(2000, "--live"), command(2000)):
        each.process.communicate(timeout=TIMEOUT)
        assert each.process.returncode == 0
    paths = [path.relative_to(tmp_path / "run0") for path in (tmp_path / "run0" / "checkpoints").glob("*")]
    assert paths
    for path in [*paths, Path("metrics.jsonl"), Path("config.json")]:
        assert (tmp_path / "run0" / path).read_bytes() == (tmp_path / "run1" / path).read_bytes()


@pytest.mark.slow
def test_viewers_see_the_newest_agent(command: Callable[..., Command]) -> None:
    """One looks on while another stalls and a third vanishes."""
    address = command(100_000_000, "--live").address()
    with view(address) as viewer, view(address, max_queue=1) as stalled, view(address) as vanished:
        vanished.socket.shutdown(socket.SHUT_RDWR)
        agents = {facts_of(viewer.recv(TIMEOUT))["agent"]}
        while len(agents) < 3:
            agents.add(facts_of(viewer.recv(TIMEOUT))["agent"])
        training = get(address.replace("/?", "/training.json?"))
        assert 0 < training["step"] <= training["steps"] == 100_000_000
        stalled.send(json.dumps({"name": "paused", "value": True}))
        while not facts_of(viewer.recv(TIMEOUT))["paused"]:
            pass


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_page_ends_with_the_training(command: Callable[..., Command], number: int) -> None:
    """Ctrl-C reaches both processes, as a terminal sends it; kill -9 the training alone."""
    training = command(100_000_000, "--live")
    address = training.address()
    server = training.server()
    with view(address) as viewer:
        viewer.recv(TIMEOUT)
        training.process.send_signal(number)
        if number == signal.SIGINT:
            os.kill(server, number)
        training.process.communicate(timeout=TIMEOUT)
        assert training.process.returncode == (128 + number if number == signal.SIGINT else -number)
        assert wait_until_ended([server])


def test_a_port_that_is_taken_is_named_before_the_run_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with listen() as taken:
        port = taken.getsockname()[1]
        assert main(["train", "ppo", "CatchBall", "--out", str(tmp_path / "run"), "--live", "--port", str(port)]) == 2
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
