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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import torch

from rlgames.agents.base import SEED_STRIDE, Agent
from rlgames.agents.config import make_config
from rlgames.agents.metrics import MetricsLog
from rlgames.agents.preset_files import load_preset, preset_from_json
from rlgames.agents.progress import Progress
from rlgames.agents.registry import find
from rlgames.agents.stored import check_header, check_state, fitting, header_difference
from rlgames.checkpoint import file as checkpoint
from rlgames.engine.validation import check_count
from rlgames.envs.task import Task
from rlgames.errors import InvalidValueError
from rlgames.evaluation import MAX_ENVS, evaluate
from rlgames.networks.threads import torch_threads
from rlgames.plots import draw_curve
from rlgames.presets.lookup import find_preset
from rlgames.presets.preset import Preset
from rlgames.runs.directory import COUNTS, EXTENDED_FROM, MACHINES, RunDirectory, find_checkpoint, read_rows
from rlgames.runs.machine import describe_machine
from rlgames.runs.trackers import TrackerName, Tracking, check_tracker, tracked
from rlgames.schema import difference, fill_in_defaults
from rlgames.values import check_value

FIRST_EVALUATIONS = 110_000  # seeds of agents before those of evaluations: more than 2**30 seeds of environments
STDERR = 2  # its file descriptor


@dataclass(frozen=True)
class Training:
    """Settings of a run. None: as in the preset, or as in that of the agent on that game."""

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
    threads: int | None = None  # of torch; None: 1 for a small network, else as many as it has
    track: TrackerName | None = None  # also gets the metrics; None: TensorBoard, if it is installed
    preset: Preset | str | Path | None = None  # in place of the one of that game: a preset, or the file of one

    def as_saved(self, settings: dict[str, Any]) -> Self:
        """Return this training with the numbers of a run's settings where there are none here."""
        names = [name for name in (*COUNTS, "track") if getattr(self, name) is None]
        saved = replace(self, **{name: settings.get(name) for name in names})
        return replace(saved, preset=stored_in(settings)) if self.preset is None else saved

    def with_preset(self) -> Self:
        """Return this training with the preset itself in place of a file's path. Raises as `load_preset` does."""
        if self.preset is None or isinstance(self.preset, Preset):
            return self
        return replace(self, preset=load_preset(self.preset, self.agent))

    def resolve(self) -> ResolvedTraining:
        """Fill in the preset's values, and check all. Raises ValueError for values that are not allowed."""
        task, agent = Task.parse(self.game), self.agent.lower()
        own, config_class = self.with_preset().preset, find(agent).Config
        preset = own if isinstance(own, Preset) else find_preset(agent, task)
        steps = preset.steps if self.steps is None else self.steps
        for name in ("log_every", "evaluate_every", "save_every", "envs", "evaluate_max_steps", "threads"):
            check_count(name, getattr(self, name), or_none=True)
        check_count("evaluate_episodes", self.evaluate_episodes)
        check_count("steps", steps)
        check_value("track", self.track, TrackerName | None)
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
            threads=self.threads,
            track=self.track,
            preset=own,
        )


@dataclass(frozen=True)
class ResolvedTraining(Training):
    """A `Training` in which nothing is left to a preset; `threads` may depend on the network."""

    steps: int = 0
    envs: int = 0
    log_every: int = 0
    evaluate_every: int = 0
    save_every: int = 0


RUN_SETTINGS = [  # that the header of an agent's checkpoint does not have, and that make a run another one
    field.name
    for field in fields(ResolvedTraining)
    if field.name not in ("agent", "game", "config", "preset", "seed", "envs", "device", "threads", "track")
]


@dataclass
class TrainingResult:
    directory: RunDirectory
    agent: Agent
    seconds: float  # of training in this process, without evaluations
    best: float | None  # mean score of the best evaluation
    stopped: str | None = None  # the signal, or "pruning", that ended the run early


def train(
    training: Training, out: str | Path, *, resume: bool = False, overwrite: bool = False, quiet: bool = False
) -> TrainingResult:
    """Train an agent in the run directory `out`; see `rlgames.runs.directory` for its files.

    `resume` continues from the last checkpoint of a run with the same settings; settings that are None are the run's.
    With other `steps` the run ends there, later or sooner: schedules then go over the new number. `overwrite` deletes
    an earlier run. SIGTERM and Ctrl-C end it cleanly after the current update, saved if its environments have
    snapshots.

    Raises FileExistsError for a directory with a run, and at once if another process trains in it; WriteError, in one
    line, if a file cannot be written any more, as on a full disk: what was saved before can be resumed.
    """
    with closing(open_session(training, out, resume=resume, overwrite=overwrite, quiet=quiet)) as session:
        return session.run()


