"""Options of `rlgames train` for one agent on one game, and the run that it starts."""

from __future__ import annotations

import re
import shlex
import signal
import sys
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tyro.conf import DisallowNone, Suppress

from rlgames.agents.config import make_config
from rlgames.agents.registry import find
from rlgames.cli.options import check_device, check_minimum
from rlgames.cli.terminal import print_fields, status
from rlgames.envs.task import Task
from rlgames.errors import UsageError
from rlgames.presets.lookup import find_preset
from rlgames.presets.preset import Preset
from rlgames.runs.directory import RunDirectory
from rlgames.runs.trackers import TrackerName
from rlgames.runs.training import Training, open_session
from rlgames.web.server import listen
from rlgames.web.training import TrainingPage

SCRIPT = Path(sys.argv[0])  # a user's script may call `main` once it has registered a game or an agent
AS_MODULE, AS_SCRIPT = SCRIPT.name == "__main__.py", SCRIPT.suffix == ".py"
PROGRAM = "python -m rlgames" if AS_MODULE else f"python {SCRIPT}" if AS_SCRIPT else "rlgames"


def train_options(agent: str, task: Task) -> Any:
    """Return a `Training` with the command's other options; the defaults are those of the pair's preset."""

    @dataclass(frozen=True)
    class Train(Training):
        agent: Suppress[str]
        game: Suppress[str]
        config: Any = None  # These are the algorithm's settings.
        steps: DisallowNone[int | None] = None  # It takes this many steps, summed over the environments.
        envs: DisallowNone[int | None] = None  # This many environments are stepped at once.
        seed: int = 0  # Everything random comes from it: the same seed gives the same run.
        device: str = "auto"  # Networks compute on it: cpu, cuda, ...; auto: a GPU if there is one.
        log_every: DisallowNone[int | None] = None  # Metrics are logged after this many steps; None: 200 times.
        evaluate_every: DisallowNone[int | None] = None  # The agent is evaluated after this many steps; None: 20 times.
        evaluate_episodes: int = 20  # An evaluation plays this many episodes.
        evaluate_max_steps: DisallowNone[int | None] = None  # They are truncated after this many agent steps.
        save_every: DisallowNone[int | None] = None  # A checkpoint is saved after this many steps; None: 20 times.
        start: DisallowNone[str | None] = None  # Its networks start as those of this checkpoint or run.
        out: DisallowNone[Path | None] = None  # The run is in this directory; None: runs/AGENT-GAME-seedN.
        resume: bool = False  # The run continues from its last checkpoint, with its options; other --steps extend it.
        overwrite: bool = False  # An earlier run in the directory is deleted.
        threads: DisallowNone[int | None] = None  # torch gets this many threads; None: 1 for small networks.
        track: DisallowNone[TrackerName | None] = None  # Metrics go there too; None: to TensorBoard if it is installed.
        quiet: bool = False  # No progress is shown.
        live: bool = False  # A page for the browser shows curves and the newest agent as it plays (extra live).
        host: str = "127.0.0.1"  # The page listens there; another address lets other machines in.
        port: int = 0  # The page listens on it; 0: any that is free.

    preset = find_preset(agent, task)
    return Train(agent, str(task), make_config(find(agent).Config, preset.config), preset.steps, preset.envs)


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
    name = re.sub(r"[^\w.=,-]+", "-", f"{options.agent}-{options.game}-seed{options.seed}")
    out = Path("runs") / name if options.out is None else options.out
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


def last_checkpoint(run: RunDirectory) -> str:
    """Return where a run would resume, in words."""
    steps = [int(path.stem.removeprefix("step-")) for path in run.checkpoints.glob("step-*.ckpt")]
    return f"step {max(steps):,}" if steps else "the beginning"
