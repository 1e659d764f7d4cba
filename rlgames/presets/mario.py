"""Mario's presets, by agent: gamma 0.9, since what an action is worth shows within a second."""

from rlgames.agents.ppo import PPOConfig
from rlgames.presets.settings import Preset
from rlgames.wrappers.rewards import Rewards

PROGRESS = Rewards(scale=0.02, won=1.0, lost=-1.0)  # a fifth of the tutorials': values of about 1 starve no policy
PRESETS: dict[str, Preset] = {
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
