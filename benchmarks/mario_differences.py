"""Compare our NES with nes-py after every frame: memory, picture, reward, termination, information.

    .venv/bin/python benchmarks/mario_differences.py [--frames 1000000] [--seed 0]

Buttons at random are held for 4 to 20 frames, in each stage of both games and in all versions, from their starts on;
an episode that ends is followed by another one. A million frames take about twenty minutes, nearly all of it nes-py's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tyro
from side_by_side import progress
from tables import Table

from rlgames.envs.mario import game, make_env

STAGES = [{"stages": f"{world}-{stage}"} for world in range(1, 9) for stage in range(1, 5)]
LOST_STAGES = [{**stage, "lost_levels": True} for stage in STAGES[:16]]
VERSIONS = [{"version": version} for version in range(4)] + [{"version": 1, "lost_levels": True}]
BUTTONS = [1, 2, 3, 3, 4, 4, 4, 5, 6, 8, 10]  # actions of "complex"


def memory_of(env: Any) -> bytes:
    own = hasattr(env, "snapshot")
    return env.snapshot()["records"]["console"]["ram"].tobytes() if own else bytes(env._mario.console.ram)


def count_differences(options: dict[str, Any], frames: int, seed: int) -> tuple[int, int, int]:
    """Return the frames after which memory or results, and pictures, differ, and the furthest that Mario came."""
    envs: list[Any] = [make_env(game(**options, engine=engine, actions="complex")) for engine in ("nes", "nes-py")]
    rng, held, action, furthest = np.random.default_rng(seed), 0, 0, 0
    found = [env.reset(seed=seed) for env in envs]
    different, pictures = 0, 0
    for _ in range(frames):
        memory = [memory_of(env) for env in envs]
        different += memory[0] != memory[1] or found[0][1:] != found[1][1:]
        pictures += not np.array_equal(found[0][0], found[1][0])
        furthest = max(furthest, found[0][-1]["x_pos"])
        if len(found[0]) > 2 and found[0][2]:
            found = [env.reset() for env in envs]
            continue
        if held == 0:
            held, action = int(rng.integers(4, 20)), int(rng.choice(BUTTONS))
        held -= 1
        found = [env.step(action) for env in envs]
    for env in envs:
        env.close()
    return different, pictures, furthest


def main(frames: int = 1_000_000, seed: int = 0, markdown: bool = False, json: Path | None = None) -> None:
    """Compare the two engines.

    Args:
        frames: to play in all.
        seed: of the buttons.
        markdown: print the table as Markdown.
        json: write it into this file too, from which the documentation is made.
    """
    starts = [*STAGES, *LOST_STAGES, *VERSIONS]
    rows, total = [], np.zeros(2, np.int64)
    for i, options in enumerate(starts):
        name = game(**options).name
        progress.print(f"{i + 1} of {len(starts)}: {name}")
        share = frames // len(starts)
        different, pictures, furthest = count_differences(options, share, seed + i)
        total += different, pictures
        rows.append((name, f"{share:,}", str(different), str(pictures), str(furthest)))
    rows.append(("all", f"{frames // len(starts) * len(starts):,}", str(total[0]), str(total[1]), ""))
    Table(
        "Frames after which our NES and nes-py differ",
        {"start": "left", "frames": "right", "in memory or results": "right", "in the picture": "right", "x": "right"},
        rows,
        packages=("nes-py",),
        seeds=range(seed, seed + len(starts)),
    ).show(markdown, json)


if __name__ == "__main__":
    tyro.cli(main)
