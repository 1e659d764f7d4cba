"""Train PPO on CatchBall, evaluate it, save it and record it: python examples/quickstart.py (half a minute)."""

from __future__ import annotations

from pathlib import Path

import rlgames


def main(folder: Path = Path("runs/quickstart"), steps: int = 100_000) -> float:
    folder.mkdir(parents=True, exist_ok=True)
    agent = rlgames.PPO("CatchBall", seed=0).learn(steps, progress_bar=True)
    result = rlgames.evaluate(agent, episodes=20)
    print(f"{result}; the best possible score is 99")
    agent.save(folder / "catch.ckpt")
    print(rlgames.record(agent, folder / "catch.gif", seconds=20).path)
    return result.mean


if __name__ == "__main__":
    main()
