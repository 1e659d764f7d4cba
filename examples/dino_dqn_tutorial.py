"""DQN on the T-Rex of chrome://dino: first watch, then learn, from four frames of the page's canvas.

    python examples/dino_dqn_tutorial.py               in the simulator; stop it with Ctrl-C whenever you like
    python examples/dino_dqn_tutorial.py               and start it again: it goes on from the last save
    python examples/dino_dqn_tutorial.py --browser     the same, all the way in Chrome (extra `dino`)
    python examples/dino_dqn_tutorial.py --play        afterwards: the newest save plays (--browser: in Chrome)
    python examples/dino_dqn_tutorial.py --quick       seconds: shows that everything works

Writes into --folder: dino.ckpt (weights, replay, epsilon, step: all that is needed to go on), scores.csv, scores.png
(the score of every game and the record), dino.gif (a game).

The T-Rex does nothing, jumps or ducks. Every fourth frame is a step; the last four of those, grey and 84 x 84, go
through three convolutions and a dense layer to one value for each action. A frame survived earns 0.1, a crash costs 1.
For the first steps it only watches what random actions lead to; then each fourth step brings one gradient step on 32
remembered ones, and it acts by chance ever less often. Simulator and page play the same game from the same seed, so
that what was learnt in one can be shown in the other.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import tyro

import rlgames
from rlgames.agents.dqn import DQNConfig
from rlgames.plots import draw_curves

SAVE = 10_000  # steps between two saves
CONFIG = DQNConfig(
    buffer_size=100_000,
    learning_starts=10_000,  # steps of watching
    train_freq=4,
    batch=32,
    target_update_interval=1_000,
    learning_rate=1e-4,
    gamma=0.99,
    epsilon=0.1,  # a T-Rex that jumps at random is in the air when the cactus comes
    exploration_final_eps=1e-4,
    explore=0.5,
    loss="squared",
    encoder="nature",
)
QUICK = DQNConfig(buffer_size=500, learning_starts=100, train_freq=40, encoder="nips")


def record(games: list[tuple[int, float]]) -> float:
    return max((score for _, score in games), default=0.0)


def draw(games: list[tuple[int, float]], picture: Path, game: str) -> None:
    scores, count = np.array([score for _, score in games]), np.arange(1, len(games) + 1)
    runs = {"score": [(count, scores)], "record": [(count, np.maximum.accumulate(scores))]}
    draw_curves(runs, picture, f"DQN on {game}", "score", xlabel="game")


def watch(saved: Path, game: str, seed: int) -> float:
    """A game by what was saved, in a window; returns its score."""
    agent, env = rlgames.load(saved), rlgames.make(game, render_mode="human")
    obs, info = env.reset(seed=seed)
    done = False
    while not done:
        obs, _, terminated, truncated, info = env.step(int(agent.predict(obs)[0]))
        done = terminated or truncated
    env.close()
    print(f"score {info['score']:,.0f}")
    return float(info["score"])


def main(
    folder: Path = Path("dino_dqn"),
    quick: bool = False,
    browser: bool = False,
    play: bool = False,
    acceleration: bool = True,
    steps: int = 300_000,
    players: int = 8,
    seed: int = 0,
) -> float:
    """Learn the dinosaur's game with DQN, or show what was learnt.

    Args:
        folder: for save, table, picture and film.
        quick: a few steps with a small network.
        browser: in Chrome instead of the simulator.
        play: learn nothing, play one game with the newest save.
        acceleration: without it the speed stays as it is at first, which is easier.
        steps: of the environment, all players together, those of earlier starts counted.
        players: games at once.
        seed: of everything.
    """
    game = ("ChromeDino" if browser else "Dino") + ("" if acceleration else ":acceleration=false")
    saved, table = folder / "dino.ckpt", folder / "scores.csv"
    if play:
        return watch(saved, game, seed + 1_000)
    folder.mkdir(parents=True, exist_ok=True)
    config, players, steps, every = (QUICK, 2, 400, 200) if quick else (CONFIG, players, steps, SAVE)
    games: list[tuple[int, float]] = []  # the step at which each ended, and its score
    envs = rlgames.make_vec(game, players)
    if saved.exists():
        agent = rlgames.DQN.load(saved, envs)
        if agent.config != config:
            raise SystemExit(f"{folder} was begun with other settings: give the same, or another --folder")
        rows = csv.reader(table.read_text().splitlines())
        games = [(int(step), float(score)) for step, score in rows if int(step) <= agent.step]
        print(f"going on from step {agent.step:,}, record {record(games):,.0f}")
    else:
        agent = rlgames.DQN(envs, config, seed=seed)
    due = agent.step // every * every + every
    for update in agent.train(steps):
        games += [(update.step, score) for score in update.scores]
        if update.step < due and update.step < steps:
            continue
        due += every
        agent.renew()  # the browser cannot say its state: new games begin here
        unfinished = table.with_suffix(".new")
        with unfinished.open("w", newline="") as file:
            csv.writer(file).writerows(games)
        unfinished.replace(table)  # what it has beyond the save is left out when going on
        agent.save(saved)
        lately, epsilon = np.mean([score for _, score in games[-50:]] or [0.0]), float(update.scalars["epsilon"])
        print(
            f"step {update.step:>9,}  epsilon {epsilon:.4f}  game {len(games):>6,}"
            f"  the last 50: {lately:7.1f}  record {record(games):7,.0f}",
            flush=True,
        )
    if games:
        draw(games, folder / "scores.png", game)
    envs.close()
    scene = rlgames.make(game, render_mode="rgb_array")
    film = rlgames.record(agent, folder / "dino.gif", scene, seed=seed + 1_000)
    scene.close()
    print(f"film: score {film.scores[-1]:,.0f};", *sorted(path.name for path in folder.iterdir()), "are in", folder)
    return film.scores[-1]


if __name__ == "__main__":
    tyro.cli(main)