def open_session(
    training: Training, out: str | Path, *, resume: bool = False, overwrite: bool = False, quiet: bool = False
) -> Session:
    """Validate the settings and open the run directory before training."""
    directory = RunDirectory(out)
    with ExitStack() as stack:  # whatever fails releases what was taken before
        stack.callback(directory.release)
        saved: dict[str, Any] = {}
        if resume:
            directory.check_exists()
        directory.acquire()  # before the agent is made, which may take long
        if resume:
            saved = directory.read_config()
            training = training.as_saved(saved)
        resolved = training.resolve()
        check_tracker(resolved.track)
        settings = checkpoint.config_to_json(resolved)
        check_settings(directory, resolved, saved, settings)
        agent = find(resolved.agent)(  # before the directory is created: what cannot be made leaves nothing behind
            resolved.game,
            resolved.config,
            seed=resolved.seed,
            device=resolved.device,
            num_envs=resolved.envs,
            preset=resolved.preset if isinstance(resolved.preset, Preset) else None,
        )
        stack.callback(agent.close)
        resolved = replace(resolved, threads=choose_threads(resolved, agent, saved))
        settings = checkpoint.config_to_json(resolved)
        session = Session(resolved, directory, agent, quiet)
        session.memory = agent.check_memory()
        if resume:
            session.resume(saved, settings)
        else:
            if resolved.start is not None:
                agent.start_from(find_checkpoint(Path(resolved.start)))
            if overwrite and directory.path.exists():
                directory.clear()
            directory.create(settings)
        directory.note_machine(describe_machine(agent.device))
        directory.truncate_after(agent.step, resolved.steps)
        session.seconds_before = max((row.get("seconds", 0.0) for row in read_rows(directory.times)), default=0.0)
        stack.pop_all()
    return session


def stored_in(settings: dict[str, Any]) -> Preset | None:
    """Return the preset that a run was started with, of its config.json; None: that of its game."""
    stored = settings.get("preset")
    if stored is None:
        return None
    return preset_from_json({"agent": settings.get("agent"), **(stored if isinstance(stored, dict) else {})})


def check_settings(
    directory: RunDirectory, resolved: ResolvedTraining, saved: dict[str, Any], settings: dict[str, Any]
) -> None:
    """Raise ValueError if a run was started with other settings; those that it did not know yet had their defaults."""
    if not saved:
        return
    before = fill_in_defaults(ResolvedTraining, saved)
    if isinstance(before["config"], dict):
        before["config"] = fill_in_defaults(type(resolved.config), before["config"])
    if preset := stored_in(saved):
        before["preset"] = checkpoint.config_to_json(preset)  # with what an older version did not know yet
    free = ("steps", "threads", "track", EXTENDED_FROM, MACHINES)
    if differs := difference(before, settings | {name: before[name] for name in free if name in before}):
        raise InvalidValueError(
            f"{directory.path} was started with other settings: {differs}; resume with the same, or change --out"
        )


def choose_threads(resolved: ResolvedTraining, agent: Agent, saved: dict[str, Any]) -> int:
    """Return the number of torch's threads: as asked for, else as in the run of the `saved` settings, else as suits.

    A run that has none noted was started with torch's own number.
    """
    before = saved.get("threads")
    if resolved.threads is None:
        return (None if saved else agent.suitable_threads()) or torch.get_num_threads()
    if before is not None and before != resolved.threads:
        print(f"resuming with {resolved.threads} of torch's threads instead of {before}: the run is not bit-for-bit")
    return resolved.threads


