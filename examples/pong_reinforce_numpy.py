"""Pong from pixels with nothing but NumPy: a policy gradient with every derivative written out.

    python examples/pong_reinforce_numpy.py            takes days; stop it with Ctrl-C at any time
    python examples/pong_reinforce_numpy.py --quick    takes seconds; shows that everything works

Writes into --folder: weights.npz after each update (the next start resumes from it), and scores.png.

The observation is the field, 80 x 80, with its background erased, minus the previous frame: it shows what moves. One
hidden layer h and one logit z give the probability of "up",

    h = relu(W x),    z = v h,    p = 1 / (1 + exp(-z)).

The derivative of log p(action) with respect to z is (1 - p) for "up" and -p for "down"; the chain rule does the rest.
Each derivative is weighted by the discounted return R, which ends at the next point won or lost: what follows a point
does not depend on the actions before it. (Williams 1992; network and settings of Karpathy 2016, "Deep Reinforcement
Learning: Pong from Pixels".) `rlgames train reinforce Pong` is the same algorithm in eight environments at once.
"""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import tyro

import rlgames
from rlgames.plots import draw_curves
from rlgames.presets.pong import BALL_AND_BATS

INPUTS, HIDDEN = 80 * 80, 200  # sizes of the layers
GAMMA = 0.99  # discount
RMSPROP_DECAY = 0.99  # of the moving average of the squared gradient
UP, DOWN = 0, 1  # the actions of Pong:actions=minimal
ARRAYS = ("w", "v", "w_square", "v_square", "scores")  # in weights.npz


def policy(w: np.ndarray, v: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of "up" (n,) and the hidden layer (n, hidden) for observations x (n, inputs)."""
    h = np.maximum(x @ w.T, 0)
    return 1 / (1 + np.exp(-(h @ v))), h


def policy_gradient(
    w: np.ndarray, v: np.ndarray, x: np.ndarray, actions: np.ndarray, advantages: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient of sum_t log p(a_t | x_t) A_t with respect to w (hidden, inputs) and v (hidden,)."""
    p, h = policy(w, v, x)
    dz = ((actions == UP) - p) * advantages
    dh = np.outer(dz, v) * (h > 0)
    return dh.T @ x, h.T @ dz


def compute_returns(rewards: np.ndarray) -> np.ndarray:
    """Return R_t = r_t + gamma R_{t+1}, restarted at each point, normalized to mean 0 and standard deviation 1."""
    returns, total = np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        total = rewards[t] + GAMMA * (0.0 if rewards[t] else total)
        returns[t] = total
    return (returns - returns.mean()) / (returns.std() + 1e-8)


def collect_episode(
    env: gym.Env, w: np.ndarray, v: np.ndarray, rng: np.random.Generator, seed: int | None, max_steps: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return observations (n, inputs), actions (n,) and rewards (n,) of an episode, or of its first `max_steps`."""
    observations, actions, rewards = [], [], []
    obs, _ = env.reset(seed=seed)
    done = False
    while not done and (max_steps is None or len(rewards) < max_steps):
        x = obs.reshape(1, -1)
        action = UP if rng.random() < policy(w, v, x)[0][0] else DOWN
        obs, reward, terminated, truncated, _ = env.step(action)
        observations.append(x[0])
        actions.append(action)
        rewards.append(float(reward))
        done = terminated or truncated
    return np.array(observations), np.array(actions), np.array(rewards)


def running_mean(scores: list[float]) -> float:
    """Return the moving average after the last score, 0.99 of the old and 0.01 of the new."""
    mean = scores[0] if scores else 0.0
    for score in scores[1:]:
        mean = 0.99 * mean + 0.01 * score
    return mean


def main(
    folder: Path = Path("pong_numpy"),
    quick: bool = False,
    episodes: int = 8_000,
    batch_size: int = 10,
    learning_rate: float = 1e-4,
    seed: int = 0,
) -> float:
    """Train REINFORCE on Pong in NumPy.

    Args:
        folder: for the weights and the curve.
        quick: one update with two short episodes.
        episodes: in all, those of earlier starts included.
        batch_size: episodes an update.
        learning_rate: of RMSProp.
        seed: of the initial weights, the actions and the environment.
    """
    episodes, batch_size, max_steps = (2, 2, 150) if quick else (episodes, batch_size, None)
    folder.mkdir(parents=True, exist_ok=True)
    saved = folder / "weights.npz"
    rng = np.random.default_rng(seed)
    if saved.exists():
        with np.load(saved) as arrays:
            w, v, w_square, v_square, past = (arrays[name] for name in ARRAYS)
        scores = past.tolist()
        print(f"resuming after {len(scores)} episodes")
    else:
        w, v = rng.normal(size=(HIDDEN, INPUTS)) / np.sqrt(INPUTS), rng.normal(size=HIDDEN) / np.sqrt(HIDDEN)
        w_square, v_square, scores = np.zeros_like(w), np.zeros_like(v), []

    env = rlgames.make("Pong:noop_max=30", actions="minimal", pixels=BALL_AND_BATS)
    while len(scores) < episodes:
        w_gradient, v_gradient = np.zeros_like(w), np.zeros_like(v)
        for _ in range(batch_size):
            x, actions, rewards = collect_episode(env, w, v, rng, None if scores else seed, max_steps)
            dw, dv = policy_gradient(w, v, x, actions, compute_returns(rewards))
            w_gradient += dw
            v_gradient += dv
            scores.append(rewards.sum())
        for weights, gradient, square in ((w, w_gradient, w_square), (v, v_gradient, v_square)):
            square *= RMSPROP_DECAY
            square += (1 - RMSPROP_DECAY) * gradient**2
            weights += learning_rate * gradient / (np.sqrt(square) + 1e-5)
        np.savez(saved, **dict(zip(ARRAYS, (w, v, w_square, v_square, np.array(scores)), strict=True)))
        print(
            f"episode {len(scores):>6,}  score {scores[-1]:+5.0f}  running mean {running_mean(scores):+6.2f}",
            flush=True,
        )
    env.close()
    x = np.arange(1, len(scores) + 1)
    draw_curves({"episodes": [(x, np.array(scores))]}, folder / "scores.png", "Pong, NumPy", "score", xlabel="episode")
    return running_mean(scores)


if __name__ == "__main__":
    tyro.cli(main)
