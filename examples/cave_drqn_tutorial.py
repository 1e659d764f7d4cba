"""Cave with and without an LSTM: DQN that observes the last four frames, and DRQN that observes one.

    python examples/cave_drqn_tutorial.py            takes half an hour on two cores
    python examples/cave_drqn_tutorial.py --quick    takes seconds; shows that everything works, learns next to nothing

Writes into --folder: scores.png (both during training, and random actions), dqn.gif and drqn.gif (recordings), dqn.ckpt
and drqn.ckpt (the trained agents).

One frame of Cave does not show how fast the agent rises or falls. Two ways to let it know:

- DQN (Mnih et al. 2015) observes a stack of the last four frames.
- DRQN (Hausknecht & Stone 2015) observes one frame at a time; an LSTM between the convolutions and the Q-values carries
  its state from step to step. It learns from sequences of consecutive steps.

Frame skip: each action is repeated for that many frames. At 4, as here, an agent step covers four columns: episodes
have few steps, so that rewards are near and learning begins early, and four stacked frames reach twelve frames back.
But control is coarse: thrust held for four frames changes the speed by 0.32 rows a frame at once, too much for the
narrow end of the cave and the gaps around its blocks. At 2, the default of rlgames.make("Cave"), nearly every cave can
be survived, for twice as many steps an episode. Try it: --frame-skip 2.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import tyro

import rlgames
from rlgames.agents.base import Agent
from rlgames.agents.dqn import DQNConfig
from rlgames.plots import Run, draw_curves

CONFIG = DQNConfig(
    buffer_size=100_000,
    learning_starts=5_000,
    train_freq=16,
    batch_size=64,
    target_update_interval=500,
    learning_rate=3e-4,
    gamma=0.98,
    n_steps=3,
    exploration_fraction=0.2,
    exploration_final_eps=0.02,
)
QUICK = replace(CONFIG, learning_starts=200, batch_size=16)
NUM_ENVS = 16
EVALUATIONS = 20  # of each training
MAX_EPISODE_STEPS = 500  # of an evaluation


def train(agent: Agent, pixels: rlgames.Pixels, total_timesteps: int) -> Run:
    """Train, and evaluate at regular intervals; return the steps and mean scores of the evaluations."""
    steps, scores = [0], [mean_score(agent, pixels)]
    for update in agent.train(total_timesteps):
        if update.step >= total_timesteps * len(steps) // EVALUATIONS:
            steps.append(update.step)
            scores.append(mean_score(agent, pixels))
            print(f"  step {update.step:>9,}: {scores[-1]:7.1f} frames survived", flush=True)
    return np.array(steps), np.array(scores)


def mean_score(agent: Agent, pixels: rlgames.Pixels) -> float:
    """Return the frames survived, mean of 20 episodes."""
    envs = rlgames.make_vec("Cave", 20, pixels=pixels)
    return rlgames.evaluate(agent, envs, episodes=20, seed=1_000, max_episode_steps=MAX_EPISODE_STEPS).mean


def record(agent: Agent, pixels: rlgames.Pixels, path: Path) -> None:
    env = rlgames.make("Cave", pixels=pixels, render_mode="rgb_array")
    recording = rlgames.record(agent, path, env, seconds=15, size=240)
    print(f"  {recording.scores[0]:.0f} frames survived in {path}")
    env.close()


def main(
    folder: Path = Path("cave_drqn"),
    quick: bool = False,
    steps: int = 200_000,
    frame_skip: int = 4,
    seed: int = 0,
) -> float:
    """Train DQN on four frames of Cave, then DRQN on one.

    Args:
        folder: for the curves, the recordings and the agents.
        quick: a short training.
        steps: environment steps of each training, summed over the environments.
        frame_skip: frames for which each action is repeated.
        seed: of everything.
    """
    folder.mkdir(parents=True, exist_ok=True)
    four_frames, one_frame = rlgames.Pixels(skip=frame_skip, stack=4), rlgames.Pixels(skip=frame_skip)
    config, steps = (QUICK, 600) if quick else (CONFIG, steps)
    sequences = replace(config, recurrent=True, batch_size=config.batch_size // 4)  # a batch of sequences, not of steps
    variants = {
        "dqn": ("DQN, four frames", four_frames, config),
        "drqn": ("DRQN, one frame and an LSTM", one_frame, sequences),
    }

    random_agent = rlgames.Random(rlgames.make_vec("Cave", pixels=one_frame), seed=seed)
    random_score = mean_score(random_agent, one_frame)
    print(f"random: {random_score:.1f} frames survived")
    curves = {}
    for name, (title, pixels, variant) in variants.items():
        print(title)
        agent = rlgames.DQN(rlgames.make_vec("Cave", NUM_ENVS, pixels=pixels), variant, seed=seed)
        curves[title] = [train(agent, pixels, steps)]
        agent.save(folder / f"{name}.ckpt")
        record(agent, pixels, folder / f"{name}.gif")
    draw_curves(
        curves,
        folder / "scores.png",
        f"Cave, frame skip {frame_skip}",
        f"frames survived, of at most {MAX_EPISODE_STEPS * frame_skip:,}; mean of 20 episodes",
        levels={f"random: {random_score:.1f}": random_score},
    )
    [(_, scores)] = curves["DRQN, one frame and an LSTM"]
    return float(scores[-1])


if __name__ == "__main__":
    tyro.cli(main)
