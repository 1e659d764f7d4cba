"""Training as the command line does it: logs, evaluations, checkpoints, and runs that go on exactly where they stopped.

The agent owns the loop, this consumes it. What happens when depends on step counts alone, never on the clock, and all
that is alive between two updates goes into each checkpoint, so a resumed run ends with the same bits as an unbroken
one.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlgames.agents.base import Agent
from rlgames.agents.registry import find
from rlgames.checkpoint import file as checkpoint
from rlgames.envs.task import Task
from rlgames.evaluation import evaluate
from rlgames.plots import draw_curve
from rlgames.presets import lookup as presets
from rlgames.runs.directory import RunDirectory, checkpoint_at, rows
from rlgames.runs.metrics import Due, Journal
from rlgames.runs.progress import Progress

EVALUATION_SEEDS = 1_000_000_000  # added to the run's seed: no evaluation plays an episode of the training


@dataclass(frozen=True)
class Training:
    """All that a run depends on. None: as the preset of the agent on that game says."""

    agent: str
    game: str
    config: Any = None  # the agent's, e.g. PPOConfig
    steps: int | None = None  # environment steps, all players counted
    envs: int | None = None  # players at once
    seed: int = 0
    device: str = "auto"
    log_every: int | None = None  # steps between two lines of metrics; None: 200 lines a run
    evaluate_every: int | None = None  # steps between two evaluations; None: 20 a run
    evaluate_episodes: int = 20
    evaluate_max_steps: int | None = None  # agent steps after which an evaluation's episode is cut short
    save_every: int | None = None  # steps between two checkpoints; None: 20 a run
    start: str | None = None  # a checkpoint or a run's directory: the trained agent whose networks to begin with

    def filled(self) -> Filled:
        """With the preset's values where there were none, and checked."""
        task, agent = Task.parse(self.game), self.agent.lower()
        preset = presets.preset(agent, task)
        steps = preset.steps if self.steps is None else self.steps
        shares = {"log_every": 200, "evaluate_every": 20, "save_every": 20}
        counts = {n: getattr(self, n) for n in (*shares, "envs", "evaluate_episodes", "evaluate_max_steps")}
        for name, value in {"steps": steps, **counts}.items():
            if value is not None and value < 1:
                raise ValueError(f"expected {name} >= 1, got {value}")
        every = {n: max(1, steps // share) if counts[n] is None else counts[n] for n, share in shares.items()}
        return Filled(
            *(agent, str(task), preset.config if self.config is None else self.config, steps),
            *(preset.envs if self.envs is None else self.envs, self.seed, self.device),
            *(every["log_every"], every["evaluate_every"], self.evaluate_episodes),
            *(self.evaluate_max_steps, every["save_every"], self.start),
        )


@dataclass(frozen=True)
class Filled(Training):
    """A `Training` in which nothing is left to a preset."""

    steps: int = 0
    envs: int = 0
    log_every: int = 0
    evaluate_every: int = 0
    save_every: int = 0


@dataclass
class Result:
    directory: RunDirectory
    agent: Agent
    seconds: float  # of training in this process, evaluations not counted
    best: float | None  # the best evaluation's mean
    stopped: str | None = None  # the signal that ended the run early


def train(
    training: Training, out: str | Path, *, resume: bool = False, overwrite: bool = False, quiet: bool = False
) -> Result:
    """Train an agent in the run directory `out`; see `rlgames.runs.directory` for what it leaves there.

    `resume` goes on from the last checkpoint of a run with the same settings; `overwrite` throws an earlier run away.
    SIGTERM and Ctrl-C end it cleanly after the update in progress, saved if its environments offer snapshots.
    """
    with closing(begin(training, out, resume=resume, overwrite=overwrite, quiet=quiet)) as session:
        return session.run()


def begin(
    training: Training, out: str | Path, *, resume: bool = False, overwrite: bool = False, quiet: bool = False
) -> Session:
    """What `train` does before the first update: all that settings, files and directories can be wrong about."""
    training, directory = training.filled(), RunDirectory(out)
    settings = checkpoint.plain(training)
    agent = find(training.agent)(  # before the directory is taken: what cannot be made leaves nothing behind
        training.game, training.config, seed=training.seed, device=training.device, num_envs=training.envs
    )
    session = Session(training, directory, agent, Journal(), quiet)
    try:
        session.demand = agent.demand()
        if found := directory.resume(settings) if resume else None:
            _, _, state = found
            agent.load_state_dict(state)
            session.journal = Journal(**state["run"])
            if not agent.playing().exact:
                print("the run goes on with fresh episodes, not bit for bit")
        elif training.start is not None:
            agent.start_from(checkpoint_at(Path(training.start)))
        if not resume:
            if overwrite and directory.config.exists():
                directory.clear()
            directory.begin(settings)
        directory.forget_after(agent.step)
        session.spent = max((row["seconds"] for row in rows(directory.times)), default=0.0)
    except BaseException:
        session.close()
        raise
    return session


class Session:
    """One process's part of a run."""

    def __init__(self, training: Filled, directory: RunDirectory, agent: Agent, journal: Journal, quiet: bool):
        self.training, self.directory, self.agent, self.journal, self.quiet = training, directory, agent, journal, quiet
        self.spent, self.pause = 0.0, 0.0  # seconds of training before this process; of this one not spent on training
        self.demand: str | None = None  # of memory, in a line

    def close(self) -> None:
        if self.agent.envs is not None:
            self.agent.envs.close()

    def run(self) -> Result:
        c, agent, journal = self.training, self.agent, self.journal
        log, test, save = (Due(every, agent.step) for every in (c.log_every, c.evaluate_every, c.save_every))
        writer = tensorboard(self.directory.path / "tensorboard", agent.step)
        if self.demand and not self.quiet:
            print(self.demand, flush=True)
        agent.playing()
        self.began = time.perf_counter()
        with stop_signals() as stop, Progress(f"{c.agent} on {c.game}", c.steps, agent.step, self.quiet) as progress:
            for update in agent.train(c.steps):
                journal.add(update)
                progress.update(update.step, journal.score)
                last = update.step >= c.steps
                if log(update.step) or last:
                    self.write(journal.row(update.step), writer)
                if test(update.step) or last:
                    self.write(self.evaluate(), writer)
                    progress.note(f"{update.step:,} steps: evaluated at {journal.evaluations[-1]:,.1f}")
                if save(update.step) or last:
                    if writer:
                        writer.flush()  # a run that goes on from here does not write again what came before
                    self.save()
                if stop:
                    break
        seconds, done = self.seconds(), agent.step >= c.steps
        if done:
            self.save(self.directory.final)
        elif self.agent.playing().snapshot() is not None:
            self.save()
        if writer:
            writer.close()
        draw_curve(self.directory.metrics, self.directory.curve, f"{c.agent} on {c.game}, seed {c.seed}")
        return Result(self.directory, agent, seconds, journal.best, None if done else stop[0])

    def seconds(self) -> float:
        return time.perf_counter() - self.began - self.pause

    def write(self, row: dict[str, Any], writer: Any) -> None:
        self.directory.log(row, self.spent + self.seconds())
        if writer:
            for key, value in row.items():
                if isinstance(value, float):
                    writer.add_scalar(key, value, row["step"])

    def evaluate(self) -> dict[str, Any]:
        """Evaluate, keep the checkpoint if it is the best so far, and return a line of metrics."""
        c, began = self.training, time.perf_counter()
        seed = c.seed + EVALUATION_SEEDS
        result = evaluate(self.agent, episodes=c.evaluate_episodes, seed=seed, max_steps=c.evaluate_max_steps)
        self.pause += time.perf_counter() - began
        self.journal.evaluations.append(result.mean)
        if self.journal.best is None or result.mean >= self.journal.best:  # of equals the one that has learned longest
            self.journal.best = result.mean
            self.save(self.directory.best)
        return {"step": self.agent.step, "evaluation": result.mean, "evaluation_scores": result.scores}

    def save(self, path: Path | None = None) -> None:
        """To `path`, or as this step's checkpoint, which is a place to go on from exactly."""
        began = time.perf_counter()
        if path is None:
            self.agent.renew()
        state = self.agent.state_dict() | {"run": self.journal.state()}
        if path is None:
            self.directory.save(self.agent.step, self.agent.header(), state, getattr(self.agent, "replay", None))
        else:
            self.directory.save_apart(path, self.agent.header(), state)
        self.pause += time.perf_counter() - began


@contextmanager
def stop_signals() -> Iterator[list[str]]:
    """A list that SIGTERM or the first Ctrl-C puts its name into; the second Ctrl-C interrupts as usual."""
    stop: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield stop  # Python delivers signals to the main thread only
        return

    def note(number: int, _: Any) -> None:
        if stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.append(signal.Signals(number).name)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def tensorboard(path: Path, step: int) -> Any:
    """A writer of events that replaces those after `step`; None without the extra `tensorboard`."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(path), purge_step=step + 1 if step else None)
