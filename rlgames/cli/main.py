"""The command line, `rlgames COMMAND ...`, and its first command: `rlgames train ppo CatchBall`.

What a command needs is imported when it runs, so that `--help` comes at once. Bad input is answered by one line on
stderr and exit status 2; what nobody expected keeps its traceback.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import DisallowNone, Suppress

from rlgames.cli.commands import Demo, Doctor, Evaluate, Export, List, Play, Watch, agent_summaries
from rlgames.cli.terminal import Refusal, at_least, check_device, first_line, parse, refusing, say
from rlgames.envs.registry import GAMES
from rlgames.envs.task import Task

SCRIPT = Path(sys.argv[0])  # one's own script may hand over to `main` once it has registered a game or an agent
MODULE, OWN = SCRIPT.name == "__main__.py", SCRIPT.suffix == ".py"
PROGRAM = "python -m rlgames" if MODULE else f"python {SCRIPT}" if OWN else "rlgames"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status; `argv` is what follows the program's name."""
    try:
        status = command(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return status or 0
    except Refusal as refusal:
        print(f"rlgames: {refusal}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("rlgames: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def command(argv: list[str]) -> int | None:
    name, rest = (argv[0], argv[1:]) if argv else ("--help", [])
    if name in ("-h", "--help"):
        return print(usage())
    if name == "--version":
        return print(f"rlgames {version()}")
    if name not in COMMANDS:
        raise Refusal(f"no command is called {name!r}: the commands are {', '.join(COMMANDS)}")
    return train(rest) if name == "train" else parse(COMMANDS[name], name, rest).run()


def usage() -> str:
    commands = "\n".join(f"  {name:<10}{first_line(kind.__doc__)}" for name, kind in COMMANDS.items())
    return (
        "usage: rlgames [-h] [--version] COMMAND ...\n\n"
        "Games to learn from and agents that learn them.\n\n"
        f"{commands}\n\n"
        "rlgames COMMAND --help says more."
    )


def version() -> str:
    from rlgames import __version__

    return __version__


def train(argv: list[str]) -> int | None:
    """Train an agent on a game; leaves a curve, metrics and checkpoints."""
    if argv[:1] in (["-h"], ["--help"]):
        return print(train_usage())
    if len(argv) < 2 or argv[0].startswith("-") or argv[1].startswith("-"):
        raise Refusal("expected an agent and a game first: rlgames train ppo CatchBall (see rlgames train --help)")
    with refusing():
        default = train_options(argv[0].lower(), argv[1])  # what the other options are depends on these two
    name = shlex.join(["train", *argv[:2]])
    return run_training(parse(type(default), name, argv[2:], default=default, description=train.__doc__), argv)


def train_usage() -> str:
    lines = [
        *("usage: rlgames train AGENT GAME [OPTIONS]", "", first_line(train.__doc__)),
        "The options of a pair, with the values tuned for it: rlgames train ppo CatchBall --help",
        *("", "agents:", *(f"  {name:<11}{summary}" for name, summary in agent_summaries().items())),
        *("", "games:", *(f"  {name:<11}{entry.summary}" for name, entry in GAMES.items())),
        "  or any id that Gymnasium knows, if observations are a Box and actions Discrete",
        *("", 'A game\'s own options follow its name, as in "CatchBall:size=16".'),
    ]
    return "\n".join(lines)


def train_options(agent: str, game: str) -> Any:
    """A `Training` with the options of the command besides; the defaults are those of the pair's preset."""
    from rlgames.presets import lookup as presets
    from rlgames.runs.training import Training

    @dataclass(frozen=True)
    class Train(Training):
        agent: Suppress[str]
        game: Suppress[str]
        config: Any = None  # the algorithm
        seed: int = 0  # of everything: the same seed gives the same run
        device: str = "auto"  # cpu, cuda, ...; auto: a GPU if there is one
        evaluate_episodes: int = 20  # in each evaluation
        start: DisallowNone[str | None] = None  # a trained agent, as evaluate takes it, whose networks to begin with
        out: DisallowNone[Path | None] = None  # directory of the run; None: runs/AGENT-GAME-seedN
        resume: bool = False  # go on from the run's last checkpoint; give the options that it was started with
        overwrite: bool = False  # throw away an earlier run that lies there
        threads: DisallowNone[int | None] = None  # of torch; None: as torch chooses
        quiet: bool = False  # show no progress

    task = Task.parse(game)
    preset = presets.preset(agent, task)
    return Train(agent, str(task), preset.config, preset.steps, preset.envs)


def run_training(options: Any, argv: list[str]) -> int:
    import torch

    from rlgames.runs.training import begin

    at_least(0, seed=options.seed)
    at_least(1, threads=options.threads)
    if options.resume and options.overwrite:
        raise Refusal("--resume goes on with a run, --overwrite throws it away: choose one")
    check_device(options.device)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    name = re.sub(r"[^\w.=,-]+", "-", f"{options.agent}-{options.game}-seed{options.seed}")
    with refusing():
        out = Path("runs") / name if options.out is None else options.out
        session = begin(options, out, resume=options.resume, overwrite=options.overwrite, quiet=options.quiet)
    c, run = session.training, session.directory
    begun = f", starting as {c.start}" if c.start else ""
    onward = f", going on from step {session.agent.step:,}" if options.resume else begun
    print(
        f"{c.agent} on {c.game}: {c.steps:,} steps, {c.envs} players, seed {c.seed}, into {run.path}{onward}",
        flush=True,
    )
    with closing(session):
        result = session.run()
    if result.stopped:
        again = shlex.join([*(part for part in argv if part not in ("--overwrite", "--resume")), "--resume"])
        print(f"stopped by {result.stopped} at step {result.agent.step:,}; go on with: {PROGRAM} train {again}")
        return 128 + signal.Signals[result.stopped]
    say(
        best_evaluation="none"
        if result.best is None
        else f"{result.best:,.1f}, mean of {c.evaluate_episodes} episodes",
        training_took=f"{result.seconds:,.1f} s",
        curve=run.curve,
        metrics=run.metrics,
        checkpoints=run.checkpoints,
    )
    return 0


COMMANDS: dict[str, Any] = {
    "train": train,
    "evaluate": Evaluate,
    "watch": Watch,
    "export": Export,
    "play": Play,
    "list": List,
    "doctor": Doctor,
    "demo": Demo,
}
