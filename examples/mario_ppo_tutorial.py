"""PPO on Super Mario Bros.: eight Marios run through 1-2 at once, 512 steps a round (extra `mario`, window: `play`).

    python examples/mario_ppo_tutorial.py                    500 rounds, hours; stop it with Ctrl-C whenever you like
    python examples/mario_ppo_tutorial.py                    and start it again: it goes on from the last save
    python examples/mario_ppo_tutorial.py --gamma 0.9        what an action is worth within a second: learns sooner
    python examples/mario_ppo_tutorial.py --show             the first Mario in a window while he learns
    python examples/mario_ppo_tutorial.py --play             afterwards: the newest save plays in a window
    python examples/mario_ppo_tutorial.py --quick            seconds: shows that everything works

Writes into --folder: round-*.ckpt (every tenth round, the last three are kept), rounds.csv and rounds.png (furthest x
and nearest death of each round), mario.gif (the newest save plays).

An agent step is four frames with the same buttons, and those four, grey and 84 x 84, are what the network sees: what
moves shows between them. The reward is the game's (pixels to the right, less the time, less a death), 50 more for the
flag, 50 less for any other end, all of it divided by 10. PPO (Schulman et al. 2017) plays a round, and goes over it ten
times in minibatches of 256, each a step along

    min(r A, clip(r, 0.8, 1.2) A)  -  0.5 (R - V)^2  +  0.05 entropy,     r = pi(a|s) / pi_old(a|s)

where A is the generalised advantage (lambda 0.97), whose sums stop where an episode ends.
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

SEEN = rlgames.Pixels(grey=True, size=(84, 84), skip=4, stack_skipped=True)  # the network divides by 255
REWARDS = rlgames.Rewards(scale=0.1, won=5.0, lost=-5.0)
SAVE, KEEP = 10, 3  # rounds between two saves, and how many of those are kept


class Shown(VectorWrapper):
    """The first of `envs` in a window."""

    def __init__(self, envs: VectorEnv):
        super().__init__(envs)
        self.window = Window("the first Mario", 60)

    def step(self, actions: np.ndarray):
        outcome = self.env.step(actions)
        if pictures := self.env.render():
            self.window.show(np.asarray(pictures[0]))
        return outcome

    def close(self, **kwargs) -> None:
        self.window.close()
        super().close(**kwargs)


def saves(folder: Path) -> list[Path]:
    """The oldest first."""
    return sorted(folder.glob("round-*.ckpt"))


def save(agent: rlgames.PPO, folder: Path, number: int) -> None:
    """An emulator cannot say its state: new episodes begin here, in this run as in one that goes on from this file."""
    agent.renew()
    agent.save(folder / f"round-{number:05d}.ckpt")
    for old in saves(folder)[:-KEEP]:
        old.unlink()


def watch(folder: Path, game: str, episodes: int) -> float:
    """The newest save at work, in a window; returns how far it came at last."""
    if not saves(folder):
        raise SystemExit(f"{folder} holds no save: learn first, or give another --folder")
    agent, x = rlgames.load(saves(folder)[-1]), 0
    env = rlgames.make(game, pixels=SEEN, render_mode="human")
    for episode in range(episodes):
        obs, info = env.reset(seed=episode)
        done = False
        while not done:
            obs, _, terminated, truncated, info = env.step(int(agent.predict(obs, deterministic=False)[0]))
            done = terminated or truncated
        x = info["x_pos"]
        print(f"came to {x}{', the flag' * info['flag_get']}")
    env.close()
    return float(x)


def draw(folder: Path, rounds: list[list[int]], game: str) -> None:
    ended = np.array([row for row in rounds if row[2]])  # some rounds are over before anybody is
    if len(ended):
        curves = {"furthest x": ended[:, 2], "nearest death": ended[:, 3]}
        runs = {name: [(ended[:, 0], y)] for name, y in curves.items()}
        draw_curves(runs, folder / "rounds.png", f"PPO on {game}", "x of the end", xlabel="round")


def main(
    folder: Path = Path("mario_ppo"),
    quick: bool = False,
    play: bool = False,
    show: bool = False,
    world: int = 1,
    stage: int = 2,
    rounds: int = 500,
    players: int = 8,
    gamma: float = 0.99,
    seed: int = 0,
) -> float:
    """Learn a stage of Super Mario Bros. with PPO, or show what was learnt.

    Args:
        folder: for saves, table, picture and film; one for each stage.
        quick: three rounds of a few steps.
        play: learn nothing, show the newest save in a window.
        show: the first player in a window while it learns.
        world: 1 to 8.
        stage: 1 to 4.
        rounds: of 512 steps by each player, those of earlier starts counted.
        players: emulators at once.
        gamma: discount; 0.99 is the tutorials', 0.9 learns sooner.
        seed: of everything.
    """
    game = f"Mario:world={world},stage={stage}"
    if quick:
        game += ",max_episode_steps=20"
    if play:
        return watch(folder, game, 1 if quick else 3)
    folder.mkdir(parents=True, exist_ok=True)
    horizon, players, rounds, every = (24, 2, 3, 1) if quick else (512, players, rounds, SAVE)
    envs = rlgames.make_vec(game, players, pixels=SEEN, rewards=REWARDS, render_mode="rgb_array" if show else None)
    envs = Shown(envs) if show else envs
    config = PPOConfig(
        n_steps=horizon,
        n_epochs=10,
        num_minibatches=max(1, horizon * players // 256),
        learning_rate=1e-4,
        final_learning_rate=1e-4,
        gamma=gamma,
        gae_lambda=0.97,
        entropy=0.05,
        encoder="mario",
    )
    table = folder / "rounds.csv"
    if found := saves(folder):
        agent = rlgames.PPO.load(found[-1], envs)
        if agent.config != config:
            raise SystemExit(f"{folder} was begun with other settings: give the same, or another --folder")
        done = agent.step // (horizon * players)
        print(f"going on after round {done}")
        told = [[int(cell) for cell in row] for row in csv.reader(table.read_text().splitlines())][:done]
    else:
        agent, told = rlgames.PPO(envs, config, seed=seed), []
    for update in agent.train(rounds * horizon * players):
        row = [len(told) + 1, update.step, int(max(update.scores, default=0)), int(min(update.scores, default=0))]
        told.append(row)
        print("round {:>4}  steps {:>9,}  furthest x {:>5}  nearest death {:>5}".format(*row), flush=True)
        if row[0] % every == 0 or row[0] == rounds:
            with table.open("w", newline="") as file:
                csv.writer(file).writerows(told)
            save(agent, folder, row[0])
            draw(folder, told, game)
    envs.close()
    scene = rlgames.make(game, pixels=SEEN, render_mode="rgb_array")
    film = rlgames.record(agent, folder / "mario.gif", scene, deterministic=False)
    scene.close()
    print(f"the film ends at x {film.scores[-1]:,.0f};", *sorted(p.name for p in folder.iterdir()), "are in", folder)
    return film.scores[-1]


if __name__ == "__main__":
    tyro.cli(main)
