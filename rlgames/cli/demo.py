"""The demo: PPO learns CatchBall before your eyes, and is then tested on episodes that it has never seen."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path

from rlgames.agents.registry import load
from rlgames.cli.terminal import refusing, say
from rlgames.evaluation import evaluate
from rlgames.recording import record
from rlgames.runs.training import EVALUATION_SEEDS, Training, begin

BEST, EXPECTED = 99, 97  # balls: what a perfect player catches, and what this one must
FRESH = 2 * EVALUATION_SEEDS  # seeds from here on were used neither in training nor in its evaluations


def demo(out: Path, steps: int | None) -> int:
    """Train, test, film; returns the exit status, 1 when the agent has not learned the game."""
    with refusing():
        session = begin(Training("ppo", "CatchBall", steps=steps), out, overwrite=True)
    print("An agent (PPO) that knows nothing learns to catch falling balls, on 8 x 8 cells.")
    print(f"Then it plays 20 new episodes: {BEST} is the best score. Results go into {out}.\n", flush=True)
    with closing(session):
        result = session.run()
    run = session.directory
    if result.stopped:
        print(f"stopped by {result.stopped} at step {result.agent.step:,}; rlgames demo begins again")
        return 128 + signal.Signals[result.stopped]
    agent = load(run.best)
    test = evaluate(agent, seed=FRESH)
    film = record(agent, out / "film.gif", seed=FRESH)
    say(
        score=test,
        best_possible=BEST,
        training_took=f"{result.seconds:,.1f} s for {result.agent.step:,} steps",
        curve=run.curve,
        film=film.path,
        metrics=run.metrics,
        checkpoint=run.best,
    )
    if test.mean < EXPECTED:
        print(f"\nIt has not learned the game: expected a mean of at least {EXPECTED}, got {test.mean:.1f}.")
        return 1
    return 0
