"""`rlgames demo`: PPO learns CatchBall live, and is then tested on episodes that it has never seen."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path

from rlgames.agents.registry import load
from rlgames.cli.terminal import print_fields
from rlgames.evaluation import evaluate
from rlgames.recording import record
from rlgames.runs.training import Training, open_session

BEST, EXPECTED = 99, 97  # balls: the score of a perfect player, and what this one must reach
TEST_SEEDS = 2_000_000_000  # seeds from here on were used neither in training nor in its evaluations


def demo(out: Path, steps: int | None) -> int:
    """Train, test and record; return the exit status, 1 if the agent has not learned the game."""
    session = open_session(Training("ppo", "CatchBall", steps=steps), out, overwrite=True)
    print("PPO learns to catch falling balls on a board of 8 x 8 cells.")
    print(f"Then it plays 20 new episodes: {BEST} is the best score. Results are written to {out}.\n", flush=True)
    with closing(session):
        result = session.run()
    run = session.directory
    if result.stopped:
        print(f"stopped by {result.stopped} at step {result.agent.step:,}; rlgames demo starts again")
        return 128 + signal.Signals[result.stopped]
    agent = load(run.best, weights_only=True)
    test = evaluate(agent, seed=TEST_SEEDS)
    recording = record(agent, out / "film.gif", seed=TEST_SEEDS)
    print_fields(
        score=test,
        best_possible=BEST,
        training_time=f"{result.seconds:,.1f} s for {result.agent.step:,} steps",
        curve=run.curve,
        recording=recording.path,
        metrics=run.metrics,
        checkpoint=run.best,
    )
    if test.mean < EXPECTED:
        print(f"\nIt has not learned the game: expected a mean of at least {EXPECTED}, got {test.mean:.1f}.")
        return 1
    return 0
