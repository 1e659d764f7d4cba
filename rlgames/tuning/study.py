"""A study: trials of settings, each one or several trainings, with Optuna's samplers and pruners (extra `tune`).

    STUDY/study.db     Optuna's storage, unless another is given; optuna-dashboard reads it
    STUDY/study.json   which study it is, and who tries here
    STUDY/trials/N     the trainings of trial N, without their checkpoints: rlgames plot draws them
    STUDY/best.json    the best settings so far, a preset file

The score of a trial is the mean score of the last evaluation of its trainings; those before it are what the pruner
compares. The first trial has the preset's settings. A trial depends on the study's seed and on the trials before it
alone: with one job the same seed gives the same trials, also if the study was killed and resumed in between.

Several processes and machines may share a storage, each with a folder of its own. One that is resumed marks the trials
that it left running as failed, and enqueues their settings again.
"""

from __future__ import annotations

import json
import re
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gymnasium.error import DependencyNotInstalled
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from rlgames.agents.config import change_config, make_config
from rlgames.agents.preset_files import load_preset, preset_from_json, preset_to_json, save_preset
from rlgames.agents.registry import find
from rlgames.envs.task import Task
from rlgames.errors import (
    FailedError,
    InvalidTypeError,
    InvalidValueError,
    NoRunError,
    NotWritableError,
    RunExistsError,
    brief,
)
from rlgames.presets.lookup import find_preset
from rlgames.presets.preset import Preset
from rlgames.runs.directory import run_name, write_atomically
from rlgames.runs.lock import FolderLock
from rlgames.runs.training import Training, stop_signals
from rlgames.schema import difference
from rlgames.tuning.space import Dimension, derive_space
from rlgames.tuning.worker import Ended, Evaluated, Worker
from rlgames.values import Count, check_fields, check_seed, check_value

SamplerName = Literal["tpe", "random", "cmaes", "gp", "qmc"]
PrunerName = Literal["median", "percentile", "halving", "hyperband", "none"]
INTERVAL = 0.5  # seconds between two looks at the workers
SETTINGS = "rlgames"  # attribute of a study: its settings, which all who share it have
INDEX, AGAIN, OWNER, ERROR = "index", "again", "owner", "error"  # attributes of a trial
WARM_UP = 0.2  # of a training in which the median and percentile pruners prune none
FAILURES = 3  # trials that may fail before the study ends, if none has had a score
PERCENTILE = 25.0  # of the trials that the percentile pruner keeps


@dataclass(frozen=True)
class Tuning:
    """Settings of a study. None: as in the preset, or as in that of the agent on that game."""

    agent: str
    game: str
    trials: Count = 50  # that have a score, were pruned or failed, of all who share the study
    search: tuple[str, ...] = ()  # fields, with or without a range: "gamma", "learning_rate=1e-5:1e-2"; (): see `space`
    steps: Count | None = None  # environment steps of a training
    envs: Count | None = None  # environments stepped at once
    seed: int = 0  # of the sampler; trial i trains from seed + i * seeds on
    seeds: Count = 1  # trainings of a trial, each with a seed of its own
    evaluations: Count = 10  # of a training, after which it may be pruned
    evaluate_episodes: Count = 20  # of an evaluation
    evaluate_max_steps: Count | None = None  # agent steps after which an evaluation's episode is truncated
    sampler: SamplerName = "tpe"  # of Optuna; cmaes needs the package cmaes
    pruner: PrunerName = "median"  # of Optuna
    preset: Preset | str | Path | None = None  # around which is searched, or its file
    device: str = "auto"

    def __post_init__(self) -> None:
        if isinstance(self.search, str):
            raise InvalidTypeError(f"expected fields to search, such as ('learning_rate',), got {self.search!r}")
        check_fields(self)
        check_seed(self.seed)

    def base(self) -> Preset:
        """Return the preset around which is searched, with these steps and environments and all of the config."""
        agent = self.agent.lower()
        preset = self.preset or find_preset(agent, Task.parse(self.game))
        preset = preset if isinstance(preset, Preset) else load_preset(preset, agent)
        config = asdict(make_config(find(agent).Config, preset.config))
        return replace(preset, config=config, steps=self.steps or preset.steps, envs=self.envs or preset.envs)


