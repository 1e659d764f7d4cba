"""Cave's presets, by agent; all but DQN's and DDQN's reward every step survived."""

from rlgames.agents.a3c import A3CConfig
from rlgames.agents.dqn import DQNConfig
from rlgames.agents.ppo import PPOConfig
from rlgames.agents.reinforce import REINFORCEConfig
from rlgames.presets.preset import Preset
from rlgames.wrappers.rewards import Rewards

VALUES = Preset(  # of the agents that learn values, DQN and DDQN
    DQNConfig(
        capacity=200_000,
        update_every=16,
        updates=2,
        batch=128,
        target_every=500,
        learning_rate=5e-4,
        final_learning_rate=0.0,
        gamma=0.95,
        n_step=5,
        explore=0.1,
        final_epsilon=0.01,
    ),
    steps=300_000,
    envs=16,
)
PRESETS: dict[str, Preset] = {
    "dqn": VALUES,
    "ddqn": VALUES,
    "reinforce": Preset(
        REINFORCEConfig(learning_rate=1e-3, final_learning_rate=0.0, gamma=0.95, baseline=True, entropy=0.003),
        steps=1_500_000,
        envs=16,
        rewards=Rewards(survival=0.01),
    ),
    "a3c": Preset(
        A3CConfig(
            workers=1,
            horizon=16,
            learning_rate=1e-3,
            gamma=0.95,
            gae_lambda=0.95,
            entropy=0.003,
            max_norm=0.5,
        ),
        steps=1_500_000,
        envs=16,
        rewards=Rewards(survival=0.01),
    ),
    "ppo": Preset(
        PPOConfig(horizon=64, epochs=3, sample=1 / 8, learning_rate=1.5e-3, gamma=0.95, entropy=0.003, threads=2),
        steps=110_000_000,
        envs=256,
        rewards=Rewards(survival=0.01),
    ),
}
