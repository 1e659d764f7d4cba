"""`rlgames plot` and `compare`: the commands on the metrics of runs; `commands` has their options."""

from __future__ import annotations

import json
from dataclasses import asdict

from rlgames.cli.commands import Compare, Plot
from rlgames.cli.terminal import print_columns, wrap
from rlgames.runs.comparison import Comparison, Side, compare, in_brackets, number
from rlgames.runs.curves import plot
from rlgames.runs.directory import find_runs


def plot_command(options: Plot) -> None:
    metrics = options.y.split(",")
    drawn = plot(options.runs, options.out, y=metrics, x=options.x, title=options.title)
    left_out = len({run.resolve() for path in options.runs for run in find_runs(path)}) - len(drawn)
    missing = f"; {left_out} that {'have' if left_out > 1 else 'has'} not logged it yet left out" if left_out else ""
    print(wrap(f"{options.out}: {', '.join(metrics)} of {runs_text(len(drawn))}{missing}", "  "))


def compare_command(options: Compare) -> None:
    result = compare(options.a, options.b, metric=options.metric)
    if options.json:
        return print(json.dumps(asdict(result), default=str))
    print_comparison(result)


def print_comparison(result: Comparison) -> None:
    sides = [("A", result.a), ("B", result.b)]
    print(f"{result.metric} on {result.game}, the last of each run\n")
    for name, side in sides:
        print(f"  {name}  {side.name}")
    print()
    by_episode = result.unit == "episode"
    columns = ["", "runs", "step", *(["episodes"] if by_episode else []), "interquartile mean", "95% interval"]
    print_columns(columns, [side_cells(name, side, by_episode) for name, side in sides])
    probability = f"{result.improvement:.2f}{in_brackets(result.improvement_interval, 2)}"
    print(
        f"\n  Probability that {'an' if by_episode else 'a'} {result.unit} of B is higher than one of A: {probability}"
    )
    if by_episode:
        note = "A side has a single run, so the intervals are over the episodes of final evaluations: they say nothing"
        print("  " + wrap(f"{note} about trainings with other seeds.", "  "))


def side_cells(name: str, side: Side, by_episode: bool) -> list[str]:
    low, high = side.steps
    steps = f"{high:,}" if low == high else f"{low:,} to {high:,}"
    episodes = [f"{len(side.values)}"] if by_episode else []
    interval = in_brackets(side.interval).strip() or "of a single run: none"
    return [name, f"{len(side.runs)}", steps, *episodes, number(side.iqm), interval]


def runs_text(count: int) -> str:
    return f"{count} run{'s' if count > 1 else ''}"
