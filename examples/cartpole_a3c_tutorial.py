"""A3C on CartPole, compared with random actions: several workers with environments of their own train one network.

    python examples/cartpole_a3c_tutorial.py            takes a minute on two cores
    python examples/cartpole_a3c_tutorial.py --quick    takes seconds, with one worker; shows that everything works
    python examples/cartpole_a3c_tutorial.py --watch    afterwards: watch the best weights in a window (extra `play`)

Writes into --folder: scores.png (the moving average of the scores), best.ckpt (the best weights) and best.gif (a
recording of them).

An agent with random actions keeps the pole up for some 20 steps. In A3C (Mnih et al. 2016) a network proposes actions
(the actor) and predicts the return, V(s) (the critic). Each worker copies the shared weights, takes a few steps,
computes the returns R, and updates the shared weights along the gradient of

    log pi(a|s) (R - V(s))  -  0.5 (R - V(s))^2  +  0.01 entropy

in which the advantage R - V is a constant in the first term. Workers do not wait for each other, hence "asynchronous".
CartPole counts as solved at a mean score of 195 in its first version, of 200 steps; here an episode may last 500.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tyro

import rlgames
from rlgames.agents.a3c import A3CConfig
from rlgames.plots import draw_curves

SMOOTHING = 0.99  # weight of the old moving average; the new score has the rest


def moving_average(scores: list[float]) -> np.ndarray:
    """Return the exponential moving average after each episode; it starts at the first score."""
    averages = scores[:1]
    for score in scores[1:]:
        averages.append(SMOOTHING * averages[-1] + (1 - SMOOTHING) * score)
    return np.array(averages)


def train(agent: rlgames.A3C, total_timesteps: int, checkpoint: Path) -> list[float]:
    """Train; save the agent whenever an episode is no worse than the best so far; return the scores."""
    scores: list[float] = []
    best_score = 0.0
    for update in agent.train(total_timesteps):
        for score in update.scores:
            scores.append(score)
            if len(scores) % 100 == 0:
                average = moving_average(scores)[-1]
                print(f"  episode {len(scores):>6,}  score {score:5.0f}  moving average {average:6.1f}")
        if update.scores and max(update.scores) >= best_score:
            best_score = max(update.scores)
            agent.save(checkpoint)
    return scores


def watch_agent(checkpoint: Path, episodes: int) -> float:
    """Show a saved agent in a window; return the score of the last episode."""
    agent, env, score = rlgames.load(checkpoint, weights_only=True), rlgames.make("CartPole", render_mode="human"), 0.0
    for episode in range(episodes):
        obs, info = env.reset(seed=episode)
        done = False
        while not done:
            action, _ = agent.predict(obs)
            obs, _, terminated, truncated, info = env.step(int(action))
            done = terminated or truncated
        score = float(info["score"])
        print(f"score {score:.0f}")
    env.close()
    return score


def main(
    folder: Path = Path("cartpole_a3c"),
    quick: bool = False,
    watch: bool = False,
    steps: int = 250_000,
    workers: int = 2,
    seed: int = 0,
) -> float:
    """Train A3C on CartPole, or watch a trained agent.

    Args:
        folder: for the curve, the recording and the weights.
        quick: a short training with one worker.
        watch: do not train; show the best weights of an earlier training in a window.
        steps: environment steps, summed over the workers.
        workers: processes; more than there are cores slows all of them down.
        seed: of everything; with several workers the order of their updates is still random.
    """
    best = folder / "best.ckpt"
    if watch:
        return watch_agent(best, 1 if quick else 5)
    folder.mkdir(parents=True, exist_ok=True)
    steps, workers, episodes = (3_000, 1, 400) if quick else (steps, workers, 4_000)

    random_result = rlgames.evaluate(rlgames.Random("CartPole", seed=seed), episodes=episodes)
    print("random:", random_result)

    title = f"A3C with {workers} worker{'s'[: workers > 1]}"
    print(f"{title}, {steps:,} steps")
    config = A3CConfig(workers=workers, learning_rate=5e-4, max_grad_norm=0.5)
    agent = rlgames.A3C("CartPole", config, seed=seed, num_envs=workers)
    scores = train(agent, steps, best)
    draw_curves(
        {"moving average, 0.99 old + 0.01 new": [(np.arange(1, len(scores) + 1), moving_average(scores))]},
        folder / "scores.png",
        f"CartPole: {title}",
        "score: steps with the pole up",
        xlabel="episode",
        levels={"solved: 195": 195.0, f"random: {random_result.mean:.1f}": random_result.mean},
    )
    result = rlgames.evaluate(best, episodes=100, seed=1_000)
    print("best weights:", result)
    rlgames.record(best, folder / "best.gif", seconds=10, size=200)
    print("written:", *sorted(map(str, folder.iterdir())))
    return result.mean


if __name__ == "__main__":
    tyro.cli(main)
