"""PPO on Super Mario Bros., stage 1-2: eight environments, rollouts of 512 steps (needs its ROM; windows: `play`).

    python examples/mario_ppo_tutorial.py                    500 rollouts, hours; stop it with Ctrl-C at any time
    python examples/mario_ppo_tutorial.py                    start it again: it resumes from the last checkpoint
    python examples/mario_ppo_tutorial.py --gamma 0.9        rewards count for about a second only: learns sooner
    python examples/mario_ppo_tutorial.py --show-training    show the first environment in a window during training
    python examples/mario_ppo_tutorial.py --watch            afterwards: watch the agent in a window
    python examples/mario_ppo_tutorial.py --quick            takes seconds; shows that everything works

Writes into --folder: rollout-*.ckpt (every tenth rollout; the last three are kept), rollouts.csv and rollouts.png
(furthest and nearest end of an episode in each rollout), and mario.gif (a recording).

Each action is held for four frames; the observation is those four frames, grey and 84 x 84, so that movement shows.
Reward: the game's (pixels to the right, minus time, minus a death), +50 for the flag, -50 for any other end, all
divided by 10. PPO (Schulman et al. 2017) collects a rollout, then runs ten epochs over it in minibatches of 256, each a
gradient step along

    min(r A, clip(r, 0.8, 1.2) A)  -  0.5 (R - V)^2  +  0.05 entropy,     r = pi(a|s) / pi_old(a|s)

where A is the generalized advantage (lambda 0.97), whose sums stop where an episode ends.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import tyro
from gymnasium.vector import VectorEnv, VectorWrapper

import rlgames
from rlgames.agents.ppo import PPOConfig
from rlgames.engine.rendering import Window
from rlgames.plots import draw_curves

PIXELS = rlgames.Pixels(grey=True, size=(84, 84), skip=4, stack_skipped=True)  # the network divides by 255
REWARDS = rlgames.Rewards(scale=0.1, won=5.0, lost=-5.0)
SAVE_FREQ = 10  # rollouts between two checkpoints
KEEP = 3  # checkpoints


class ShowFirst(VectorWrapper):
    """Show the first environment in a window."""

    def __init__(self, envs: VectorEnv):
        super().__init__(envs)
        self.window = Window("Mario, first environment", 60)

    def step(self, actions: np.ndarray):
        result = self.env.step(actions)
        if pictures := self.env.render():
            self.window.show(np.asarray(pictures[0]))
        return result

    def close(self, **kwargs) -> None:
        self.window.close()
        super().close(**kwargs)


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in `folder`, oldest first."""
    return sorted(folder.glob("rollout-*.ckpt"))


def save(agent: rlgames.PPO, folder: Path, rollout: int) -> None:
    """Save the agent after a rollout, and delete all but the newest checkpoints.

    The emulator's state is not saved. So that a resumed run continues exactly as this one does, both start new episodes
    here.
    """
    agent.restart_episodes()
    agent.save(folder / f"rollout-{rollout:05d}.ckpt")
    for old in checkpoints(folder)[:-KEEP]:
        old.unlink()


def watch_agent(folder: Path, game: str, episodes: int) -> float:
    """Show the newest checkpoint in a window; return the x of Mario at the end of the last episode."""
    if not checkpoints(folder):
        raise SystemExit(f"{folder} has no checkpoint: train first, or use another --folder")
    agent, x = rlgames.load(checkpoints(folder)[-1], weights_only=True), 0
    env = rlgames.make(game, pixels=PIXELS, render_mode="human")
    for episode in range(episodes):
        obs, info = env.reset(seed=episode)
        done = False
        while not done:
            action, _ = agent.predict(obs, deterministic=False)
            obs, _, terminated, truncated, info = env.step(int(action))
            done = terminated or truncated
        x = info["x_pos"]
        print(f"ended at x {x}{', the flag' * info['flag_get']}")
    env.close()
    return float(x)


