"""Options of `rlgames train` for one agent on one game, and the run that it starts."""

from __future__ import annotations

import re
import shlex
import signal
import sys
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from tyro.conf import DisallowNone, Suppress

from rlgames.agents.config import make_config
from rlgames.agents.preset_files import load_preset
from rlgames.agents.registry import find
from rlgames.cli.options import check_device, check_minimum
from rlgames.cli.terminal import print_fields, status
from rlgames.envs.task import Task
from rlgames.errors import UsageError
from rlgames.presets.lookup import find_preset
from rlgames.presets.preset import Preset
from rlgames.runs.directory import RunDirectory, run_name
from rlgames.runs.many import check_all_finished, train_many
from rlgames.runs.trackers import TrackerName
from rlgames.runs.training import Training, open_session, stored_in
from rlgames.web.server import listen
from rlgames.web.training import TrainingPage

SCRIPT = Path(sys.argv[0])  # a user's script may call `main` once it has registered a game or an agent
AS_MODULE, AS_SCRIPT = SCRIPT.name == "__main__.py", SCRIPT.suffix == ".py"
PROGRAM = "python -m rlgames" if AS_MODULE else f"python {SCRIPT}" if AS_SCRIPT else "rlgames"


MOST_SEEDS = 1000


def train_options(agent: str, task: Task, preset: Preset | None = None) -> Any:
    """Return a `Training` with the command's other options; the defaults are those of the pair's preset, or another."""

    @dataclass(frozen=True)
    class Train(Training):
        agent: Suppress[str]
        game: Suppress[str]
        config: Any = None  # These are the algorithm's settings.
        preset: DisallowNone[Path | None] = None  # This file has the defaults of all that, in place of the game's own.
        steps: DisallowNone[int | None] = None  # It takes this many steps, summed over the environments.
        envs: DisallowNone[int | None] = None  # This many environments are stepped at once.
        seed: int = 0  # Everything random comes from it: the same seed gives the same run.
        seeds: DisallowNone[str | None] = None  # A run of each of these seeds is trained: 0-4, or 0,3,7.
        jobs: DisallowNone[int | None] = None  # With --seeds this many train at once; None: one a core.
        on: str = "local"  # Several seeds are trained there: local, ray (RAY_ADDRESS or this machine), ray://HOST:PORT.
        device: str = "auto"  # Networks compute on it: cpu, cuda, ...; auto: a GPU if there is one.
        log_every: DisallowNone[int | None] = None  # Metrics are logged after this many steps; None: 200 times.
        evaluate_every: DisallowNone[int | None] = None  # The agent is evaluated after this many steps; None: 20 times.
        evaluate_episodes: int = 20  # An evaluation plays this many episodes.
        evaluate_max_steps: DisallowNone[int | None] = None  # They are truncated after this many agent steps.
        save_every: DisallowNone[int | None] = None  # A checkpoint is saved after this many steps; None: 20 times.
        start: DisallowNone[str | None] = None  # Its networks start as those of this checkpoint or run.
        out: DisallowNone[Path | None] = None  # The run is in it, of --seeds in seedN in it; None: in runs/NAME.
        resume: bool = False  # The run continues from its last checkpoint, with its options; other --steps extend it.
        overwrite: bool = False  # An earlier run in the directory is deleted.
        threads: DisallowNone[int | None] = None  # torch gets this many threads; None: 1 for small networks.
        track: DisallowNone[TrackerName | None] = None  # Metrics go there too; None: to TensorBoard if it is installed.
        quiet: bool = False  # No progress is shown.
        live: bool = False  # A page for the browser shows curves and the newest agent as it plays (extra live).
        host: str = "127.0.0.1"  # The page listens there; another address lets other machines in.
        port: int = 0  # The page listens on it; 0: any that is free.

    preset = preset or find_preset(agent, task)
    config = make_config(find(agent).Config, preset.config)
    return Train(agent, str(task), config, preset.steps, preset.envs)


def other_preset(options: Any) -> Preset | None:
    """Return the preset of the options' file, or of the run that they resume; None: it is that of the game."""
    if options.preset is not None:
        return load_preset(options.preset, options.agent)
    if not options.resume:
        return None
    seeds = [options.seed] if options.seeds is None else parse_seeds(options.seeds)
    runs = [RunDirectory(run_path(options, seed)) for seed in seeds]
    return next((stored_in(run.read_config()) for run in runs if run.config.exists()), None)


def run_path(options: Any, seed: int) -> Path:
    """Return the directory of the run, or of one of --seeds."""
    if options.out is None:
        return Path("runs") / run_name(options.agent, options.game, seed)
    return options.out if options.seeds is None else options.out / f"seed{seed}"


