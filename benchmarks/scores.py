"""Scores of the presets: train agents with several seeds, and let each play 100 episodes that no training has seen.

    .venv/bin/python benchmarks/scores.py CartPole CatchBall [--agents ppo dqn] [--seeds 0-4] [--jobs 1] [--out FOLDER]
    .venv/bin/python benchmarks/scores.py CatchBall --agents ppo --options="--steps 100_000 --config.gamma 0.9"
    .venv/bin/python benchmarks/scores.py CartPole --json benchmarks/results/scores.json     (for the documentation)

Trains by `rlgames train AGENT GAME --seeds SEEDS` and plays, greedily, with the checkpoint that `rlgames evaluate`
takes: that of the best evaluation. A file of results has a table for each agent and game, so that it grows game by
game. With --out the runs are kept, and what is finished there is not trained again. (CartPole and CatchBall: ten
minutes on a core)

An interval is a bootstrap of seeds and of their episodes: seeds are drawn with replacement, and then of each as many
episodes as it played. Median and worst tenth are over the episodes of all seeds. Seconds are those of the training
alone, without evaluations, of one torch thread and one seed: their median.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory

import numpy as np
import tyro
from side_by_side import progress
from tables import Table
from tyro.conf import Positional

from rlgames.agents.registry import find
from rlgames.cli.run import parse_seeds
from rlgames.envs.task import Task
from rlgames.evaluation import CONFIDENCE, RESAMPLES, Evaluation, evaluate
from rlgames.presets.lookup import BY_GAME
from rlgames.runs.directory import RunDirectory, find_checkpoint, read_rows
from rlgames.zoo.table import duration, number, share

COLUMNS = {
    "agent": "left",
    "game": "left",
    "steps": "right",
    "time": "right",
    "mean of each seed": "left",
    "mean": "right",
    "95% interval": "right",
    "median": "right",
    "worst 10%": "right",
    "goal": "right",
    "limit": "right",
}


@dataclass(frozen=True)
class Options:
    """Train agents and evaluate them."""

    games: Positional[tuple[str, ...]]  # such as CartPole, or CatchBall:size=16
    agents: tuple[str, ...] = ()  # none: all that have a preset of the game
    seeds: str = "0-4"  # as of `rlgames train`
    jobs: int = 1  # trainings at once; more make each slower
    episodes: int = 100  # that each agent plays after its training
    max_steps: int | None = None  # agent steps after which an episode is truncated; None: as the game does
    options: str = ""  # further options of `rlgames train`, in one string
    out: Path | None = None  # The runs are kept in it.
    json: Path | None = None  # The tables are written into this file too; others in it stay.
    markdown: bool = False  # Tables are printed as Markdown.


@dataclass(frozen=True)
class Result:
    """Training of one seed, and its evaluation."""

    seed: int
    steps: int
    seconds: float  # of training
    evaluation: Evaluation


def train(agent: str, game: str, folder: Path, options: Options) -> None:
    """Train a run of each seed in `folder`/seedN, by the command line. Raises CalledProcessError if one fails."""
    words = [agent, game, "--seeds", options.seeds, "--jobs", str(options.jobs), "--out", str(folder), "--resume"]
    words += ["--track", "none", *shlex.split(options.options)]
    subprocess.run([sys.executable, "-m", "rlgames", "train", *words], check=True, stdout=sys.stderr)


def measure(run: Path, seed: int, options: Options) -> Result:
    """Return the steps and seconds of a finished run, and an evaluation of its agent."""
    times = read_rows(RunDirectory(run).times)
    played = evaluate(find_checkpoint(run), episodes=options.episodes, max_episode_steps=options.max_steps)
    return Result(seed, times[-1]["step"], times[-1]["seconds"], played)


def pool(results: Sequence[Result]) -> Evaluation:
    """Return the episodes of all seeds as one evaluation."""
    played = [result.evaluation for result in results]
    wins = [each.wins for each in played if each.wins is not None]
    return Evaluation(
        [score for each in played for score in each.scores],
        [reward for each in played for reward in each.rewards],
        [length for each in played for length in each.lengths],
        sum(each.capped for each in played),
        sum(wins) if wins else None,
    )


def interval(scores: np.ndarray) -> tuple[float, float]:
    """Return the ends of the 95% interval of the mean of `scores` (seeds, episodes); the same for the same scores."""
    rng, (seeds, episodes) = np.random.default_rng(0), scores.shape
    means = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        drawn = rng.integers(seeds, size=seeds)
        means[i] = scores[drawn[:, None], rng.integers(episodes, size=(seeds, episodes))].mean()
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def cells(agent: str, game: str, results: Sequence[Result], options: Options) -> tuple[str, ...]:
    """Return the row of an agent on a game."""
    played = pool(results)
    means = [number(result.evaluation.mean) for result in results]
    low, high = interval(np.array([result.evaluation.scores for result in results]))
    return (
        f"{agent.upper()}, `{options.options}`" if options.options else agent.upper(),
        f"`{game}`",
        f"{median(result.steps for result in results):,.0f}",
        duration(median(result.seconds for result in results)),
        ", ".join(means) if len(set(means)) > 1 else f"{means[0]} each",
        number(played.mean),
        f"{number(low)} to {number(high)}",
        number(played.median),
        number(played.worst_tenth),
        share(played.goal_share),
        share(played.limit_share if options.max_steps else None),
    )


def score(agent: str, game: str, options: Options, out: Path) -> Table:
    """Train the agent with each seed, evaluate all, and return the table of one row."""
    seeds = parse_seeds(options.seeds)
    folder = out / f"{agent}-{game}"
    train(agent, game, folder, options)
    results = []
    for seed in seeds:
        results.append(measure(folder / f"seed{seed}", seed, options))
        progress.print(f"{agent} on {game}, seed {seed}: {results[-1].evaluation}", highlight=False)
    more = f" {options.options}" if options.options else ""
    return Table(
        f"{agent} on {game}{more}",
        COLUMNS,  # pyright: ignore[reportArgumentType]  "left" and "right"
        [cells(agent, game, results, options)],
        seeds=seeds,
        episodes=options.episodes,
        values=[
            {
                "seed": result.seed,
                "steps": result.steps,
                "seconds": round(result.seconds, 1),
                "mean": round(fmean(result.evaluation.scores), 2),
                "worst": min(result.evaluation.scores),
            }
            for result in results
        ],
    )


def main(options: Options) -> None:
    for game in options.games:
        task = str(Task.parse(game))
        agents = options.agents or tuple(BY_GAME.get(task, {}))
        if not agents:
            raise SystemExit(f"there are no presets of {task}: name the agents, as in --agents ppo dqn")
        for agent in map(str.lower, agents):
            find(agent)  # before anything is trained
        with TemporaryDirectory() as temporary:
            for agent in map(str.lower, agents):
                score(agent, task, options, options.out or Path(temporary)).show(options.markdown, options.json)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
