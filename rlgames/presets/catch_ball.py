"""CatchBall's presets, by agent, on the field of 8 x 8 and on the large one of 16 x 16."""

from dataclasses import replace

from rlgames.agents.a3c import A3CConfig
from rlgames.agents.dqn import DQNConfig
from rlgames.agents.ppo import PPOConfig
from rlgames.agents.reinforce import REINFORCEConfig
from rlgames.presets.preset import Preset

SMALL_VALUES = Preset(  # of the agents that learn values, DQN and DDQN
    DQNConfig(
        update_every=32,
        updates=4,
        batch=64,
        target_every=100,
        learning_rate=1e-3,
        final_learning_rate=0.0,
        gamma=0.95,
        n_step=5,
        explore=0.2,
        final_epsilon=0.02,
        encoder="vector",
        hidden=(256,),
    ),
    steps=40_000,
    envs=16,
)
LARGE_VALUES = Preset(
    replace(
        SMALL_VALUES.config,
        updates=6,
        batch=128,
        target_every=200,
        n_step=10,
        explore=0.15,
        final_epsilon=0.005,
    ),
    steps=500_000,
    envs=16,
)
SMALL: dict[str, Preset] = {
    "dqn": SMALL_VALUES,
    "ddqn": SMALL_VALUES,
    "reinforce": Preset(
        REINFORCEConfig(
            episodes=32,
            learning_rate=1e-2,
            final_learning_rate=0.0,
            gamma=0.85,
            baseline=True,
            entropy=0.01,
            encoder="vector",
            hidden=(128,),
        ),
        steps=600_000,
        envs=32,
    ),
    "a3c": Preset(
        A3CConfig(
            workers=1,
            horizon=16,
            learning_rate=2e-3,
            gamma=0.97,
            gae_lambda=0.95,
            entropy=0.005,
            max_norm=0.5,
            encoder="vector",
            hidden=(128,),
        ),
        steps=150_000,
        envs=16,
    ),
    "ppo": Preset(
        PPOConfig(horizon=64, learning_rate=2e-3, encoder="vector"),
        steps=300_000,
        envs=64,
    ),
}
LARGE: dict[str, Preset] = {
    "dqn": LARGE_VALUES,
    "ddqn": LARGE_VALUES,
    "reinforce": Preset(
        REINFORCEConfig(  # with less entropy the policy is certain, and wrong, where balls seldom fall
            episodes=8,
            learning_rate=1.5e-3,
            final_learning_rate=0.0,
            gamma=0.9,
            baseline=True,
            entropy=0.1,
            max_norm=None,
        ),
        steps=3_000_000,
        envs=8,
    ),
    "a3c": Preset(
        A3CConfig(workers=1, horizon=16, learning_rate=1.5e-3, gamma=0.95, gae_lambda=0.95, entropy=0.01, max_norm=0.5),
        steps=2_000_000,
        envs=16,
    ),
    "ppo": Preset(
        PPOConfig(horizon=64, learning_rate=1e-3, gamma=0.95, entropy=0.003, threads=2),
        steps=1_500_000,
        envs=64,
    ),
}
