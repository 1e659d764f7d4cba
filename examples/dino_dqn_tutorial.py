"""DQN on the T-Rex of chrome://dino, from four frames of the page's canvas.

    python examples/dino_dqn_tutorial.py               trains in the simulator; stop it with Ctrl-C at any time
    python examples/dino_dqn_tutorial.py               start it again: it resumes from the last checkpoint
    python examples/dino_dqn_tutorial.py --browser     the same in Chrome or Chromium
    python examples/dino_dqn_tutorial.py --watch       afterwards: watch the agent in a window (--browser: in Chrome)
    python examples/dino_dqn_tutorial.py --quick       takes seconds; shows that everything works

Writes into --folder: dino.ckpt (weights, replay buffer, RNGs: all that resuming needs), scores.csv and scores.png (the
score of each episode, and the best so far), and dino.gif (a recording).

Actions: do nothing, jump, duck; each is held for four frames. Observation: the last four of those steps' pictures, grey
and 84 x 84; three convolutions and a dense layer turn them into one Q-value for each action. Reward: 0.1 for a frame
survived, -1 for a crash. The first `learning_starts` steps only fill the replay buffer with random actions; then every
fourth step is followed by one gradient step on 32 sampled transitions, while epsilon falls. Simulator and page run the
same game from the same seed, so an agent trained in one can be watched in the other.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import tyro

import rlgames
from rlgames.agents.dqn import DQNConfig
from rlgames.plots import draw_curves

CONFIG = DQNConfig(
    buffer_size=100_000,
    learning_starts=10_000,
    train_freq=4,
    batch_size=32,
    target_update_interval=1_000,
    learning_rate=1e-4,
    gamma=0.99,
    exploration_initial_eps=0.1,  # a T-Rex that jumps at random is in the air when the cactus comes
    exploration_final_eps=1e-4,
    exploration_fraction=0.5,
    loss="squared",
    encoder="nature",
)
QUICK = DQNConfig(buffer_size=500, learning_starts=50, train_freq=20, encoder="nips")
SAVE_FREQ = 10_000  # environment steps between two checkpoints

Scores = list[tuple[int, float]]  # of each episode: the step at which it ended, and its score


def best_score(scores: Scores) -> float:
    return max((score for _, score in scores), default=0.0)


def read_scores(table: Path, step: int) -> Scores:
    """Return the scores in `table` up to `step`: an interrupted run may have written more than it saved."""
    rows = csv.reader(table.read_text().splitlines())
    return [(int(ended), float(score)) for ended, score in rows if int(ended) <= step]


def write_scores(scores: Scores, table: Path) -> None:
    """Write all scores, so that an interruption leaves the old table or the new one."""
    unfinished = table.with_suffix(".new")
    with unfinished.open("w", newline="") as file:
        csv.writer(file).writerows(scores)
    unfinished.replace(table)


def draw_scores(scores: Scores, picture: Path, title: str) -> None:
    x, y = np.arange(1, len(scores) + 1), np.array([score for _, score in scores])
    curves = {"score": [(x, y)], "best so far": [(x, np.maximum.accumulate(y))]}
    draw_curves(curves, picture, title, "score", xlabel="episode")


def watch_agent(checkpoint: Path, game: str, seed: int) -> float:
    """Show a saved agent in a window for one episode; return its score."""
    agent, env = rlgames.load(checkpoint, weights_only=True), rlgames.make(game, render_mode="human")
    obs, info = env.reset(seed=seed)
    done = False
    while not done:
        action, _ = agent.predict(obs)
        obs, _, terminated, truncated, info = env.step(int(action))
        done = terminated or truncated
    env.close()
    print(f"score {info['score']:,.0f}")
    return float(info["score"])


def main(
    folder: Path = Path("dino_dqn"),
    quick: bool = False,
    browser: bool = False,
    watch: bool = False,
    acceleration: bool = True,
    steps: int = 300_000,
    num_envs: int = 8,
    seed: int = 0,
) -> float:
    """Train DQN on the T-Rex game, or watch a trained agent.

    Args:
        folder: for the checkpoint, the table, the curve and the recording.
        quick: a few steps with a small network.
        browser: in Chrome instead of the simulator.
        watch: do not train; show the last checkpoint in a window for one episode.
        acceleration: without it the speed stays at its initial value, which is easier.
        steps: environment steps, summed over the environments, those of earlier starts included.
        num_envs: environments stepped at once.
        seed: of everything.
    """
    game = ("ChromeDino" if browser else "Dino") + ("" if acceleration else ":acceleration=false")
    checkpoint, table = folder / "dino.ckpt", folder / "scores.csv"
    if watch:
        return watch_agent(checkpoint, game, seed + 1_000)
    folder.mkdir(parents=True, exist_ok=True)
    config, num_envs, steps, save_freq = (QUICK, 2, 200, 100) if quick else (CONFIG, num_envs, steps, SAVE_FREQ)

    scores: Scores = []
    envs = rlgames.make_vec(game, num_envs)
    if checkpoint.exists():
        agent = rlgames.DQN.load(checkpoint, envs)
        if agent.config != config:
            raise SystemExit(f"{folder} was started with other settings: use the same, or another --folder")
        scores = read_scores(table, agent.step)
        print(f"resuming at step {agent.step:,}, best score {best_score(scores):,.0f}")
    else:
        agent = rlgames.DQN(envs, config, seed=seed)

    next_save = agent.step // save_freq * save_freq + save_freq
    for update in agent.train(steps):
        scores += [(update.step, score) for score in update.scores]
        if update.step < next_save and update.step < steps:
            continue
        next_save += save_freq
        agent.restart_episodes()  # the browser has no snapshots: a resumed run starts new episodes here too
        write_scores(scores, table)
        agent.save(checkpoint)
        recent, epsilon = (
            np.mean([score for _, score in scores[-50:]] or [0.0]),
            update.scalars["rollout/exploration_rate"],
        )
        print(
            f"step {update.step:>9,}  epsilon {epsilon:.4f}  episode {len(scores):>6,}"
            f"  mean of the last 50 {recent:7.1f}  best {best_score(scores):7,.0f}",
            flush=True,
        )
    if scores:
        draw_scores(scores, folder / "scores.png", f"DQN on {game}")
    envs.close()

    env = rlgames.make(game, render_mode="rgb_array")
    seconds = 1.0 if quick else 30.0
    recording = rlgames.record(agent, folder / "dino.gif", env, seed=seed + 1_000, seconds=seconds)
    env.close()
    print(f"score of the recording: {recording.scores[-1]:,.0f}")
    print("written:", *sorted(map(str, folder.iterdir())))
    return recording.scores[-1]


if __name__ == "__main__":
    tyro.cli(main)
