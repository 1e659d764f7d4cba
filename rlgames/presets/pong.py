"""Presets for Pong, by agent, and the two kinds of preprocessing that they learn from."""

from dataclasses import replace

from rlgames.presets.preset import Preset
from rlgames.wrappers.pixels import Pixels

BALL_AND_BATS = Pixels(  # 80 x 80: the field, its background erased, minus the previous frame
    crop=(35, 195, 0, 160), every=2, channel=0, erase=(144, 109), skip=4, difference=True, scale=True
)
FIELD = Pixels(  # the same field in two frames: with a grey background, learning is far slower
    crop=(35, 195, 0, 160), every=2, grey=True, erase=(87,), skip=4, max_pool=True, stack=2
)
DQN = Preset(  # DDQN's too
    dict(
        buffer_size=100_000,
        learning_starts=5_000,
        train_freq=32,
        gradient_steps=4,
        batch_size=128,  # twice the samples of 8 batches of 32 in the same time, and half the steps to learn
        target_update_interval=250,
        learning_rate=5e-4,
        n_steps=5,
        exploration_final_eps=0.01,
        exploration_fraction=1 / 12,
        encoder="nips",
    ),
    steps=300_000,
    envs=32,
    pixels=FIELD,
)
PRESETS: dict[str, Preset] = {
    "dqn": DQN,
    "ddqn": replace(DQN, config=DQN.config | dict(final_learning_rate=5e-5)),  # else scores drop again late in training
    "reinforce": Preset(  # network, preprocessing and returns of Karpathy 2016, "Pong from Pixels"
        dict(
            n_episodes=8,
            optimizer="rmsprop",
            learning_rate=1e-3,
            reset_on_reward=True,
            normalize_returns="episode",
            max_grad_norm=None,
            encoder="vector",
            net_arch=(200,),
            activation="relu",
        ),
        steps=20_000_000,
        envs=8,
        pixels=BALL_AND_BATS,
    ),
    "a3c": Preset(
        dict(n_steps=16, learning_rate=7e-4, gae_lambda=0.95, ent_coef=0.03, max_grad_norm=0.5, encoder="nips"),
        steps=3_000_000,
        envs=16,
        pixels=FIELD,
    ),
    "ppo": Preset(
        dict(  # with less entropy it stays at -21
            n_steps=64, rollout_fraction=0.5, learning_rate=1e-3, ent_coef=0.03, encoder="nips"
        ),
        steps=1_500_000,
        envs=32,
        pixels=FIELD,
    ),
}
