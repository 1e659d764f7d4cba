"""A3C against chance on CartPole: several workers, each with a pole of its own, teach one network.

    python examples/cartpole_a3c_tutorial.py            a minute on two cores
    python examples/cartpole_a3c_tutorial.py --quick    seconds, one worker: shows that everything works
    python examples/cartpole_a3c_tutorial.py --play     afterwards: the best weights play in a window (extra `play`)

Writes into --folder: scores.png (the moving average of the scores), best.ckpt (the best weights), best.gif (they play).

An agent that draws its actions blindly keeps the pole up for some 20 steps. A3C (Mnih et al. 2016) has a network that
proposes actions (the actor) and foretells what will still be earned, V (the critic). Every worker plays a few steps
with a copy of the shared weights, computes what was really earned, R, and pushes the shared weights along

    log pi(a|s) (R - V(s))  -  0.5 (R - V(s))^2  +  0.01 entropy

in which R - V is a constant in the first term. Workers wait for nobody, hence "asynchronous". CartPole counts as solved
at a mean of 195 (in its first edition, of 200 steps); here an episode may last 500.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tyro

import rlgames
from rlgames.agents.a3c import A3CConfig
from rlgames.plots import draw_curves
from rlgames.recording import record

KEEP = 0.99  # of the old moving average; the rest is the newest score


def averages(scores: list[float]) -> np.ndarray:
    """The moving average after each episode, which starts at the first score."""
    found = scores[:1]
    for score in scores[1:]:
        found.append(KEEP * found[-1] + (1 - KEEP) * score)
    return np.array(found)


def learn(agent: rlgames.A3C, steps: int, best: Path) -> list[float]:
    """Train; keep the weights in `best` whenever an episode is no worse than the best so far; return all scores."""
    scores: list[float] = []
    highest = 0.0
    for update in agent.train(steps):
        before, scores = len(scores), scores + update.scores
        for at in range(before // 100 * 100 + 99, len(scores), 100):
            if at >= before:
                print(f"  episode {at + 1:>6,}  score {scores[at]:5.0f}  moving average {averages(scores)[at]:6.1f}")
        if update.scores and max(update.scores) >= highest:
            highest = max(update.scores)
            agent.save(best)
    return scores


def show(best: Path, episodes: int) -> float:
    """The best weights at work, in a window; returns the last score."""
    agent, env, score = rlgames.load(best), rlgames.make("CartPole", render_mode="human"), 0.0
    for episode in range(episodes):
        obs, info = env.reset(seed=episode)
        done = False
        while not done:
            obs, _, terminated, truncated, info = env.step(int(agent.predict(obs)[0]))
            done = terminated or truncated
        score = float(info["score"])
        print(f"score {score:.0f}")
    env.close()
    return score


def main(
    folder: Path = Path("cartpole_a3c"),
    quick: bool = False,
    play: bool = False,
    steps: int = 250_000,
    workers: int = 2,
    seed: int = 0,
) -> float:
    """Learn CartPole with A3C, or show what was learnt.

    Args:
        folder: for picture, film and weights.
        quick: a short run with one worker.
        play: learn nothing, show the best weights of an earlier run in a window.
        steps: of the environment, all workers together.
        workers: processes; more than there are cores slows all of them down.
        seed: of everything; with several workers their order is still chance.
    """
    best = folder / "best.ckpt"
    if play:
        return show(best, 1 if quick else 5)
    folder.mkdir(parents=True, exist_ok=True)
    steps, workers, episodes = (8_000, 1, 400) if quick else (steps, workers, 4_000)

    chance = rlgames.evaluate(rlgames.Random("CartPole", seed=seed), episodes=episodes)
    print("random:", chance)

    print(f"A3C with {workers} worker{'s'[: workers > 1]}, {steps:,} steps")
    config = A3CConfig(workers=workers, learning_rate=5e-4, max_grad_norm=0.5)
    agent = rlgames.A3C("CartPole", config, seed=seed, num_envs=workers)
    scores = learn(agent, steps, best)
    episode = np.arange(1, len(scores) + 1)
    draw_curves(
        {"moving average, 0.99 old + 0.01 new": [(episode, averages(scores))]},
        folder / "scores.png",
        f"CartPole: A3C with {workers} worker{'s'[: workers > 1]}",
        "steps that the pole stayed up",
        xlabel="episode",
        levels={"solved: 195": 195.0, f"random: {chance.mean:.1f}": chance.mean},
    )
    result = rlgames.evaluate(best, episodes=100, seed=1_000)
    print("the best weights:", result)
    record(best, folder / "best.gif", seconds=10, size=200)
    print(*sorted(path.name for path in folder.iterdir()), "are in", folder)
    return result.mean


if __name__ == "__main__":
    tyro.cli(main)
