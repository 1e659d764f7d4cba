"""Presets for CatchBall, by agent, on boards of 8 x 8 and of 16 x 16."""

from rlgames.presets.preset import Preset

SMALL_DQN = Preset(  # DDQN's too
    dict(
        train_freq=32,
        gradient_steps=4,
        batch_size=64,
        target_update_interval=100,
        learning_rate=1e-3,
        final_learning_rate=0.0,
        gamma=0.95,
        n_steps=5,
        exploration_fraction=0.2,
        exploration_final_eps=0.02,
        encoder="vector",
        net_arch=(256,),
    ),
    steps=40_000,
    envs=16,
)
LARGE_DQN = Preset(
    SMALL_DQN.config
    | dict(
        gradient_steps=6,
        batch_size=128,
        target_update_interval=200,
        n_steps=10,
        exploration_fraction=0.15,
        exploration_final_eps=0.005,
    ),
    steps=500_000,
    envs=16,
)
SMALL: dict[str, Preset] = {
    "dqn": SMALL_DQN,
    "ddqn": SMALL_DQN,
    "reinforce": Preset(
        dict(
            n_episodes=32,
            learning_rate=1e-2,
            final_learning_rate=0.0,
            gamma=0.85,
            baseline=True,
            ent_coef=0.01,
            encoder="vector",
            net_arch=(128,),
        ),
        steps=600_000,
        envs=32,
    ),
    "a3c": Preset(
        dict(
            workers=1,
            n_steps=16,
            learning_rate=2e-3,
            gamma=0.97,
            gae_lambda=0.95,
            ent_coef=0.005,
            max_grad_norm=0.5,
            encoder="vector",
            net_arch=(128,),
        ),
        steps=150_000,
        envs=16,
    ),
    "ppo": Preset(
        dict(n_steps=64, learning_rate=2e-3, encoder="vector"),
        steps=300_000,
        envs=64,
    ),
}
LARGE: dict[str, Preset] = {
    "dqn": LARGE_DQN,
    "ddqn": LARGE_DQN,
    "reinforce": Preset(
        dict(  # with less entropy the policy is certain, and wrong, at rare positions of the balls
            n_episodes=8,
            learning_rate=1.5e-3,
            final_learning_rate=0.0,
            gamma=0.9,
            baseline=True,
            ent_coef=0.1,
            max_grad_norm=None,
        ),
        steps=3_000_000,
        envs=8,
    ),
    "a3c": Preset(
        dict(
            workers=1, n_steps=16, learning_rate=1.5e-3, gamma=0.95, gae_lambda=0.95, ent_coef=0.01, max_grad_norm=0.5
        ),
        steps=2_000_000,
        envs=16,
    ),
    "ppo": Preset(
        dict(n_steps=64, learning_rate=1e-3, gamma=0.95, ent_coef=0.003, n_threads=2),
        steps=1_500_000,
        envs=64,
    ),
}
