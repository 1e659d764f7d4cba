"""Presets for CartPole, by agent."""

from rlgames.presets.preset import Preset

DQN = Preset(  # DDQN's too
    dict(
        train_freq=32,
        gradient_steps=8,
        batch_size=128,
        target_update_interval=32,
        learning_rate=3e-3,
        final_learning_rate=0.0,
        n_steps=5,
        exploration_fraction=0.16,
        exploration_final_eps=0.04,
        net_arch=(128, 128),
    ),
    steps=60_000,
    envs=16,
)
PRESETS: dict[str, Preset] = {
    "dqn": DQN,
    "ddqn": DQN,
    "reinforce": Preset(
        dict(n_episodes=8, learning_rate=1e-2, final_learning_rate=0.0, baseline=True),
        steps=250_000,
        envs=8,
    ),
    "a3c": Preset(
        dict(workers=1, n_steps=5, learning_rate=1.5e-3, vf_coef=0.25, max_grad_norm=0.5),
        steps=200_000,
        envs=8,
    ),
    "ppo": Preset(
        dict(
            n_steps=32,
            n_epochs=5,
            num_minibatches=8,
            learning_rate=7e-3,
            gae_lambda=0.9,
            ent_coef=0.0,
            net_arch=(32, 32),
        ),
        steps=100_000,
        envs=64,
    ),
}
