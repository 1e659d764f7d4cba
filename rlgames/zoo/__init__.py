"""Trained agents that come with rlgames, by name.

`manifest.json`, a part of the package, says of each what it is, how it was trained, and how well it plays; every entry
was written by `benchmarks/zoo.py`. `manifest` reads it, `weights` finds the files of the weights, which are in the
folder zoo/ of rlgames's repository, or wherever a copy of that is, and `table` shows the scores.
"""
