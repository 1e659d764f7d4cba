"""Render a picture of each game into docs/pictures: python docs/pictures.py [GAME ...]

Trained agents of the zoo play where there is one, else a search of a few steps ahead, which needs no training. Mario
needs its ROM, ChromeDino a browser.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from generate import page_name
from PIL import Image

import rlgames

PICTURES = Path(__file__).parent / "pictures"
ZOO = Path(__file__).parents[1] / "zoo"
LARGEST = 480  # pixels of a side
COLORS = 64  # of a picture's palette
STEPS = {"CartPole": 40, "CatchBall": 33, "Cave": 160, "Dino": 390, "ChromeDino": 390, "Pong": 110, "Mario": 75}
AGENTS = {"Dino": "dino-ppo", "ChromeDino": "dino-ppo", "Pong": "pong-ppo", "Mario": "mario-1-1-ppo"}
TRIES = 64  # sequences of random actions, from which the search chooses
AHEAD = {"CartPole": 10, "CatchBall": 8, "Cave": 30}  # their length


def render(name: str) -> Image.Image:
    env = gym.make(f"rlgames/{name}-v0", render_mode="rgb_array")
    env.reset(seed=1)
    play_by_search(env.unwrapped, STEPS[name], AHEAD[name])
    picture = Image.fromarray(np.asarray(env.render()))
    env.close()
    return picture


def render_agent(name: str, checkpoint: Path) -> Image.Image:
    """Return the picture after STEPS steps of a trained agent."""
    agent = rlgames.load(checkpoint, weights_only=True, device="cpu")
    assert agent.task is not None
    env = rlgames.make(name, pixels=agent.task.pixels, render_mode="rgb_array", **agent.task.options)
    obs, _ = env.reset(seed=1)
    for _ in range(STEPS[name]):
        action, _ = agent.predict(obs, deterministic=True)
        obs, *_ = env.step(int(action))
    picture = Image.fromarray(np.asarray(env.render()))
    env.close()
    return picture


def play_by_search(env: Any, steps: int, ahead: int) -> None:
    """Take `steps` steps, each the first of the sequence of random actions that has the most reward."""
    rng = np.random.default_rng(0)
    for _ in range(steps):
        state, best, chosen = env.snapshot(), -np.inf, 0
        for _ in range(TRIES):
            actions, total = rng.integers(env.action_space.n, size=ahead), 0.0
            for action in actions:
                _, reward, terminated, *_ = env.step(action)
                total += float(reward)
                if terminated:
                    break
            env.restore(state)
            if total > best:
                best, chosen = total, actions[0]
        env.step(chosen)


def main(names: list[str]) -> None:
    PICTURES.mkdir(exist_ok=True)
    for name in names or STEPS:
        picture = render_agent(name, ZOO / AGENTS[name] / "agent.ckpt") if name in AGENTS else render(name)
        if 2 * max(picture.size) <= LARGEST:
            picture = picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST)
        picture.thumbnail((LARGEST, LARGEST))
        path = PICTURES / f"{page_name(name)}.png"
        picture.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
        print(f"{path}  {picture.size}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
