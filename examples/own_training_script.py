"""A training loop of your own around an agent's: logging, evaluation, early stop, and going on after a break.

    python examples/own_training_script.py           stop it with Ctrl-C whenever you like, ...
    python examples/own_training_script.py           ... and start it again: it goes on exactly where it was saved

`agent.train(steps)` plays and learns until the agent has lived for so many steps, and pauses after every update to tell
what happened. All that is alive between two updates is saved with the agent, the games in progress included, so the
same numbers come out however often the script was stopped. Evaluations play in games of their own and change nothing.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import tyro

import rlgames
from rlgames.agents.base import Agent

STEPS, ENOUGH = 200_000, 475.0  # the most that may be played; the score at which it is good enough
EVERY = 8_192  # steps between two evaluations


def main(folder: Path = Path("own_training"), quick: bool = False, stop_after: int | None = None) -> Agent:
    """Learn CartPole until it is solved.

    Args:
        folder: for the log and the agent.
        quick: give up after two evaluations.
        stop_after: save and stop after so many evaluations, as if interrupted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    saved, log = folder / "agent.ckpt", folder / "log.csv"
    agent = rlgames.load(saved) if saved.exists() else rlgames.PPO("CartPole", seed=1, device="cpu")
    if agent.step:
        print(f"going on from step {agent.step:,}")
    scores: list[float] = []  # of the episodes that ended since the last line of the log
    due = agent.step + EVERY
    for update in agent.train(STEPS):
        scores += update.scores
        if update.step < due:
            continue
        evaluation = rlgames.evaluate(agent, episodes=20).mean
        row = [update.step, np.mean(scores or [np.nan]), evaluation, float(update.scalars["entropy"])]
        with log.open("a", newline="") as file:
            csv.writer(file).writerow(row)
        print("step {:>7,}  score {:6.1f}  evaluation {:6.1f}  entropy {:.3f}".format(*row), flush=True)
        agent.save(saved)
        scores, due = [], due + EVERY
        if evaluation >= ENOUGH:
            print("solved")
            break
        if stop_after == 1 or (quick and update.step >= 2 * EVERY):
            break
        stop_after = stop_after and stop_after - 1
    return agent


if __name__ == "__main__":
    tyro.cli(main)
