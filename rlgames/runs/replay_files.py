"""The replay buffer of a run on disk: each checkpoint writes only the slots that are new since the one before.

They are written once, into a checkpoint of their own, replay-*.part; the run's checkpoints name the parts that hold the
buffer's slots (`FilePart`), with their digests. A part that no checkpoint names any more is deleted after the new
checkpoint is complete. So a run that is killed at any moment has all parts of each of its checkpoints.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rlgames.checkpoint import file as checkpoint
from rlgames.checkpoint.encoding import FilePart
from rlgames.checkpoint.file import PARTS, CheckpointError
from rlgames.experience.replay import ReplayBuffer

MUTABLE_SLOTS = 2  # newest slots of an environment, which `restart_episodes` may change after they were written


class ReplayFiles:
    """`chunks`: the written ones of `ReplayBuffer.slots_since`, oldest first, `slots` a FilePart each."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.chunks: list[dict[str, Any]] = []

    def resume(self, state: dict[str, Any]) -> None:
        """Continue from the state of a checkpoint, with or without parts."""
        self.chunks = list((state.get("replay") or {}).get("chunks", []))

    def add(self, step: int, replay: ReplayBuffer) -> list[dict[str, Any]]:
        """Write what is new at `step`; return the chunks that make up the buffer now."""
        written = self.chunks[-1]["head"] if self.chunks else np.zeros(replay.num_envs, np.int64)
        if (replay.head > written).any():
            chunk = replay.slots_since(np.maximum(written - MUTABLE_SLOTS, 0))
            path = self.folder / f"replay-{step:012d}.part"
            sha256 = checkpoint.save(path, {"part_of": "replay", "step": step}, chunk["slots"])
            self.chunks.append({**chunk, "slots": FilePart(path, sha256)})
        self.chunks = [chunk for chunk in self.chunks if (chunk["head"] > replay.head - replay.length).any()]
        return self.chunks

    def names(self) -> list[str]:
        return [chunk["slots"].path.name for chunk in self.chunks]

    def delete_unused(self, checkpoints: list[Path]) -> None:
        """Delete the parts that none of these checkpoints names; none if one of them cannot be read."""
        try:
            needed = {name for path in checkpoints for name in checkpoint.read_header(path).get(PARTS, [])}
        except CheckpointError:
            return
        for path in self.folder.glob("replay-*.part"):
            if path.name not in needed:
                path.unlink()
