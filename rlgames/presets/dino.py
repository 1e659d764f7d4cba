"""Presets for Dino, by agent, from state and from pictures: reward 0.01 for every survived step, -1 for the crash.

With larger rewards the value errors are larger, and their gradients would dominate those of the policy.
"""

from rlgames.presets.preset import Preset
from rlgames.wrappers.pixels import Pixels
from rlgames.wrappers.rewards import Rewards
from rlgames.wrappers.training_episodes import TrainingEpisodes

SURVIVE = Rewards(scale=0.0, survival=0.01, lost=-1.0)
# Steps of 4 frames. The speed grows for 1,750 of them; an agent that survives these hardly ever crashes later, and with
# longer episodes it would see them seldom.
FIRST_MINUTES = TrainingEpisodes(max_episode_steps=2_000)
OUTLINES = Pixels(  # without the scores; the background, clouds, moon and stars are erased, by day and by night
    crop=(13, 84, 0, 84), erase=(*range(56), *range(200, 256)), skip=4, stack=2
)
DQN = Preset(  # DDQN's too; random jumps are dangerous, so exploration starts low
    dict(
        buffer_size=300_000,
        learning_starts=10_000,
        train_freq=32,
        gradient_steps=4,
        batch_size=256,
        target_update_interval=1_000,
        learning_rate=1e-3,
        final_learning_rate=0.0,
        n_steps=3,
        exploration_initial_eps=0.1,
        exploration_final_eps=0.001,
        net_arch=(128, 128),
    ),
    steps=2_000_000,
    envs=32,
    rewards=SURVIVE,
    episodes=FIRST_MINUTES,
)
STATE: dict[str, Preset] = {
    "dqn": DQN,
    "ddqn": DQN,
    "ppo": Preset(
        dict(n_steps=256, n_epochs=6, num_minibatches=8, learning_rate=1e-3, ent_coef=0.003, net_arch=(128, 128)),
        steps=4_000_000,
        envs=32,
        rewards=SURVIVE,
        episodes=FIRST_MINUTES,
    ),
}
PICTURE_DQN = Preset(  # with learning rate and batch size of Pong
    DQN.config
    | dict(
        buffer_size=100_000,
        learning_starts=5_000,
        batch_size=64,
        target_update_interval=500,
        learning_rate=3e-4,
        encoder="nips",
        net_arch=None,
    ),
    steps=1_000_000,
    envs=32,
    rewards=SURVIVE,
    episodes=FIRST_MINUTES,
    pixels=OUTLINES,
)
PICTURES: dict[str, Preset] = {
    "dqn": PICTURE_DQN,
    "ddqn": PICTURE_DQN,
    "ppo": Preset(
        dict(n_steps=128, rollout_fraction=0.5, learning_rate=1e-3, ent_coef=0.01, encoder="nips"),
        steps=2_000_000,
        envs=32,
        rewards=SURVIVE,
        episodes=FIRST_MINUTES,
        pixels=OUTLINES,
    ),
}
