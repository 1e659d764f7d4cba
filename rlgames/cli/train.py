"""`rlgames train AGENT GAME`: train an agent in the directory of a run."""

from __future__ import annotations

import re
import shlex
import signal
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tyro.conf import DisallowNone, Suppress

from rlgames.agents import AGENTS
from rlgames.agents.config import make_config
from rlgames.agents.registry import find
from rlgames.cli.terminal import check_device, check_minimum, parse, print_fields
from rlgames.envs.registry import GAMES
from rlgames.envs.task import Task
from rlgames.errors import UsageError
from rlgames.presets.lookup import find_preset
from rlgames.runs.training import Training, open_session

SCRIPT = Path(sys.argv[0])  # a user's script may call `main` once it has registered a game or an agent
AS_MODULE, AS_SCRIPT = SCRIPT.name == "__main__.py", SCRIPT.suffix == ".py"
PROGRAM = "python -m rlgames" if AS_MODULE else f"python {SCRIPT}" if AS_SCRIPT else "rlgames"
SUMMARY = "Train an agent on a game; leaves a curve, metrics and checkpoints."


def train(argv: list[str]) -> int | None:
    """Run the command; `argv` is what follows its name."""
    if argv[:1] in (["-h"], ["--help"]):
        return print(usage())
    if len(argv) < 2 or argv[0].startswith("-") or argv[1].startswith("-"):
        raise UsageError("expected an agent and a game first: rlgames train ppo CatchBall (see rlgames train --help)")
    default = train_options(argv[0].lower(), argv[1])  # the other options depend on these two
    name = shlex.join(["train", *argv[:2]])
    return run_training(parse(type(default), name, argv[2:], default=default, description=SUMMARY), argv)


def usage() -> str:
    lines = [
        *("usage: rlgames train AGENT GAME [OPTIONS]", "", SUMMARY),
        "The options of a pair, with its tuned values: rlgames train ppo CatchBall --help",
        *("", "agents:", *(f"  {name:<11}{spec.summary}" for name, spec in AGENTS.items())),
        *("", "games:", *(f"  {name:<11}{spec.summary}" for name, spec in GAMES.items())),
        "  or any id that Gymnasium knows, with Box observations and Discrete actions",
        *("", 'A game\'s own options follow its name, as in "CatchBall:size=16".'),
    ]
    return "\n".join(lines)


def train_options(agent: str, game: str) -> Any:
    """Return a `Training` with the command's other options; the defaults are those of the pair's preset."""

    @dataclass(frozen=True)
    class Train(Training):
        agent: Suppress[str]
        game: Suppress[str]
        config: Any = None  # the algorithm
        seed: int = 0  # of everything: the same seed gives the same run
        device: str = "auto"  # cpu, cuda, ...; auto: a GPU if there is one
        evaluate_episodes: int = 20  # in each evaluation
        start: DisallowNone[str | None] = None  # trained agent, as evaluate takes it, whose networks to start from
        out: DisallowNone[Path | None] = None  # directory of the run; None: runs/AGENT-GAME-seedN
        resume: bool = False  # continue from the run's last checkpoint, with the options it was started with
        overwrite: bool = False  # delete an earlier run in that directory
        threads: DisallowNone[int | None] = None  # of torch; None: as torch chooses
        quiet: bool = False  # show no progress

    task, config_class = Task.parse(game), find(agent).Config
    preset = find_preset(agent, task)
    return Train(agent, str(task), make_config(config_class, preset.config), preset.steps, preset.envs)


def run_training(options: Any, argv: list[str]) -> int:
    check_minimum(0, seed=options.seed)
    check_minimum(1, threads=options.threads)
    if options.resume and options.overwrite:
        raise UsageError("--resume continues a run, --overwrite deletes it: choose one")
    check_device(options.device)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    name = re.sub(r"[^\w.=,-]+", "-", f"{options.agent}-{options.game}-seed{options.seed}")
    out = Path("runs") / name if options.out is None else options.out
    session = open_session(options, out, resume=options.resume, overwrite=options.overwrite, quiet=options.quiet)
    c, run = session.training, session.directory
    started = f", starting from {c.start}" if c.start else ""
    origin = f", resuming at step {session.agent.step:,}" if options.resume else started
    with closing(session):
        print(
            f"{c.agent} on {c.game}: {c.steps:,} steps, {c.envs} envs, seed {c.seed}, in {run.path}{origin}", flush=True
        )
        result = session.run()
    if result.stopped:
        again = shlex.join([*(part for part in argv if part not in ("--overwrite", "--resume")), "--resume"])
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
