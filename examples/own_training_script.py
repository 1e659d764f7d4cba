"""A training loop of your own: logging, evaluation, early stopping, and resuming after an interruption.

    python examples/own_training_script.py    stop it with Ctrl-C at any time, ...
    python examples/own_training_script.py    ... and start it again: it resumes where it was last saved

`agent.train(n)` is a generator: it runs the algorithm until the agent has made `n` environment steps, and yields after
every update. A checkpoint holds everything that is alive between two updates, running episodes included, so the
numbers are the same however often the script is stopped. Evaluations use environments of their own and do not perturb
training.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import tyro

import rlgames
from rlgames.agents.base import Agent

TOTAL_TIMESTEPS = 200_000
SOLVED = 475.0  # mean score at which training stops early
EVAL_FREQ = 8_192  # environment steps between two evaluations


def main(folder: Path = Path("own_training"), quick: bool = False, stop_after: int | None = None) -> Agent:
    """Train PPO on CartPole until it is solved.

    Args:
        folder: for the log and the checkpoint.
        quick: stop after two evaluations.
        stop_after: save and stop after so many evaluations, as if interrupted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, log = folder / "agent.ckpt", folder / "log.csv"
    agent = rlgames.load(checkpoint) if checkpoint.exists() else rlgames.PPO("CartPole", seed=1, device="cpu")
    if agent.step:
        print(f"resuming at step {agent.step:,}")

    scores: list[float] = []  # of the episodes that ended since the last evaluation
    next_evaluation, evaluations = agent.step + EVAL_FREQ, 0
    for update in agent.train(TOTAL_TIMESTEPS):
        scores += update.scores
        if update.step < next_evaluation:
            continue

        mean_score = rlgames.evaluate(agent, episodes=20).mean
        row = (update.step, np.mean(scores or [np.nan]), mean_score, -float(update.scalars["train/entropy_loss"]))
        with log.open("a", newline="") as file:
            csv.writer(file).writerow(row)
        print("step {:>7,}  score {:6.1f}  evaluation {:6.1f}  entropy {:.3f}".format(*row), flush=True)
        agent.save(checkpoint)

        if mean_score >= SOLVED:
            print("solved")
            break
        scores, next_evaluation, evaluations = [], next_evaluation + EVAL_FREQ, evaluations + 1
        if evaluations == stop_after or (quick and update.step >= 2 * EVAL_FREQ):
            break
    return agent


if __name__ == "__main__":
    tyro.cli(main)
