"""One file format for agents and runs: `file` writes and reads it, `encoding` turns states into its members."""

from rlgames.checkpoint.file import CheckpointError, load, read_header, save, weights_sha256

__all__ = ["CheckpointError", "load", "read_header", "save", "weights_sha256"]
