"""A game of your own: Slalom, which PPO learns in seconds: python examples/own_game.py

It is registered, so the command line has it too: python examples/own_game.py train dqn Slalom, then watch, ...
"""

import sys

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numba.extending import register_jitable

import rlgames
from rlgames.agents.ppo import PPOConfig
from rlgames.cli.main import main as command_line
from rlgames.engine import CLOCK, Canvas, Game, below
from rlgames.engine.rendering import BLUE, RED

WIDTH, SPACING, GATES = 9, 7, 30  # columns of the slope; steps from one gate to the next; gates on the way down
RECORD = np.dtype([*CLOCK, ("skier", "i4"), ("gate", "i4"), ("distance", "i4"), ("passed", "i4")])


@register_jitable
def reset(s):
    s.skier, s.gate, s.distance, s.passed = WIDTH // 2, below(s, WIDTH), SPACING, 0


@register_jitable
def step(s, action):
    s.skier = min(max(s.skier + action - 1, 0), WIDTH - 1)
    s.distance -= 1
    if s.distance > 0:
        return 0.0, False
    if abs(s.skier - s.gate) > 1:
        return -1.0, True
    s.gate, s.distance, s.passed = below(s, WIDTH), SPACING, s.passed + 1
    return 1.0, False


@register_jitable
def observe(s, obs):
    obs[0], obs[1], obs[2] = s.skier / WIDTH, s.gate / WIDTH, s.distance / SPACING


@register_jitable
def score(s, reward):
    return float(s.passed)


def render(s):
    canvas = Canvas(WIDTH * 40, (SPACING + 1) * 40, 40)
    for post in (s["gate"] - 1, s["gate"] + 1):
        canvas.bar(post + 0.4, s["distance"], post + 0.6, s["distance"] + 1, RED)
    canvas.disc(s["skier"] + 0.5, 0.5, 0.3, BLUE)
    return canvas.pixels()


def game() -> Game:
    actions, observation, max_frames = ("left", "straight", "right"), Box(0, 1, (3,), np.float32), SPACING * GATES
    return Game("Slalom", RECORD, observation, actions, max_frames, reset, step, observe, render, fps=8, score=score)


rlgames.register_game("Slalom", __name__, "pass every gate on the way down")


def main(steps: int = 100_000) -> float:
    print(gym.make("rlgames/Slalom-v0").reset(seed=0), rlgames.make_vec("Slalom", 1000))
    agent = rlgames.PPO("Slalom", PPOConfig(learning_rate=1e-3), seed=0).learn(steps, progress_bar=True)
    print(result := rlgames.evaluate(agent), f"of {GATES} gates")
    return result.mean


if __name__ == "__main__":
    sys.exit(command_line()) if sys.argv[1:] else main()
