"""Pong's presets, by agent, and the two pictures of the game that they learn from."""

from dataclasses import replace

from rlgames.agents.a3c import A3CConfig
from rlgames.agents.dqn import DQNConfig
from rlgames.agents.ppo import PPOConfig
from rlgames.agents.reinforce import REINFORCEConfig
from rlgames.presets.preset import Preset
from rlgames.wrappers.pixels import Pixels

BALL_AND_BATS = Pixels(  # 80 x 80: Pong's field, its background erased, and what has moved since the frame before
    crop=(35, 195, 0, 160), every=2, channel=0, erase=(144, 109), skip=4, difference=True, scale=True
)
FIELD = Pixels(  # the same field in two frames: on a grey background the networks take far longer to see the ball
    crop=(35, 195, 0, 160), every=2, grey=True, erase=(87,), skip=4, max_pool=True, stack=2
)
VALUES = Preset(  # of the agents that learn values, DQN and DDQN
    DQNConfig(
        capacity=100_000,
        warmup=5_000,
        update_every=32,
        updates=4,
        batch=128,  # twice the samples of 8 batches of 32 in the same time, and half the steps to learn the game
        target_every=250,
        learning_rate=5e-4,
        n_step=5,
        final_epsilon=0.01,
        explore=1 / 12,
        encoder="nips",
    ),
    steps=300_000,
    envs=32,
    pixels=FIELD,
)
PRESETS: dict[str, Preset] = {
    "dqn": VALUES,
    "ddqn": replace(VALUES, config=replace(VALUES.config, final_learning_rate=5e-5)),  # else it falls back late on
    "reinforce": Preset(  # the network, the picture and the returns of Karpathy 2016, "Pong from Pixels"
        REINFORCEConfig(
            episodes=8,
            optimiser="rmsprop",
            learning_rate=1e-3,
            reset_on_reward=True,
            standardise="episode",
            max_norm=None,
            encoder="vector",
            hidden=(200,),
            activation="relu",
        ),
        steps=20_000_000,
        envs=8,
        pixels=BALL_AND_BATS,
    ),
    "a3c": Preset(
        A3CConfig(horizon=16, learning_rate=7e-4, gae_lambda=0.95, entropy=0.03, max_norm=0.5, encoder="nips"),
        steps=3_000_000,
        envs=16,
        pixels=FIELD,
    ),
    "ppo": Preset(
        PPOConfig(horizon=64, sample=0.5, learning_rate=1e-3, entropy=0.03, encoder="nips"),  # less, and it gives up
        steps=1_500_000,
        envs=32,
        pixels=FIELD,
    ),
}
