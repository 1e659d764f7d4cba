"""Learn CatchBall, look at the score, keep the agent, and film it: python examples/quickstart.py (half a minute)."""

from __future__ import annotations

from pathlib import Path

import rlgames
from rlgames.recording import record


def main(folder: Path = Path("runs/quickstart"), steps: int = 100_000) -> float:
    folder.mkdir(parents=True, exist_ok=True)
    agent = rlgames.PPO("CatchBall", seed=0).learn(steps, progress_bar=True)
    result = rlgames.evaluate(agent, episodes=20)
    print(f"{result}; a perfect player catches 99")
    agent.save(folder / "catch.ckpt")
    print(record(agent, folder / "catch.gif", seconds=20).path)
    return result.mean


if __name__ == "__main__":
    main()
