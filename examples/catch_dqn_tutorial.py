"""DQN step by step on CatchBall 8x8: what each idea adds, and how three optimizers compare.

    python examples/catch_dqn_tutorial.py            takes two minutes on one core
    python examples/catch_dqn_tutorial.py --quick    takes seconds; shows that everything works, learns next to nothing

Writes into --folder: steps.png (scores during training), optimizers.png (losses), catch.ckpt (the trained agent) and
catch.gif (a recording of it).

Q-learning fits Q(s, a) to the target R + gamma max_a' Q(s', a'). With a neural network for Q this alone is unstable:
consecutive transitions are correlated, and the target moves with every gradient step. Four remedies, one by one:

1. Experience replay (Lin 1992): learn from transitions sampled at random from a buffer. Every DQN here does.
2. A target network (Mnih et al. 2015): a copy of the network, updated only now and then, computes the target.
   `target_update_interval=1` updates it after every gradient step, which is the same as having none.
3. The Huber loss (same paper, "error clipping"): an error of 10 has no larger gradient than an error of 1.
4. Double DQN (van Hasselt et al. 2016): the maximum of noisy values is biased upwards, so the online network chooses
   the action a', and the target network values it.

On a board this small the first is enough, and the others cost a few thousand steps, because their targets lag behind.
They are insurance that larger games need. All four end with a perfect score.
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
from rlgames.plots import Run, bin_means, draw_curves

CONFIG = DQNConfig(
    buffer_size=50_000,
    train_freq=8,
    batch_size=64,
    target_update_interval=200,  # gradient steps, 1,600 environment steps
    optimizer="adam",
    learning_rate=1e-3,
    gamma=0.95,
    exploration_fraction=0.5,
    exploration_final_eps=0.02,
    encoder="vector",  # the board as a vector of 64 cells
    net_arch=(64,),
)
VARIANTS: dict[str, tuple[type[Agent], DQNConfig]] = {
    "experience replay": (rlgames.DQN, replace(CONFIG, target_update_interval=1, loss="squared")),
    "+ target network": (rlgames.DQN, replace(CONFIG, loss="squared")),
    "+ Huber loss": (rlgames.DQN, CONFIG),
    "+ Double DQN": (rlgames.DDQN, CONFIG),
}
OPTIMIZERS = {"RMSPropGraves": "rmsprop-graves", "RMSProp": "rmsprop", "Adam": "adam"}
NUM_ENVS = 8
EVALUATIONS = 40  # of each training


class Trained(NamedTuple):
    agent: Agent
    scores: Run  # environment steps, and the mean scores of 20 greedy episodes
    losses: Run  # environment steps, and the losses


def train(agent_class: type[Agent], config: DQNConfig, seed: int, total_timesteps: int) -> Trained:
    """Train an agent; evaluate its greedy policy at regular intervals."""
    agent = agent_class("CatchBall", config, seed=seed, device="cpu", num_envs=NUM_ENVS)
    eval_steps, scores, loss_steps, losses = [], [], [], []
    for update in agent.train(total_timesteps):
        if "train/loss" in update.scalars:  # not before `learning_starts`
            loss_steps.append(update.step)
            losses.append(update.scalars["train/loss"])
        if update.step >= total_timesteps * (len(scores) + 1) // EVALUATIONS:
            eval_steps.append(update.step)
            scores.append(rlgames.evaluate(agent, episodes=20, seed=1_000).mean)
    return Trained(
        agent,
        (np.array(eval_steps), np.array(scores)),
        (np.array(loss_steps), torch.stack(losses).numpy()),
    )


def final_score(trainings: list[Trained]) -> float:
    """Return the mean score of the last evaluations."""
    return float(np.mean([trained.scores[1][-1] for trained in trainings]))


def main(folder: Path = Path("catch_dqn"), quick: bool = False, steps: int = 24_000, seeds: int = 3) -> float:
    """Train DQN on CatchBall, step by step.

    Args:
        folder: for the curves, the recording and the agent.
        quick: a short training with one seed.
        steps: environment steps of each training.
        seeds: trainings behind each curve.
    """
    folder.mkdir(parents=True, exist_ok=True)
    steps, seeds = (1_400, 1) if quick else (steps, seeds)
    random_score = rlgames.evaluate(rlgames.Random("CatchBall"), episodes=200).mean

    print(f"Four steps from Q-learning to Double DQN: {steps:,} environment steps each, {seeds} seed{'s'[: seeds > 1]}")
    trainings = {}
    for name, (agent_class, config) in VARIANTS.items():
        trainings[name] = [train(agent_class, config, seed, steps) for seed in range(seeds)]
        print(f"  {name:<18}{final_score(trainings[name]):6.1f} at the end, of 99")
    draw_curves(
        {name: [trained.scores for trained in runs] for name, runs in trainings.items()},
        folder / "steps.png",
        "CatchBall 8x8: DQN step by step",
        "score, mean of 20 greedy episodes",
        levels={"perfect: 99": 99.0, f"random: {random_score:.1f}": random_score},
    )

    print("Double DQN with three optimizers")
    losses = {}
    for name, optimizer in OPTIMIZERS.items():
        runs = [train(rlgames.DDQN, replace(CONFIG, optimizer=optimizer), seed, steps) for seed in range(seeds)]
        losses[name] = [bin_means(*trained.losses, bins=60) for trained in runs]
        final_loss = np.mean([loss[-1] for _, loss in losses[name]])
        print(f"  {name:<18}{final_score(runs):6.1f} at the end, loss {final_loss:.4f}")
    draw_curves(
        losses,
        folder / "optimizers.png",
        "CatchBall 8x8: Double DQN with three optimizers",
        f"Huber loss, mean over {steps // 60:,} steps",
        log=True,
    )

    trainings["+ Double DQN"][0].agent.save(folder / "catch.ckpt")
    agent = rlgames.load(folder / "catch.ckpt")
    result = rlgames.evaluate(agent, episodes=50)
    print("saved, loaded and evaluated:", result)
    rlgames.record(agent, folder / "catch.gif", seconds=20, size=240)
    print("written:", *sorted(map(str, folder.iterdir())))
    return result.mean


if __name__ == "__main__":
    tyro.cli(main)
