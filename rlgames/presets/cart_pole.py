"""CartPole's presets, by agent."""

from rlgames.agents.a3c import A3CConfig
from rlgames.agents.dqn import DQNConfig
from rlgames.agents.ppo import PPOConfig
from rlgames.agents.reinforce import REINFORCEConfig
from rlgames.presets.preset import Preset

VALUES = Preset(  # of the agents that learn values, DQN and DDQN
    DQNConfig(
        update_every=32,
        updates=8,
        batch=128,
        target_every=32,
        learning_rate=3e-3,
        final_learning_rate=0.0,
        n_step=5,
        explore=0.16,
        final_epsilon=0.04,
        hidden=(128, 128),
    ),
    steps=60_000,
    envs=16,
)
PRESETS: dict[str, Preset] = {
    "dqn": VALUES,
    "ddqn": VALUES,
    "reinforce": Preset(
        REINFORCEConfig(episodes=8, learning_rate=1e-2, final_learning_rate=0.0, baseline=True),
        steps=250_000,
        envs=8,
    ),
    "a3c": Preset(
        A3CConfig(workers=1, horizon=5, learning_rate=1.5e-3, value=0.25, max_norm=0.5),
        steps=200_000,
        envs=8,
    ),
    "ppo": Preset(
        PPOConfig(horizon=32, epochs=10, minibatches=2, learning_rate=3e-3, gae_lambda=0.9, entropy=0.0),
        steps=100_000,
    ),
}
