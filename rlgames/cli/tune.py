"""`rlgames tune`: search for settings with Optuna; `commands` has its options."""

from __future__ import annotations

import shlex
import signal
from dataclasses import fields

from rich.console import Console
from rich.table import Table

from rlgames.cli.commands import Tune
from rlgames.cli.options import check_device
from rlgames.cli.run import PROGRAM
from rlgames.tuning.study import Tuning, TuningResult, short, tune

SHOWN = 10  # of the best trials


def tune_command(options: Tune) -> int:
    check_device(options.device)
    given = {field.name: getattr(options, field.name) for field in fields(Tuning) if field.name != "search"}
    search = tuple(filter(None, (options.search or "").split(",")))
    result = tune(
        Tuning(**given, search=search),
        options.out,
        jobs=options.jobs,
        storage=options.storage,
        study=options.study,
        resume=options.resume,
        quiet=options.quiet,
    )
    print_trials(result)
    if result.best is not None:
        command = shlex.join(["train", options.agent, options.game, "--preset", str(result.path / "best.json")])
        print(f"train with the best settings: {PROGRAM} {command}")
    if result.stopped:
        print(f"stopped by {result.stopped}; continue with the same options and --resume")
        return 128 + signal.Signals[result.stopped]
    return 0


def print_trials(result: TuningResult) -> None:
    """Print the best trials, the settings that were searched in columns of their own."""
    scored = [each for each in result.trials if each.state == "complete" and each.score is not None]
    best = sorted(scored, key=lambda each: -(each.score or 0.0))[:SHOWN]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("trial", justify="right")
    table.add_column("score", justify="right")
    names = list(best[0].settings) if best else []
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")  # in lines where the terminal is narrow
    for each in best:
        table.add_row(str(each.number), f"{each.score:,.1f}", *(short(each.settings[name]) for name in names))
    if best:
        Console(highlight=False).print(table)
    counts = {state: sum(each.state == state for each in result.trials) for state in ("complete", "pruned", "failed")}
    print(f"{', '.join(f'{count} {state}' for state, count in counts.items())}; all in {result.path}")
