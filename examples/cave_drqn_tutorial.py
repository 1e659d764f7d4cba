"""Cave with a memory: DQN that sees the last four frames against DRQN that sees one and remembers.

    python examples/cave_drqn_tutorial.py            half an hour on two cores
    python examples/cave_drqn_tutorial.py --quick    seconds: shows that everything works, learns next to nothing

Writes into --folder: scores.png (both learning, and chance), dqn.gif and drqn.gif (they play), dqn.ckpt and drqn.ckpt.

One picture of the cave does not show how fast the player rises or falls. There are two ways to let the agent know:

- DQN (Mnih et al. 2015) sees the last four pictures at once, stacked.
- DRQN (Hausknecht & Stone 2015) sees one picture at a time; an LSTM between the convolutions and the action values
  carries what matters from step to step, however long ago that was. It learns from stretches of consecutive steps.

Frame skip: every action is held for that many frames. At 4, as here, a decision comes four columns apart: episodes are
short in decisions, so that rewards are near and learning begins early, and four stacked pictures reach twelve frames
back. But the player cannot steer finely: thrust held for four frames changes its speed by 0.32 rows a frame at once,
too coarse for the narrow end of the cave and the gaps beside its blocks. At 2, the default of rlgames.make("Cave"),
nearly every cave can be survived, for twice as many decisions an episode. Try it: --skip 2.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import tyro

import rlgames
from rlgames.agents.base import Agent
from rlgames.agents.dqn import DQNConfig
from rlgames.plots import draw_curves
from rlgames.recording import record

CONFIG = DQNConfig(
    buffer_size=100_000,
    learning_starts=5_000,
    train_freq=16,
    batch=64,
    target_update_interval=500,
    learning_rate=3e-4,
    gamma=0.98,
    n_steps=3,
    explore=0.2,
    exploration_final_eps=0.02,
)
PLAYERS = 16  # at once
FAR = 500  # decisions after which an evaluation's episode is cut short


def learn(agent: Agent, pixels: rlgames.Pixels, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Train, and stop twenty times on the way to see how far the agent flies; returns (steps, mean scores)."""
    at, scores = [0], [test(agent, pixels)]
    for update in agent.train(steps):
        if update.step >= steps * len(at) // 20:
            at.append(update.step)
            scores.append(test(agent, pixels))
            print(f"  {update.step:>9,} decisions: {scores[-1]:7.1f} frames survived", flush=True)
    return np.array(at), np.array(scores)


def test(agent: Agent, pixels: rlgames.Pixels) -> float:
    """The mean score of 20 episodes: frames survived."""
    envs = rlgames.make_vec("Cave", 20, pixels=pixels)
    return rlgames.evaluate(agent, envs, episodes=20, seed=1_000, max_steps=FAR).mean


def film(agent: Agent, pixels: rlgames.Pixels, path: Path) -> None:
    env = rlgames.make("Cave", pixels=pixels, render_mode="rgb_array")
    print(f"  {record(agent, path, env, seconds=15, size=240).scores[0]:.0f} frames survived in {path}")
    env.close()


def main(
    folder: Path = Path("cave_drqn"),
    quick: bool = False,
    steps: int = 200_000,
    skip: int = 4,
    seed: int = 0,
    memory: bool = True,
) -> float:
    """Learn Cave with DQN on four frames, then with DRQN on one.

    Args:
        folder: for pictures, films and agents.
        quick: a short run.
        steps: decisions of each training, all players counted.
        skip: frames that each action is held.
        seed: of everything.
        memory: train DRQN as well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stacked, single = rlgames.Pixels(skip=skip, stack=4), rlgames.Pixels(skip=skip)
    config, steps = (replace(CONFIG, learning_starts=200, batch=16), 1_200) if quick else (CONFIG, steps)
    contestants = {"dqn": ("DQN, four frames", stacked, config)}
    if memory:
        remembering = replace(config, recurrent=True, batch=config.batch // 4)  # sequences, not steps
        contestants["drqn"] = ("DRQN, one frame and a memory", single, remembering)

    chance = test(rlgames.Random(rlgames.make_vec("Cave", pixels=single), seed=seed), single)
    print(f"random: {chance:.1f} frames survived")
    curves, last = {}, chance
    for name, (title, pixels, settings) in contestants.items():
        print(title)
        agent = rlgames.DQN(rlgames.make_vec("Cave", PLAYERS, pixels=pixels), settings, seed=seed)
        curves[title] = [learn(agent, pixels, steps)]
        last = float(curves[title][0][1][-1])
        agent.save(folder / f"{name}.ckpt")
        film(agent, pixels, folder / f"{name}.gif")
    draw_curves(
        curves,
        folder / "scores.png",
        f"Cave, frame skip {skip}",
        f"frames survived, of at most {FAR * skip:,}; mean of 20 episodes",
        xlabel="decisions, all players counted",
        levels={f"random: {chance:.1f}": chance},
    )
    return last


if __name__ == "__main__":
    tyro.cli(main)