def resolve_config(agent: str, preset: Preset) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields of an agent's config with a preset's settings, and those of its default."""
    config_class = find(agent).Config
    config, default = make_config(config_class, preset.config), config_class()
    return asdict(config), asdict(default)


def run_training(options: Any, argv: list[str]) -> int:
    check_minimum(0, seed=options.seed, port=options.port)
    check_minimum(1, threads=options.threads)
    if options.resume and options.overwrite:
        raise UsageError("--resume continues a run, --overwrite deletes it: choose one")
    if options.resume and not any(part.partition("=")[0] == "--steps" for part in argv):
        options = replace(options, steps=None)  # those of the run, not of the preset
    check_device(options.device)
    if options.seeds is not None:
        return run_seeds(options, argv)
    if options.on != "local":
        raise UsageError(f"--on {options.on} trains several runs: name them, as in --seeds 0-4")
    out = run_path(options, options.seed)
    with ExitStack() as stack:
        listener = stack.enter_context(listen(options.host, options.port)) if options.live else None
        with status(f"making {options.envs} environments", options.quiet):
            session = open_session(
                options, out, resume=options.resume, overwrite=options.overwrite, quiet=options.quiet
            )
        stack.enter_context(closing(session))
        c, run = session.training, session.directory
        started = f", starting from {c.start}" if c.start else ""
        origin = f", resuming at step {session.agent.step:,}" if options.resume else started
        print(
            f"{c.agent} on {c.game}: {c.steps:,} steps, {c.envs} envs, seed {c.seed}, in {run.path}{origin}", flush=True
        )
        page = None
        if listener is not None:
            page = stack.enter_context(closing(TrainingPage(session, listener)))
            print(f"open {page.address}", flush=True)
        again = shlex.join([*(part for part in argv if part not in ("--overwrite", "--resume")), "--resume"])
        try:
            result = session.run(page.update if page else None)
        except KeyboardInterrupt:
            print(f"not saved; continue from {last_checkpoint(run)} with: {PROGRAM} train {again}", file=sys.stderr)
            raise
    if result.stopped:
        print(f"stopped by {result.stopped} at step {result.agent.step:,}; continue with: {PROGRAM} train {again}")
        return 128 + signal.Signals[result.stopped]
    print_fields(
        best_evaluation="none"
        if result.best is None
        else f"{result.best:,.1f}, mean of {c.evaluate_episodes} episodes",
        training_time=f"{result.seconds:,.1f} s",
        curve=run.curve,
        metrics=run.metrics,
        checkpoints=run.checkpoints,
    )
    return 0


def run_seeds(options: Any, argv: list[str]) -> int:
    """Train a run of each seed, side by side."""
    if options.live:
        raise UsageError("--live shows one run: leave out --seeds, or choose one of them with --seed")
    if any(part.partition("=")[0] == "--seed" for part in argv):
        raise UsageError("--seed and --seeds: choose one")
    check_minimum(1, jobs=options.jobs)
    trainings = [
        replace(Training(**{field.name: getattr(options, field.name) for field in fields(Training)}), seed=seed)
        for seed in parse_seeds(options.seeds)
    ]
    out = [run_path(options, each.seed) for each in trainings]
    print(f"{options.agent} on {options.game}: {len(trainings)} runs, seeds {options.seeds}", flush=True)
    summaries = train_many(
        trainings,
        out,
        jobs=options.jobs,
        on=options.on,
        resume=options.resume,
        overwrite=options.overwrite,
        quiet=options.quiet,
    )
    check_all_finished(summaries)
    stopped = next((summary.stopped for summary in summaries if summary.stopped), None)
    if stopped:
        again = shlex.join([*(part for part in argv if part not in ("--overwrite", "--resume")), "--resume"])
        print(f"stopped by {stopped}; continue with: {PROGRAM} train {again}")
        return 128 + signal.Signals[stopped]
    pattern = options.out or Path("runs") / run_name(options.agent, options.game, 0).removesuffix("0")
    drawn = str(pattern) if options.out else f"{pattern}*"
    print(f"draw their curves with: {PROGRAM} plot {shlex.quote(drawn)}")
    return 0


def parse_seeds(text: str) -> list[int]:
    """Return the seeds of "0-4" or "0,3,7-9". Raises UsageError for anything else, and for one named twice."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if last < first or last - first >= MOST_SEEDS:
            raise UsageError(f"expected --seeds as in 0-4 or 0,3,7, up to {MOST_SEEDS:,} of them, got {text!r}")
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        raise UsageError(f"expected each seed once, got {text!r}")
    return seeds


def last_checkpoint(run: RunDirectory) -> str:
    """Return where a run would resume, in words."""
    steps = [int(path.stem.removeprefix("step-")) for path in run.checkpoints.glob("step-*.ckpt")]
    return f"step {max(steps):,}" if steps else "the beginning"
