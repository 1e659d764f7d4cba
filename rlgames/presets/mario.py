"""Mario's presets, by agent: gamma 0.9, since what an action is worth shows within a second."""

from rlgames.agents.a3c import A3CConfig
from rlgames.agents.dqn import DQNConfig
from rlgames.agents.ppo import PPOConfig
from rlgames.agents.reinforce import REINFORCEConfig
from rlgames.presets.settings import Preset
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
