"""Pong from pixels with nothing but NumPy: a policy gradient whose every derivative is written out.

    python examples/pong_reinforce_numpy.py            days, as in the tutorials: Ctrl-C when you have seen enough
    python examples/pong_reinforce_numpy.py --quick    half a minute: shows that everything works

Writes into --folder: weights.npz after each update (a later call goes on from there), and scores.png.

What the network sees is what has moved: the field, 80 x 80, with its background erased, minus the frame before. One
hidden layer h and one number z say how likely the bat goes up,

    h = relu(W x),    z = v h,    p = 1 / (1 + exp(-z)).

The derivative of log p(action) is (1 - p) for "up" and (-p) for "down" with respect to z; the chain rule does the rest.
Each is weighed by the return R: what was won or lost later, discounted, from the next point alone, because what comes
after a point has nothing to do with what was done before it. (Williams 1992; the network and its settings are those of
Karpathy 2016, "Deep Reinforcement Learning: Pong from Pixels".) `rlgames train reinforce Pong` is the same with eight
games at once.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tyro

import rlgames
from rlgames.plots import draw_curves
from rlgames.presets.lookup import BALL_AND_BATS

HIDDEN, INPUTS = 200, 80 * 80
GAMMA, DECAY = 0.99, 0.99  # of the returns; of RMSProp's mean square
UP, DOWN = 0, 1  # of actions="minimal"


def policy(w: np.ndarray, v: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probability of "up" for pictures x (n, inputs), and the hidden layer (n, hidden) behind it."""
    h = np.maximum(x @ w.T, 0)
    return 1 / (1 + np.exp(-(h @ v))), h


def gradients(
    w: np.ndarray, v: np.ndarray, x: np.ndarray, action: np.ndarray, advantage: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of sum_t log p(a_t | x_t) A_t, with respect to w (hidden, inputs) and v (hidden,)."""
    p, h = policy(w, v, x)
    dz = ((action == UP) - p) * advantage
    dh = np.outer(dz, v) * (h > 0)
    return dh.T @ x, h.T @ dz


def returns(rewards: np.ndarray) -> np.ndarray:
    """R_t = r_t + gamma R_{t+1}, anew at each point, then to mean 0 and deviation 1."""
    found, running = np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        running = rewards[t] + GAMMA * (0.0 if rewards[t] else running)
        found[t] = running
    return (found - found.mean()) / (found.std() + 1e-8)


def episode(env, w: np.ndarray, v: np.ndarray, rng: np.random.Generator, seed: int | None, most: int | None):
    """Pictures (n, inputs), actions (n,) and rewards (n,) of one game, or of its first `most` steps."""
    pictures, actions, rewards = [], [], []
    obs, done = env.reset(seed=seed)[0], False
    while not done and (most is None or len(rewards) < most):
        x = obs.reshape(1, -1)
        up = rng.random() < policy(w, v, x)[0][0]
        obs, reward, terminated, truncated, _ = env.step(UP if up else DOWN)
        pictures.append(x[0])
        actions.append(UP if up else DOWN)
        rewards.append(float(reward))
        done = terminated or truncated
    return np.array(pictures), np.array(actions), np.array(rewards)


def main(
    folder: Path = Path("pong_numpy"),
    quick: bool = False,
    episodes: int = 8_000,
    batch: int = 10,
    learning_rate: float = 1e-4,
    seed: int = 0,
) -> float:
    """Learn Pong with REINFORCE in NumPy; returns the running mean of the scores.

    Args:
        folder: for weights and picture.
        quick: two short games and one update.
        episodes: games in all.
        batch: games an update.
        learning_rate: of RMSProp.
        seed: of the first weights, the actions and the games.
    """
    episodes, batch, most = (2, 2, 150) if quick else (episodes, batch, None)
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "weights.npz"
    rng = np.random.default_rng(seed)
    names = ("w", "v", "w_square", "v_square", "scores")
    if kept.exists():
        with np.load(kept) as saved:
            w, v, w_square, v_square, past = (saved[name] for name in names)
        scores = past.tolist()
        print(f"going on after {len(scores)} games")
    else:
        w, v = rng.normal(size=(HIDDEN, INPUTS)) / np.sqrt(INPUTS), rng.normal(size=HIDDEN) / np.sqrt(HIDDEN)
        w_square, v_square, scores = np.zeros_like(w), np.zeros_like(v), []
    env = rlgames.make("Pong", actions="minimal", pixels=BALL_AND_BATS)
    mean = scores[0] if scores else 0.0
    for score in scores:
        mean = 0.99 * mean + 0.01 * score
    while len(scores) < episodes:
        dw, dv = np.zeros_like(w), np.zeros_like(v)
        for _ in range(batch):
            x, action, reward = episode(env, w, v, rng, None if scores else seed, most)
            game_w, game_v = gradients(w, v, x, action, returns(reward))
            dw, dv = dw + game_w, dv + game_v
            scores.append(reward.sum())
            mean = 0.99 * mean + 0.01 * scores[-1] if len(scores) > 1 else scores[0]
        for weights, gradient, square in ((w, dw, w_square), (v, dv, v_square)):
            square *= DECAY
            square += (1 - DECAY) * gradient**2
            weights += learning_rate * gradient / (np.sqrt(square) + 1e-5)
        np.savez(kept, **dict(zip(names, (w, v, w_square, v_square, np.array(scores)), strict=True)))
        print(f"game {len(scores):>6,}  score {scores[-1]:+5.0f}  running mean {mean:+6.2f}", flush=True)
    env.close()
    games = np.arange(1, len(scores) + 1)
    draw_curves({"games": [(games, np.array(scores))]}, folder / "scores.png", "Pong, NumPy", "score", xlabel="game")
    return mean


if __name__ == "__main__":
    tyro.cli(main)