@dataclass(frozen=True)
class TrialResult:
    """One trial."""

    number: int
    state: Literal["complete", "pruned", "failed"]
    score: float | None  # mean of the last evaluations; of a pruned trial those before it was pruned
    settings: dict[str, Any]  # of the fields that are searched
    error: str | None = None


@dataclass(frozen=True)
class TuningResult:
    """End of a study, or where it was stopped."""

    path: Path  # of the study
    best: Preset | None  # None: no trial has come to its end
    score: float | None  # of the best trial
    trials: list[TrialResult] = field(default_factory=list)
    stopped: str | None = None  # the signal that ended it early


def tune(
    tuning: Tuning,
    out: str | Path | None = None,
    *,
    jobs: int = 1,
    storage: str | None = None,
    study: str | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> TuningResult:
    """Search for the best settings of an agent on a game; `out`/best.json is a preset file of them.

    `jobs` trials train at once, each in a process with one of torch's threads. `storage` is a database that others
    share, by a URL as SQLAlchemy has it, in which the study has the name `study`; by default a file in the folder
    `out`, which is studies/AGENT-GAME-seedN by default. With `resume` a study goes on, to more `trials` if there are
    more now. SIGTERM and Ctrl-C end it; trials that are running begin anew when it is resumed.

    A script that calls this needs the main guard, `if __name__ == "__main__":`, as trials run in new processes.

    Raises DependencyNotInstalled without Optuna, ValueError for settings that are not allowed or are not those of the
    study that is resumed or joined, FileExistsError for a folder with a study, RuntimeError if trials only fail.
    """
    if not isinstance(tuning, Tuning):
        raise InvalidTypeError(f"expected a tuning, such as Tuning('ppo', 'CartPole', trials=50), got {brief(tuning)}")
    optuna = import_optuna()
    jobs = check_value("jobs", jobs, Count)
    folder = Path("studies") / run_name(tuning.agent, tuning.game, tuning.seed) if out is None else Path(out)
    base, config_class = tuning.base(), find(tuning.agent).Config
    with quiet_optuna(optuna):  # what is not allowed raises before a folder is made
        make_sampler(optuna, tuning.sampler, tuning.seed)
    derive_space(config_class, base.config, tuning.search)
    training(tuning, base, 0).resolve()
    with opened_folder(folder, resume) as facts, quiet_optuna(optuna):
        name = study or facts.get("study") or f"{tuning.agent.lower()}-{tuning.game}"
        if resume and storage is None and not (folder / "study.db").exists():
            raise NoRunError(f"{folder} has no study.db: give the --storage that the study was started with")
        with opened_study(optuna, storage or f"sqlite:///{folder / 'study.db'}", name) as opened:
            if resume and tuning.preset is None and SETTINGS in opened.user_attrs:
                stored = preset_from_json(opened.user_attrs[SETTINGS]["preset"])
                base = replace(stored, steps=tuning.steps or stored.steps, envs=tuning.envs or stored.envs)
            space = derive_space(config_class, base.config, tuning.search)
            join(opened, settings_of(tuning, base, space), config_class, base, space)
            facts = {"study": name, OWNER: facts.get(OWNER) or uuid.uuid4().hex}
            write_atomically(folder / "study.json", json.dumps(facts, indent=2) + "\n")
            search = Search(optuna, opened, tuning, base, space, folder, facts[OWNER], quiet)
            search.enqueue_left()
            return search.run(jobs)


# ---- Optuna ----


def import_optuna() -> Any:
    """Return the package. Raises DependencyNotInstalled, naming the extra, if it is missing."""
    try:
        import optuna  # noqa: PLC0415  # pyright: ignore[reportMissingImports]  optional
    except ModuleNotFoundError as error:
        raise DependencyNotInstalled('rlgames tune needs the extra tune: pip install "rlgames[tune]"') from error
    return optuna


@contextmanager
def quiet_optuna(optuna: Any) -> Iterator[None]:
    """Let Optuna log no more than warnings, and not warn of what it calls experimental, such as some samplers."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def opened_study(optuna: Any, url: str, name: str) -> Iterator[Any]:
    """Yield the study of this name, a new one if there is none. Raises ValueError for a database that is no storage."""
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415  # pyright: ignore[reportMissingImports]  optional

    try:
        storage = optuna.storages.RDBStorage(url)
        study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
    except (SQLAlchemyError, ImportError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        shown = re.sub(r"(://[^:@/]*):[^@/]*@", r"\1:***@", url)  # without its password
        raise InvalidValueError(f"no study in the storage {shown}: {reason}") from error
    try:
        yield study
    finally:
        storage.remove_session()
        storage.engine.dispose()


def make_sampler(optuna: Any, name: SamplerName, seed: int) -> Any:
    samplers = optuna.samplers
    if name == "cmaes":
        try:
            import cmaes  # noqa: F401, PLC0415  # pyright: ignore[reportMissingImports]  optional
        except ModuleNotFoundError as error:
            raise DependencyNotInstalled("--sampler cmaes needs the package cmaes: pip install cmaes") from error
        return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    if name == "tpe":
        return samplers.TPESampler(seed=seed, constant_liar=True)  # or jobs side by side would try the same
    if name == "gp":
        return samplers.GPSampler(seed=seed)
    if name == "qmc":
        return samplers.QMCSampler(seed=seed, warn_independent_sampling=False, warn_asynchronous_seeding=False)
    return samplers.RandomSampler(seed=seed)


def make_pruner(optuna: Any, name: PrunerName, steps: int, interval: int) -> Any:
    pruners, warm_up = optuna.pruners, int(steps * WARM_UP)
    if name == "median":
        return pruners.MedianPruner(n_warmup_steps=warm_up)
    if name == "percentile":
        return pruners.PercentilePruner(PERCENTILE, n_warmup_steps=warm_up)
    if name == "halving":
        return pruners.SuccessiveHalvingPruner(min_resource=interval)
    if name == "hyperband":
        return pruners.HyperbandPruner(min_resource=interval, max_resource=steps)
    return pruners.NopPruner()


# ---- a study and its folder ----


@contextmanager
def opened_folder(folder: Path, resume: bool) -> Iterator[dict[str, Any]]:
    """Make and lock the folder of a study; yield what study.json says, nothing if it is new.

    Raises FileExistsError for a study that is not resumed, or that another process goes on with.
    """
    file = folder / "study.json"
    if resume and not file.exists():
        raise NoRunError(f"{folder} holds no study to resume: start it without --resume")
    if file.exists() and not resume:
        raise RunExistsError(f"{folder} holds a study already: continue it with --resume, or choose another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(folder)
    except RunExistsError:
        raise
    except OSError as error:
        raise NotWritableError(f"{folder} cannot be written: {error}") from error
    try:
        facts = json.loads(file.read_text()) if file.exists() else {}
        yield facts if isinstance(facts, dict) else {}
    except json.JSONDecodeError as error:
        raise InvalidValueError(f"{file}: is damaged ({error.msg}): restore it") from error
    finally:
        lock.release()


def settings_of(tuning: Tuning, base: Preset, space: Sequence[Dimension]) -> dict[str, Any]:
    """Return what all who share a study must have alike."""
    names = ("seed", "seeds", "evaluations", "evaluate_episodes", "evaluate_max_steps", "sampler", "pruner")
    return {
        "agent": tuning.agent.lower(),
        "game": str(Task.parse(tuning.game)),
        "preset": preset_to_json(base, tuning.agent.lower(), str(Task.parse(tuning.game))),
        **{name: getattr(tuning, name) for name in names},
        "search": {each.name: each.describe() for each in space},
    }


def join(study: Any, settings: dict[str, Any], config_class: type, base: Preset, space: Sequence[Dimension]) -> None:
    """Give a new study its settings and its first trial, the preset. Raises ValueError if it has others."""
    stored = study.user_attrs.get(SETTINGS)
    if stored is not None:
        if differs := difference(stored, settings):
            raise InvalidValueError(
                f"the study {study.study_name} was started with other settings: {differs}; use the same, or another"
                " --out or --study"
            )
        return
    config = make_config(config_class, base.config)
    found = {each.name: each.suggestion(getattr(config, each.field)) for each in space}
    study.enqueue_trial({name: x for name, x in found.items() if x is not None}, skip_if_exists=True)
    study.set_user_attr(SETTINGS, settings)


def training(tuning: Tuning, base: Preset, seed: int, config: Any = None) -> Training:
    """Return a training of a trial."""
    return Training(
        tuning.agent,
        tuning.game,
        config,
        steps=base.steps,
        envs=base.envs,
        seed=seed,
        device=tuning.device,
        evaluate_every=max(1, base.steps // tuning.evaluations),
        evaluate_episodes=tuning.evaluate_episodes,
        evaluate_max_steps=tuning.evaluate_max_steps,
        save_every=base.steps,
        threads=1,
        track="none",
        preset=base,
    )


# ---- the search ----


@dataclass
class RunningTrial:
    trial: Any  # Optuna's
    settings: dict[str, Any]  # of the fields that are searched
    scores: list[dict[int, float]]  # of each training by step
    step: int = 0  # of the last report
    pruned: bool = False


class Search:
    """Asks Optuna for settings, lets workers train them, and tells it the scores."""

    def __init__(
        self,
        optuna: Any,
        study: Any,
        tuning: Tuning,
        base: Preset,
        space: Sequence[Dimension],
        folder: Path,
        owner: str,
        quiet: bool,
    ):
        self.optuna, self.study, self.tuning, self.base, self.space = optuna, study, tuning, base, space
        self.folder, self.owner, self.quiet = folder, owner, quiet
        self.states = optuna.trial.TrialState
        self.interval = max(1, base.steps // tuning.evaluations)
        study.pruner = make_pruner(optuna, tuning.pruner, base.steps, self.interval)
        self.config = make_config(find(tuning.agent).Config, base.config)
        self.running: dict[Worker, RunningTrial] = {}
        self.idle: list[Worker] = []
        self.console = Console(highlight=False)

    def run(self, jobs: int) -> TuningResult:
        columns = (TextColumn("{task.description}"), BarColumn(None), TextColumn("{task.fields[text]}"))
        bar = Progress(
            *(*columns, TimeRemainingColumn()),
            console=self.console,
            expand=True,
            disable=self.quiet or not self.console.is_terminal,
        )
        task = bar.add_task(f"{self.tuning.agent} on {self.tuning.game}", total=self.tuning.trials, text="")
        stopped = None
        with bar, stop_signals(self.quiet) as stop:
            try:
                while not stop:
                    while len(self.running) < jobs and self.wants_more():
                        self.start()
                    if not self.running:
                        break
                    ready = wait([worker.connection for worker in self.running], INTERVAL)
                    for worker in [each for each in self.running if each.connection in ready]:
                        self.receive(worker)
                    finished = [each for each in self.trials() if each.state in self.ended()]
                    bar.update(task, completed=len(finished), text=self.best_text())
                    self.check_failures()
                if stop:
                    stopped = stop[0]
                    self.enqueue_left()
            finally:
                for worker in [*self.running, *self.idle]:
                    worker.close()
        return self.result(stopped)

    def trials(self) -> list[Any]:
        """Return the trials but those that were interrupted, whose settings were enqueued again."""
        trials = self.study.get_trials(deepcopy=False)
        again = {each.user_attrs.get(AGAIN) for each in trials}
        return [each for each in trials if each.number not in again]

    def ended(self) -> tuple[Any, ...]:
        return self.states.COMPLETE, self.states.PRUNED, self.states.FAIL

    def wants_more(self) -> bool:
        counted = [each for each in self.trials() if each.state != self.states.WAITING]
        return len(counted) < self.tuning.trials

    def start(self) -> None:
        """Ask for a trial and give it to a worker."""
        index = self.next_index()
        self.study.sampler = make_sampler(self.optuna, self.tuning.sampler, mixed(self.tuning.seed, index))
        trial = self.study.ask()
        index = trial.user_attrs.get(INDEX, index)  # of one that was enqueued again
        trial.set_user_attr(INDEX, index)
        trial.set_user_attr(OWNER, self.owner)
        settings = {each.field: each.value(suggest(trial, each)) for each in self.space}
        trial.set_user_attr("settings", settings)
        trial.set_user_attr("trial", str(self.folder / "trials" / str(trial.number)))
        seeds = [self.tuning.seed + index * self.tuning.seeds + j for j in range(self.tuning.seeds)]
        trial.set_user_attr("seeds", seeds)
        try:
            config = change_config(self.config, settings)
        except (InvalidValueError, InvalidTypeError) as error:  # settings that exclude each other
            self.tell(trial, self.states.FAIL, error=str(error))
            return
        worker = self.idle.pop() if self.idle else Worker()
        folder = self.folder / "trials" / str(trial.number)
        runs = [(training(self.tuning, self.base, seed, config), folder / f"seed{seed}") for seed in seeds]
        self.running[worker] = RunningTrial(trial, settings, [{} for _ in seeds])
        worker.train(runs)

    def next_index(self) -> int:
        """Return how many trials were before the next one, those that were enqueued again counted once."""
        trials = self.study.get_trials(deepcopy=False)
        waiting = min((each.number for each in trials if each.state == self.states.WAITING), default=len(trials))
        return sum(AGAIN not in each.user_attrs for each in trials[:waiting])

    def receive(self, worker: Worker) -> None:
        """Take what a worker has sent."""
        running = self.running[worker]
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            error = f"its process ended with exit status {worker.process.exitcode}"
            del self.running[worker]
            worker.close()
            return self.tell(running.trial, self.states.FAIL, error=error)
        if isinstance(message, Evaluated):
            worker.connection.send(self.report(running, message))
            return None
        del self.running[worker]
        self.idle.append(worker)
        return self.end(running, message)

    def report(self, running: RunningTrial, message: Evaluated) -> bool:
        """Report an evaluation to the pruner; return whether to go on.

        It counts for the last multiple of the interval between evaluations: updates of other settings end elsewhere.
        """
        last = message.step >= self.base.steps
        step = self.base.steps if last else message.step // self.interval * self.interval
        running.scores[message.run][step] = message.score
        scores = [own[step] for own in running.scores if step in own]
        running.step = message.run * self.base.steps + step
        running.trial.report(sum(scores) / len(scores), running.step)
        if last and message.run == len(running.scores) - 1:
            return True
        running.pruned = running.trial.should_prune()
        return not running.pruned

    def end(self, running: RunningTrial, message: Ended) -> None:
        if message.error and not message.diverged:
            return self.tell(running.trial, self.states.FAIL, error=message.error)
        if message.diverged or running.pruned:
            return self.tell(running.trial, self.states.PRUNED, error=message.error)
        return self.tell(running.trial, self.states.COMPLETE, np.mean([own[self.base.steps] for own in running.scores]))

    def tell(self, trial: Any, state: Any, score: Any = None, error: str | None = None) -> None:
        if error:
            trial.set_user_attr(ERROR, error)
        self.study.tell(trial.number, None if score is None else float(score), state=state)
        result = as_result(self.study.trials[trial.number])
        best = self.best()
        if best is not None and best.number == trial.number:
            save_preset(self.folder / "best.json", self.preset_of(best), *self.names())
        if not self.quiet:
            self.console.print(describe_trial(result), markup=False, soft_wrap=True)

    def names(self) -> tuple[str, str]:
        return self.tuning.agent.lower(), str(Task.parse(self.tuning.game))

    def enqueue_left(self) -> None:
        """Mark the trials that this folder's process has left running as failed, and enqueue their settings again."""
        trials = self.study.get_trials(deepcopy=False)
        again = {each.user_attrs.get(AGAIN) for each in trials}
        names = {each.name for each in self.space}
        for left in trials:
            if left.state != self.states.RUNNING or left.user_attrs.get(OWNER) != self.owner:
                continue
            if left.number not in again:
                whole = left.params.keys() == names  # else all are sampled again, as they would have been
                attributes = {AGAIN: left.number, INDEX: left.user_attrs[INDEX]}
                self.study.enqueue_trial(left.params if whole else {}, user_attrs=attributes)
            self.study.tell(left.number, state=self.states.FAIL)

    # ---- results ----

    def best(self) -> Any:
        """Return the trial with the highest score, of equals the first; None if there is none yet."""
        complete = [each for each in self.trials() if each.state == self.states.COMPLETE]
        return max(complete, key=lambda each: each.value, default=None)

    def best_text(self) -> str:
        best = self.best()
        return "" if best is None else f"best {best.value:,.1f} of trial {best.number}"

    def preset_of(self, trial: Any) -> Preset:
        return replace(self.base, config=self.base.config | trial.user_attrs["settings"])

    def check_failures(self) -> None:
        """Raise FailedError if the first trials have all failed: so will the others."""
        ended = [each for each in self.trials() if each.state in self.ended()]
        if len(ended) >= min(FAILURES, self.tuning.trials) and all(each.state == self.states.FAIL for each in ended):
            first = ended[0]
            raise FailedError(f"all {len(ended)} trials failed, trial {first.number}: {first.user_attrs.get(ERROR)}")

    def result(self, stopped: str | None) -> TuningResult:
        best = self.best()
        if best is not None:  # which another process may have found
            save_preset(self.folder / "best.json", self.preset_of(best), *self.names())
        trials = [as_result(each) for each in self.trials() if each.state in self.ended()]
        preset, score = (None, None) if best is None else (self.preset_of(best), best.value)
        return TuningResult(self.folder, preset, score, trials, stopped)


def suggest(trial: Any, dimension: Dimension) -> Any:
    name, low, high = dimension.name, dimension.low, dimension.high
    if dimension.kind == "choice":
        return trial.suggest_categorical(name, dimension.choices)
    if dimension.kind in ("int", "power"):
        return trial.suggest_int(name, int(low), int(high), log=dimension.log)
    return trial.suggest_float(name, low, high, log=dimension.log)


def mixed(seed: int, index: int) -> int:
    """Return a seed for the sampler of one trial."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])


def as_result(trial: Any) -> TrialResult:
    state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, "failed")
    last = trial.intermediate_values[max(trial.intermediate_values)] if trial.intermediate_values else None
    score = None if state == "failed" else trial.value if state == "complete" else last
    attributes = trial.user_attrs
    return TrialResult(trial.number, state, score, attributes.get("settings", {}), attributes.get(ERROR))  # pyright: ignore[reportArgumentType]  one of the three


def describe_trial(result: TrialResult) -> str:
    """Return a line on how a trial ended."""
    if result.error:
        return f"trial {result.number}: {result.state}: {result.error}"
    settings = ", ".join(f"{name} {short(value)}" for name, value in result.settings.items())
    score = "no score" if result.score is None else f"{result.score:,.1f}"
    return f"trial {result.number}: {score}{' (pruned)' if result.state == 'pruned' else ''}, {settings}"


def short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
