"""Mario's presets, by agent: gamma 0.9, since what an action is worth shows within a second, but for stages like 1-2.

There the way over the bricks leads into a pocket without a way out. Who looks a second ahead prefers it to the enemies
below; with gamma 0.97 and a cost of every step, standing in it is worse. "Mario:world=1,stage=2,patience=40" moreover
ends such an episode soon.
"""

from dataclasses import replace

from rlgames.agents.a3c import A3CConfig
from rlgames.agents.dqn import DQNConfig
from rlgames.agents.ppo import PPOConfig
from rlgames.agents.reinforce import REINFORCEConfig
from rlgames.presets.preset import Preset
from rlgames.wrappers.rewards import Rewards

PROGRESS = Rewards(scale=0.02, won=1.0, lost=-1.0)  # a fifth of the tutorials': values of about 1 starve no policy
VALUES = Preset(  # of the agents that learn values, DQN and DDQN
    DQNConfig(
        capacity=100_000,
        warmup=5_000,
        update_every=16,
        updates=2,
        target_every=500,
        learning_rate=3e-4,
        gamma=0.9,
        n_step=3,
        final_epsilon=0.02,
        explore=0.3,
        encoder="nips",
    ),
    steps=500_000,
    envs=16,
    rewards=PROGRESS,
)
PRESETS: dict[str, Preset] = {
    "dqn": VALUES,
    "ddqn": VALUES,
    "reinforce": Preset(
        REINFORCEConfig(learning_rate=3e-4, gamma=0.9, baseline=True, entropy=0.02, encoder="nips"),
        steps=500_000,
        envs=16,
        rewards=PROGRESS,
    ),
    "a3c": Preset(
        A3CConfig(
            horizon=32, learning_rate=7e-4, gamma=0.9, gae_lambda=0.95, entropy=0.02, max_norm=0.5, encoder="nips"
        ),
        steps=1_000_000,
        envs=16,
        rewards=PROGRESS,
    ),
    "ppo": Preset(
        PPOConfig(
            horizon=128,
            epochs=6,
            minibatches=8,
            learning_rate=3e-4,
            gamma=0.9,
            entropy=0.02,
            encoder="nips",
        ),
        steps=1_000_000,
        envs=16,
        rewards=PROGRESS,
    ),
}
DEAD_ENDS: dict[str, Preset] = {
    "ppo": replace(
        PRESETS["ppo"],
        config=replace(PRESETS["ppo"].config, gamma=0.97, entropy=0.03),
        rewards=Rewards(scale=0.01, survival=-0.03, won=1.0, lost=-0.5),
    ),
}