def evaluation_seed(seed: int) -> int:
    """Return the seed of the evaluations of a run: no training uses the seeds of their environments.

    Training plays from SEED_STRIDE * seed + i in environment i, or from random seeds below 2**30 (A3C's workers, and
    episodes that are restarted). Evaluations are above those, and have the last of the SEED_STRIDE seeds of an agent:
    only a training of almost as many environments could get there.
    """
    return SEED_STRIDE * (FIRST_EVALUATIONS + seed + 1) - MAX_ENVS


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
        self.directory.release()

    def resume(self, saved: dict[str, Any], settings: dict[str, Any]) -> None:
        """Continue the run of the `saved` settings from its newest checkpoint, with the steps of the new ones."""
        c, agent, directory = self.training, self.agent, self.directory
        before = saved["steps"]

        def difference_from_run(path: Path, header: dict[str, Any]) -> str:
            check_header(path, header)
            run = fill_in_defaults(ResolvedTraining, header.get("run", settings))
            extended = run["steps"] in saved.get(EXTENDED_FROM, [])
            own = settings | {"steps": run["steps"] if extended else before}
            run, own = ({name: each[name] for name in RUN_SETTINGS} for each in (run, own))
            return header_difference(header, agent.header(), agent.Config) or difference(run, own)

        directory.check_checkpoints(difference_from_run)
        if found := directory.resume(c.steps):
            path, header, state = found
            if header["step"] > c.steps != before:
                raise InvalidValueError(f"expected --steps >= {header['step']}, where the run is, got {c.steps}")
            check_header(path, header)
            check_state(path, header, state)
            if not agent.plays_in_workers(agent.config):
                agent.start_training()  # before `fitting`: an error of a user's environment keeps its traceback
            with fitting(path):
                agent.load_state_dict(state)
                self.load_state_dict(state["run"])
            if not agent.resumes_exactly():
                print("resuming with new episodes: these environments have no snapshot, so the run is not bit-for-bit")
        elif c.start is not None:
            agent.start_from(find_checkpoint(Path(c.start)))
        if c.steps != before:
            directory.extend(saved, c.steps)
            print(
                f"the run ends after {c.steps:,} steps instead of {before:,}: its schedules go on at"
                f" {agent.step / c.steps:.0%} instead of {agent.step / before:.0%}"
            )

    def run(
        self,
        after_update: Callable[[], None] | None = None,
        after_evaluation: Callable[[int, float], bool] | None = None,
    ) -> TrainingResult:
        """Train to the end, or until a signal.

        `after_update` is called when the files of an update are written, `after_evaluation` with the step and the mean
        score of each evaluation; training stops if it returns False.
        """
        c, agent = self.training, self.agent
        log_due, evaluate_due, save_due = (
            Every(interval, agent.step) for interval in (c.log_every, c.evaluate_every, c.save_every)
        )
        if self.memory and not self.quiet:
            print(self.memory, flush=True)
        with Progress(f"{c.agent} on {c.game}", c.steps, agent.step, self.quiet) as progress, ExitStack() as stack:
            if not agent.plays_in_workers(agent.config):
                agent.start_training()
            tracking = stack.enter_context(tracked(c.track, self.directory, checkpoint.config_to_json(c), agent.step))
            stack.enter_context(torch_threads(c.threads))
            stop = stack.enter_context(stop_signals(self.quiet))
            self.started, self.first_step = time.perf_counter(), agent.step
            progress.restart(agent.step)
            for update in stack.enter_context(closing(agent.train(c.steps))):  # pyright: ignore[reportArgumentType]  a generator
                self.metrics.add(update)
                if not self.metrics.finite:
                    agent.check_weights()
                progress.update(update.step, self.metrics.score_mean)
                last = update.step >= c.steps
                if log_due(update.step) or last:
                    self.write(self.metrics.row(update.step) | self.restarts(), tracking)
                if evaluate_due(update.step) or last:
                    row = self.evaluate()
                    self.write(row, tracking)
                    progress.note(f"{update.step:,} steps: evaluated at {row['eval/score_mean']:,.1f}")
                    if after_evaluation and not after_evaluation(update.step, row["eval/score_mean"]):
                        stop.append("pruning")
                if save_due(update.step) or last:
                    tracking.flush()
                    self.save()
                if after_update is not None:
                    after_update()
                if stop:
                    break
        seconds, done = self.seconds(), agent.step >= c.steps
        if done:
            self.save(self.directory.final)
        elif agent.plays_in_workers(agent.config) or agent.start_training().snapshot() is not None:
            self.save()
        title = f"{c.agent} on {c.game}, seed {c.seed}"
        rows = [*read_rows(self.directory.metrics), *read_rows(self.directory.episodes)]
        with self.directory.writing():
            draw_curve(rows, self.directory.curve, title)
        return TrainingResult(self.directory, agent, seconds, self.best, None if done else stop[0])

    def seconds(self) -> float:
        """Return the seconds of training in this process."""
        return time.perf_counter() - self.started - self.paused

    def restarts(self) -> dict[str, int]:
        """Return how many processes of a cluster were replaced in this process's part of the run, if any were."""
        return {"restarts": self.agent.restarts} if self.agent.restarts else {}

    def write(self, row: dict[str, Any], tracking: Tracking) -> None:
        seconds = self.seconds()
        fps = (row["step"] - self.first_step) / max(seconds, 1e-9)
        self.directory.log(row, self.seconds_before + seconds, fps)
        tracking.write(row | {"time/fps": fps})

    def evaluate(self) -> dict[str, Any]:
        """Evaluate, keep the checkpoint if it is the best so far, and return a row of metrics."""
        c, started = self.training, time.perf_counter()
        seed, limit = evaluation_seed(c.seed), c.evaluate_max_steps
        result = evaluate(self.agent, episodes=c.evaluate_episodes, seed=seed, max_episode_steps=limit)
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
        settings = checkpoint.config_to_json(self.training)
        header = self.agent.header() | {"run": {name: settings[name] for name in RUN_SETTINGS}}
        state = self.agent.state_dict() | {"run": self.state_dict()}
        if path is None:
            self.directory.save(self.agent.step, header, state, getattr(self.agent, "replay", None))
        else:
            self.directory.save_without_replay(path, header, state)
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
            with suppress(OSError):  # not by print, which a handler may have interrupted: it cannot be entered twice
                start = b"\n" if os.isatty(STDERR) else b""  # below the bar
                os.write(STDERR, start + b"stopping after this update; again to stop now\n")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
