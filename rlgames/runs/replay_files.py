"""The replay of a run on the disk: each checkpoint writes down only the slots that are new since the one before.

They go into a checkpoint of their own, replay-*.part, once; the run's checkpoints name the parts that hold what is
still remembered (`Part`), with their digests. A part that no checkpoint names any more is deleted,
after the new checkpoint stands. So whatever is killed at whatever moment, each checkpoint has all of its parts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rlgames.checkpoint import file as checkpoint
from rlgames.checkpoint.encoding import Part
from rlgames.checkpoint.file import CheckpointError
from rlgames.experience.replay import Replay

CHANGING = 2  # the newest slots of a player, which `Replay.restart` may change after they were written down
PARTS = "parts"  # in a checkpoint's header: the names of the files that it needs


class Segments:
    """`held`: the pieces of the replay (`Replay.since`) that are written down, oldest first, `rows` a Part each."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.held: list[dict[str, Any]] = []

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from the state of a checkpoint that names parts, or none."""
        self.held = list((state.get("replay") or {}).get("pieces", []))

    def add(self, step: int, replay: Replay) -> list[dict[str, Any]]:
        """Write down what is new at `step`; returns the pieces that make up the replay now."""
        known = self.held[-1]["head"] if self.held else np.zeros(replay.n, np.int64)
        if (replay.head > known).any():
            piece = replay.since(np.maximum(known - CHANGING, 0))
            path = self.folder / f"replay-{step:012d}.part"
            sha256 = checkpoint.save(path, {"part_of": "replay", "step": step}, piece["rows"])
            self.held.append({**piece, "rows": Part(path, sha256)})
        self.held = [piece for piece in self.held if (piece["head"] > replay.head - replay.length).any()]
        return self.held

    def names(self) -> list[str]:
        return [piece["rows"].path.name for piece in self.held]

    def forget(self, checkpoints: list[Path]) -> None:
        """Delete the parts that none of these checkpoints names; none while one of them cannot be read."""
        try:
            needed = {name for path in checkpoints for name in checkpoint.read_header(path).get(PARTS, [])}
        except CheckpointError:
            return
        for path in self.folder.glob("replay-*.part"):
            if path.name not in needed:
                path.unlink()