def draw_rollouts(rows: list[list[int]], picture: Path, title: str) -> None:
    ended = np.array([row for row in rows if row[2]])  # in some rollouts no episode ends
    if len(ended):
        curves = {"furthest": ended[:, 2], "nearest": ended[:, 3]}
        runs = {name: [(ended[:, 0], x)] for name, x in curves.items()}
        draw_curves(runs, picture, title, "x at the end of an episode", xlabel="rollout")


def main(
    folder: Path = Path("mario_ppo"),
    quick: bool = False,
    watch: bool = False,
    show_training: bool = False,
    world: int = 1,
    stage: int = 2,
    rollouts: int = 500,
    num_envs: int = 8,
    gamma: float = 0.99,
    seed: int = 0,
) -> float:
    """Train PPO on a stage of Super Mario Bros., or watch a trained agent.

    Args:
        folder: for checkpoints, table, curve and recording; one for each stage.
        quick: two short rollouts.
        watch: do not train; show the newest checkpoint in a window.
        show_training: show the first environment in a window during training.
        world: 1 to 8.
        stage: 1 to 4.
        rollouts: of 512 steps of each environment, those of earlier starts included.
        num_envs: emulators stepped at once.
        gamma: discount; 0.99 is the tutorials', 0.9 learns sooner.
        seed: of everything.
    """
    game = f"Mario:world={world},stage={stage}"
    if quick:
        game += ",max_episode_steps=5"
    if watch:
        return watch_agent(folder, game, 1 if quick else 3)
    folder.mkdir(parents=True, exist_ok=True)
    n_steps, num_envs, rollouts, save_freq = (12, 2, 2, 1) if quick else (512, num_envs, rollouts, SAVE_FREQ)

    render_mode = "rgb_array" if show_training else None
    envs = rlgames.make_vec(game, num_envs, pixels=PIXELS, rewards=REWARDS, render_mode=render_mode)
    envs = ShowFirst(envs) if show_training else envs
    config = PPOConfig(
        n_steps=n_steps,
        n_epochs=10,
        num_minibatches=max(1, n_steps * num_envs // 256),
        learning_rate=1e-4,
        final_learning_rate=1e-4,
        gamma=gamma,
        gae_lambda=0.97,
        ent_coef=0.05,
        encoder="mario",
    )
    table = folder / "rollouts.csv"
    rows: list[list[int]] = []  # rollout, environment steps, furthest and nearest x at the end of an episode
    if saved := checkpoints(folder):
        agent = rlgames.PPO.load(saved[-1], envs)
        if agent.config != config:
            raise SystemExit(f"{folder} was started with other settings: use the same, or another --folder")
        done = agent.step // (n_steps * num_envs)
        rows = [[int(cell) for cell in row] for row in csv.reader(table.read_text().splitlines())][:done]
        print(f"resuming after rollout {done}")
    else:
        agent = rlgames.PPO(envs, config, seed=seed)

    for update in agent.train(rollouts * n_steps * num_envs):
        rollout = len(rows) + 1
        rows.append([rollout, update.step, int(max(update.scores, default=0)), int(min(update.scores, default=0))])
        print("rollout {:>4}  step {:>9,}  furthest x {:>5}  nearest x {:>5}".format(*rows[-1]), flush=True)
        if rollout % save_freq == 0 or rollout == rollouts:
            with table.open("w", newline="") as file:
                csv.writer(file).writerows(rows)
            save(agent, folder, rollout)
            draw_rollouts(rows, folder / "rollouts.png", f"PPO on {game}")
    envs.close()

    env = rlgames.make(game, pixels=PIXELS, render_mode="rgb_array")
    recording = rlgames.record(agent, folder / "mario.gif", env, deterministic=False)
    env.close()
    print(f"the recording ends at x {recording.scores[-1]:,.0f}")
    print("written:", *sorted(map(str, folder.iterdir())))
    return recording.scores[-1]


if __name__ == "__main__":
    tyro.cli(main)
