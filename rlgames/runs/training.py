"""Training as the command line does it: logs, evaluations, checkpoints, and runs that resume exactly where they
stopped.

The agent owns the loop, and this iterates it. What happens when depends on step counts alone, never on the clock, and
the whole state between two updates goes into each checkpoint, so a resumed run ends with the same bits as an unbroken
one.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlgames.agents.base import Agent
from rlgames.agents.config import make_config
from rlgames.agents.metrics import MetricsLog, summary_writer, write_scalars
from rlgames.agents.progress import Progress
from rlgames.agents.registry import find
from rlgames.checkpoint import file as checkpoint
from rlgames.engine.validation import check_count
from rlgames.envs.task import Task
from rlgames.evaluation import evaluate
from rlgames.networks.threads import torch_threads
from rlgames.plots import draw_curve
from rlgames.presets.lookup import find_preset
from rlgames.runs.directory import RunDirectory, find_checkpoint, read_rows

EVALUATION_SEEDS = 1_000_000_000  # added to the run's seed: evaluations play no episode of the training
STDERR = 2  # its file descriptor


@dataclass(frozen=True)
class Training:
    """Settings of a run. None: as in the preset of the agent on that game."""

    agent: str
    game: str
    config: Any = None  # the agent's, such as a PPOConfig
    steps: int | None = None  # environment steps, summed over the environments
    envs: int | None = None  # environments stepped at once
    seed: int = 0
    device: str = "auto"
    log_every: int | None = None  # steps between two rows of metrics; None: 200 rows a run
    evaluate_every: int | None = None  # steps between two evaluations; None: 20 a run
    evaluate_episodes: int = 20
    evaluate_max_steps: int | None = None  # agent steps after which an evaluation's episode is truncated
    save_every: int | None = None  # steps between two checkpoints; None: 20 a run
    start: str | None = None  # checkpoint, or directory of a run, whose networks to start from

    def resolve(self) -> ResolvedTraining:
        """Fill in the preset's values, and check all. Raises ValueError for values that are not allowed."""
        task, agent = Task.parse(self.game), self.agent.lower()
        preset, config_class = find_preset(agent, task), find(agent).Config
        steps = preset.steps if self.steps is None else self.steps
        for name in ("log_every", "evaluate_every", "save_every", "envs", "evaluate_max_steps"):
            check_count(name, getattr(self, name), or_none=True)
        check_count("evaluate_episodes", self.evaluate_episodes)
        check_count("steps", steps)
        return ResolvedTraining(
            agent=agent,
            game=str(task),
            config=make_config(config_class, preset.config) if self.config is None else self.config,
            steps=steps,
            envs=self.envs or preset.envs,
            seed=self.seed,
            device=self.device,
            log_every=self.log_every or max(1, steps // 200),
            evaluate_every=self.evaluate_every or max(1, steps // 20),
            evaluate_episodes=self.evaluate_episodes,
            evaluate_max_steps=self.evaluate_max_steps,
            save_every=self.save_every or max(1, steps // 20),
            start=self.start,
        )


@dataclass(frozen=True)
class ResolvedTraining(Training):
    """A `Training` in which nothing is left to a preset."""

    steps: int = 0
    envs: int = 0
    log_every: int = 0
    evaluate_every: int = 0
    save_every: int = 0


@dataclass
class TrainingResult:
    directory: RunDirectory
    agent: Agent
    seconds: float  # of training in this process, without evaluations
    best: float | None  # mean score of the best evaluation
    stopped: str | None = None  # the signal that ended the run early


def train(
    training: Training, out: str | Path, *, resume: bool = False, overwrite: bool = False, quiet: bool = False
) -> TrainingResult:
    """Train an agent in the run directory `out`; see `rlgames.runs.directory` for its files.

    `resume` continues from the last checkpoint of a run with the same settings; `overwrite` deletes an earlier run.
    SIGTERM and Ctrl-C end it cleanly after the current update, saved if its environments have snapshots.
    """
    with closing(open_session(training, out, resume=resume, overwrite=overwrite, quiet=quiet)) as session:
        return session.run()


def open_session(
    training: Training, out: str | Path, *, resume: bool = False, overwrite: bool = False, quiet: bool = False
) -> Session:
    """Validate the settings and open the run directory before training."""
    resolved, directory = training.resolve(), RunDirectory(out)
    settings = checkpoint.config_to_json(resolved)
    agent = find(resolved.agent)(  # before the directory is created: what cannot be made leaves nothing behind
        resolved.game, resolved.config, seed=resolved.seed, device=resolved.device, num_envs=resolved.envs
    )
    session = Session(resolved, directory, agent, quiet)
    try:
        session.memory = agent.check_memory()
        if found := directory.resume(settings) if resume else None:
            _, _, state = found
            agent.load_state_dict(state)
            session.load_state_dict(state["run"])
            if agent.plays_in_workers(agent.config) or not agent.start_training().exact:
                print("resuming with new episodes: these environments have no snapshot, so the run is not bit-for-bit")
        elif resolved.start is not None:
            agent.start_from(find_checkpoint(Path(resolved.start)))
        if not resume:
            if overwrite and directory.config.exists():
                directory.clear()
            directory.create(settings)
        directory.truncate_after(agent.step)
        session.seconds_before = max((row["seconds"] for row in read_rows(directory.times)), default=0.0)
    except BaseException:
        session.close()
        raise
    return session


class Every:
    """Returns True when a step count has passed the next multiple of `interval`."""

    def __init__(self, interval: int, step: int):
        self.interval, self.next = interval, (step // interval + 1) * interval

    def __call__(self, step: int) -> bool:
        if step < self.next:
            return False
        self.next = (step // self.interval + 1) * self.interval
        return True


class Session:
    """One process's part of a run."""

    def __init__(self, training: ResolvedTraining, directory: RunDirectory, agent: Agent, quiet: bool):
        self.training, self.directory, self.agent, self.quiet = training, directory, agent, quiet
        self.metrics = MetricsLog()
        self.best: float | None = None  # mean score of the best evaluation
        self.seconds_before, self.paused = 0.0, 0.0  # of training in earlier processes; of this one without training
        self.memory: str | None = None  # line on the memory that training takes

    def close(self) -> None:
        self.agent.close()

    def run(self) -> TrainingResult:
        c, agent = self.training, self.agent
        log_due, evaluate_due, save_due = (
            Every(interval, agent.step) for interval in (c.log_every, c.evaluate_every, c.save_every)
        )
        if self.memory and not self.quiet:
            print(self.memory, flush=True)
        with Progress(f"{c.agent} on {c.game}", c.steps, agent.step, self.quiet) as progress, ExitStack() as stack:
            if not agent.plays_in_workers(agent.config):
                agent.start_training()
            writer = summary_writer(self.directory.path / "tensorboard", agent.step)
            if writer:
                stack.enter_context(closing(writer))
            stack.enter_context(torch_threads(agent.suitable_threads()))
            stop = stack.enter_context(stop_signals(self.quiet))
            self.started, self.first_step = time.perf_counter(), agent.step
            progress.restart(agent.step)
            for update in agent.train(c.steps):
                self.metrics.add(update)
                if not self.metrics.finite:
                    agent.check_weights()
                progress.update(update.step, self.metrics.score_mean)
                last = update.step >= c.steps
                if log_due(update.step) or last:
                    self.write(self.metrics.row(update.step), writer)
                if evaluate_due(update.step) or last:
                    row = self.evaluate()
                    self.write(row, writer)
                    progress.note(f"{update.step:,} steps: evaluated at {row['eval/score_mean']:,.1f}")
                if save_due(update.step) or last:
                    if writer:
                        writer.flush()  # a run that resumes from here does not write earlier events again
                    self.save()
                if stop:
                    break
        seconds, done = self.seconds(), agent.step >= c.steps
        if done:
            self.save(self.directory.final)
        elif agent.plays_in_workers(agent.config) or agent.start_training().snapshot() is not None:
            self.save()
        title = f"{c.agent} on {c.game}, seed {c.seed}"
        rows = [*read_rows(self.directory.metrics), *read_rows(self.directory.episodes)]
        draw_curve(rows, self.directory.curve, title)
        return TrainingResult(self.directory, agent, seconds, self.best, None if done else stop[0])

    def seconds(self) -> float:
        """Return the seconds of training in this process."""
        return time.perf_counter() - self.started - self.paused

    def write(self, row: dict[str, Any], writer: Any) -> None:
        seconds = self.seconds()
        fps = (row["step"] - self.first_step) / max(seconds, 1e-9)
        self.directory.log(row, self.seconds_before + seconds, fps)
        if writer:
            write_scalars(writer, row | {"time/fps": fps})

    def evaluate(self) -> dict[str, Any]:
        """Evaluate, keep the checkpoint if it is the best so far, and return a row of metrics."""
        c, started = self.training, time.perf_counter()
        seed = c.seed + EVALUATION_SEEDS
        result = evaluate(self.agent, episodes=c.evaluate_episodes, seed=seed, max_episode_steps=c.evaluate_max_steps)
        self.paused += time.perf_counter() - started
        if self.best is None or result.mean >= self.best:  # of equals the one that was trained longest
            self.best = result.mean
            self.save(self.directory.best)
        return {
            "step": self.agent.step,
            "eval/score_mean": result.mean,
            "eval/mean_reward": sum(result.rewards) / len(result.rewards),
            "eval/mean_ep_length": sum(result.lengths) / len(result.lengths),
            "eval_scores": result.scores,
        }

    def save(self, path: Path | None = None) -> None:
        """Save to `path`, or as this step's checkpoint, from which the run resumes exactly."""
        started = time.perf_counter()
        if path is None:
            self.agent.restart_episodes()
        state = self.agent.state_dict() | {"run": self.state_dict()}
        if path is None:
            self.directory.save(self.agent.step, self.agent.header(), state, getattr(self.agent, "replay", None))
        else:
            self.directory.save_without_replay(path, self.agent.header(), state)
        self.paused += time.perf_counter() - started

    def state_dict(self) -> dict[str, Any]:
        return {"metrics": self.metrics.state_dict(), "best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.metrics.load_state_dict(state["metrics"])
        self.best = state["best"]


@contextmanager
def stop_signals(quiet: bool = False) -> Iterator[list[str]]:
    """Yield a list that SIGTERM or the first Ctrl-C adds its name to; the second Ctrl-C interrupts as usual.

    Unless `quiet`, the first Ctrl-C is answered at once, on stderr.
    """
    stop: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield stop  # Python delivers signals to the main thread only
        return

    def note(number: int, _: Any) -> None:
        if number == signal.SIGINT and stop:
            raise KeyboardInterrupt
        stop.append(signal.Signals(number).name)
        if number == signal.SIGINT and not quiet:
            with suppress(
                OSError
            ):  # by the system call: a handler may interrupt a print, which cannot be entered twice
                start = b"\n" if os.isatty(STDERR) else b""  # below the bar
                os.write(STDERR, start + b"stopping after this update; again to stop now\n")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
