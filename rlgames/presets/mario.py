"""Presets for Mario, by agent: gamma 0.9, since the result of an action shows within a second, but for stages like 1-2.

There the way over the bricks leads into a dead end. With a horizon of a second an agent prefers it to the enemies
below; with gamma 0.95 and a cost of every step, standing in it is worse. "Mario:world=1,stage=2,patience=60" also
truncates such an episode early.
"""

from dataclasses import replace

from rlgames.presets.preset import Preset
from rlgames.wrappers.rewards import Rewards
from rlgames.wrappers.training_episodes import TrainingEpisodes

PROGRESS = Rewards(scale=0.02, won=1.0, lost=-1.0)  # values of about 1, so that value gradients do not dominate
RESTARTS = TrainingEpisodes(restarts=0.5)  # the end of a stage is practiced without the way to it
DQN = Preset(  # DDQN's too
    dict(
        buffer_size=100_000,
        learning_starts=5_000,
        train_freq=16,
        gradient_steps=2,
        target_update_interval=500,
        learning_rate=3e-4,
        gamma=0.9,
        n_steps=3,
        exploration_final_eps=0.02,
        exploration_fraction=0.3,
        encoder="nips",
    ),
    steps=500_000,
    envs=16,
    rewards=PROGRESS,
)
PRESETS: dict[str, Preset] = {
    "dqn": DQN,
    "ddqn": DQN,
    "reinforce": Preset(
        dict(learning_rate=3e-4, gamma=0.9, baseline=True, ent_coef=0.02, encoder="nips"),
        steps=500_000,
        envs=16,
        rewards=PROGRESS,
    ),
    "a3c": Preset(
        dict(
            n_steps=32, learning_rate=7e-4, gamma=0.9, gae_lambda=0.95, ent_coef=0.02, max_grad_norm=0.5, encoder="nips"
        ),
        steps=1_000_000,
        envs=16,
        rewards=PROGRESS,
    ),
    "ppo": Preset(
        dict(
            n_steps=128,
            n_epochs=6,
            num_minibatches=8,
            learning_rate=3e-4,
            gamma=0.9,
            ent_coef=0.02,
            final_ent_coef=0.002,  # sampled actions stay sampled to the end: mistakes that chance makes become rare
            encoder="nips",
        ),
        steps=1_000_000,
        envs=16,
        rewards=PROGRESS,
        episodes=RESTARTS,
    ),
}
DEAD_ENDS: dict[str, Preset] = {
    "ppo": replace(
        PRESETS["ppo"],
        config=PRESETS["ppo"].config | dict(gamma=0.95),
        rewards=Rewards(scale=0.01, survival=-0.02, won=1.0, lost=-0.5),
        episodes=replace(RESTARTS, moments=24),  # from before the dead end, in which an episode lasts `patience` steps
    ),
}


def for_memory(presets: dict[str, Preset]) -> dict[str, Preset]:
    """Return the presets for `obs="ram"` and "tiles", whose encoder follows from the shape; not tuned for them."""
    return {agent: replace(preset, config=preset.config | dict(encoder="auto")) for agent, preset in presets.items()}
