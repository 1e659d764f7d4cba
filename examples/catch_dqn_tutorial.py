"""DQN step by step on CatchBall 8x8: what each idea adds, and which optimiser suits it.

    python examples/catch_dqn_tutorial.py            two minutes on one core
    python examples/catch_dqn_tutorial.py --quick    seconds: shows that everything works, learns next to nothing

Writes into --folder: steps.png (scores while learning), optimisers.png (losses), catch.gif (the trained agent plays),
catch.ckpt (the agent itself).

Q-learning wants Q(s, a) = R + gamma max_a' Q(s', a'). With a network for Q and nothing else that is unstable, for
consecutive frames resemble each other, and the goal moves with every gradient step. Four remedies, one after the other:

1. Experience replay (Lin 1992): learn from transitions drawn at random from a memory. Every DQN here has it.
2. A target network (Mnih et al. 2015): the goal is computed by a copy of the network that is renewed now and then only.
   `target_update_interval=1` renews it after every gradient step, that is, does without.
3. Huber's loss (same paper: "the error clipped to -1..1"): a surprise of 10 pulls no harder than a surprise of 1.
4. Double DQN (van Hasselt et al. 2016): the maximum of noisy values is too high, so the network chooses a' and the copy
   values it.

On a board this small the first suffices, and the others cost it a few thousand frames: their goals lag behind. They are
insurance, which larger games need. All four end perfect.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import tyro

import rlgames
from rlgames.agents.base import Agent
from rlgames.agents.dqn import DQNConfig
from rlgames.plots import bin_means, draw_curves
from rlgames.recording import record

BASE = DQNConfig(
    buffer_size=50_000,
    train_freq=8,
    batch=64,
    target_update_interval=200,  # gradient steps, 1,600 frames
    optimizer="adam",
    learning_rate=1e-3,
    gamma=0.95,
    explore=0.5,
    exploration_final_eps=0.02,
    encoder="vector",  # the board, flatten_parameters
    hidden=(64,),
)
STEPS: dict[str, tuple[type[Agent], DQNConfig]] = {
    "experience replay": (rlgames.DQN, replace(BASE, target_update_interval=1, loss="squared")),
    "+ target network": (rlgames.DQN, replace(BASE, loss="squared")),
    "+ Huber loss": (rlgames.DQN, BASE),
    "+ Double DQN": (rlgames.DDQN, BASE),
}
OPTIMISERS = {"RMSPropGraves": "rmsprop-graves", "RMSProp": "rmsprop", "Adam": "adam"}
PLAYERS = 8  # at once


class Learnt(NamedTuple):
    agent: Agent
    score: tuple[np.ndarray, np.ndarray]  # (steps, mean score of 20 episodes played greedily)
    loss: tuple[np.ndarray, np.ndarray]  # (steps, loss)


def learn(kind: type[Agent], config: DQNConfig, seed: int, steps: int) -> Learnt:
    """Train, and stop forty times on the way to see how well the agent plays without random actions."""
    agent = kind("CatchBall", config, seed=seed, device="cpu", num_envs=PLAYERS)
    at, scores, losses = [], [], []
    for update in agent.train(steps):
        if "loss" in update.scalars:
            losses.append((update.step, update.scalars["loss"]))
        if update.step >= steps * (len(at) + 1) // 40:
            at.append(update.step)
            scores.append(rlgames.evaluate(agent, episodes=20, seed=1_000).mean)
    x, y = zip(*losses, strict=True)
    return Learnt(agent, (np.array(at), np.array(scores)), (np.array(x), torch.stack(y).numpy()))


def main(folder: Path = Path("catch_dqn"), quick: bool = False, steps: int = 24_000, seeds: int = 3) -> float:
    """Learn CatchBall with DQN, step by step.

    Args:
        folder: for pictures, film and agent.
        quick: a short run with one seed.
        steps: of the environment in each training.
        seeds: trainings behind each curve.
    """
    folder.mkdir(parents=True, exist_ok=True)
    steps, seeds = (2_000, 1) if quick else (steps, seeds)
    chance = rlgames.evaluate(rlgames.Random("CatchBall"), episodes=200).mean
    levels = {"perfect: 99": 99.0, f"random: {chance:.1f}": chance}

    print(f"Four steps from Q-learning to Double DQN, {steps:,} frames each, {seeds} time{'s'[: seeds > 1]}")
    runs = {name: [learn(*step, seed, steps) for seed in range(seeds)] for name, step in STEPS.items()}
    for name, learnt in runs.items():
        print(f"  {name:<18}{np.mean([run.score[1][-1] for run in learnt]):6.1f} at the end, of 99")
    title = "CatchBall 8x8: DQN step by step"
    scores = {name: [run.score for run in learnt] for name, learnt in runs.items()}
    draw_curves(scores, folder / "steps.png", title, "score, mean of 20 greedy episodes", levels=levels)

    print("Three optimisers for the last step")
    losses = {}
    for name, optimiser in OPTIMISERS.items():
        learnt = [learn(rlgames.DDQN, replace(BASE, optimizer=optimiser), seed, steps) for seed in range(seeds)]
        losses[name] = [bin_means(*run.loss, bins=60) for run in learnt]
        final = np.mean([run.score[1][-1] for run in learnt])
        print(f"  {name:<18}{final:6.1f} at the end, loss {np.mean([y[-1] for _, y in losses[name]]):.4f}")
    title = "CatchBall 8x8: Double DQN with three optimisers"
    draw_curves(losses, folder / "optimisers.png", title, f"Huber loss, mean over {steps // 60:,} steps", log=True)

    agent = runs["+ Double DQN"][0].agent
    agent.save(folder / "catch.ckpt")
    again = rlgames.load(folder / "catch.ckpt")
    print("saved, loaded and played:", result := rlgames.evaluate(again, episodes=50))
    film = record(again, folder / "catch.gif", seconds=20, size=240)
    print(*sorted(path.name for path in folder.iterdir()), "are in", film.path.parent)
    return result.mean


if __name__ == "__main__":
    tyro.cli(main)
