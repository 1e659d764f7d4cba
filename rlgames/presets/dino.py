"""Presets for Dino, by agent, seen as numbers and as pictures: 0.01 for every step survived, -1 for the crash.

Larger rewards make larger errors of the value; policy and value have a network each, and gradients clipped apart.
"""

from dataclasses import replace

from rlgames.agents.dqn import DQNConfig
from rlgames.agents.ppo import PPOConfig
from rlgames.presets.preset import Preset
from rlgames.wrappers.pixels import Pixels
from rlgames.wrappers.rewards import Rewards

SURVIVE = Rewards(scale=0.0, survival=0.01, lost=-1.0)
OUTLINES = Pixels(  # without the scores; black but for what is darker than clouds, moon and stars, by day and by night
    crop=(13, 84, 0, 84), erase=(*range(56), *range(200, 256)), skip=4, stack=2
)
VALUES = Preset(  # of the agents that learn values; random jumps are dangerous, so there are few from the beginning
    DQNConfig(
        capacity=300_000,
        warmup=10_000,
        update_every=32,
        updates=4,
        batch=256,
        target_every=1_000,
        learning_rate=1e-3,
        final_learning_rate=0.0,
        n_step=3,
        epsilon=0.1,
        final_epsilon=0.001,
        hidden=(128, 128),
    ),
    steps=2_000_000,
    envs=32,
    rewards=SURVIVE,
)
STATE: dict[str, Preset] = {
    "dqn": VALUES,
    "ddqn": VALUES,
    "ppo": Preset(
        PPOConfig(horizon=256, epochs=6, minibatches=8, learning_rate=1e-3, entropy=0.003, hidden=(128, 128)),
        steps=4_000_000,
        envs=32,
        rewards=SURVIVE,
    ),
}
SEEN_VALUES = Preset(  # the same from pictures, with the step size and batch that Pong learns with
    replace(
        VALUES.config, capacity=100_000, warmup=5_000, batch=64, target_every=500, learning_rate=3e-4, encoder="nips"
    ),
    steps=1_000_000,
    envs=32,
    rewards=SURVIVE,
    pixels=OUTLINES,
)
PICTURES: dict[str, Preset] = {
    "dqn": SEEN_VALUES,
    "ddqn": SEEN_VALUES,
    "ppo": Preset(
        PPOConfig(horizon=128, sample=0.5, learning_rate=1e-3, entropy=0.01, encoder="nips"),
        steps=2_000_000,
        envs=32,
        rewards=SURVIVE,
        pixels=OUTLINES,
    ),
}
