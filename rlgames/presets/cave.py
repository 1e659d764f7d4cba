"""Presets for Cave, by agent; all but those of DQN and DDQN reward every survived step."""

from rlgames.presets.preset import Preset
from rlgames.wrappers.rewards import Rewards

DQN = Preset(  # DDQN's too
    dict(
        buffer_size=200_000,
        train_freq=16,
        gradient_steps=2,
        batch_size=128,
        target_update_interval=500,
        learning_rate=5e-4,
        final_learning_rate=0.0,
        gamma=0.95,
        n_steps=5,
        exploration_fraction=0.1,
        exploration_final_eps=0.01,
    ),
    steps=300_000,
    envs=16,
)
PRESETS: dict[str, Preset] = {
    "dqn": DQN,
    "ddqn": DQN,
    "reinforce": Preset(
        dict(learning_rate=1e-3, final_learning_rate=0.0, gamma=0.95, baseline=True, ent_coef=0.003),
        steps=1_500_000,
        envs=16,
        rewards=Rewards(survival=0.01),
    ),
    "a3c": Preset(
        dict(
            workers=1,
            n_steps=16,
            learning_rate=1e-3,
            gamma=0.95,
            gae_lambda=0.95,
            ent_coef=0.003,
            max_grad_norm=0.5,
        ),
        steps=1_500_000,
        envs=16,
        rewards=Rewards(survival=0.01),
    ),
    "ppo": Preset(
        dict(
            n_steps=64,
            n_epochs=3,
            rollout_fraction=1 / 8,
            learning_rate=1.5e-3,
            gamma=0.95,
            ent_coef=0.003,
            n_threads=2,
        ),
        steps=110_000_000,
        envs=256,
        rewards=Rewards(survival=0.01),
    ),
}
