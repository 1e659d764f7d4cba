"""`rlgames explore`: search a way to the goal of a stage, and write the best one."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

from rlgames.cli.terminal import status
from rlgames.errors import NotWritableError, UsageError
from rlgames.go_explore import SUFFIX, Way, go_explore


def explore(game: str, out: Path | None, steps: int, seed: int) -> None:
    """Print each way to the goal as it is found, and write it to `out`, by default named after the game."""
    out = out or Path(game.replace("/", "-").replace(":", "-").replace(",", "-").replace("=", "") + SUFFIX)
    if out.suffix != SUFFIX:
        raise UsageError(f"expected --out to be named *{SUFFIX}, got {str(out)!r}")
    started, best = perf_counter(), None
    with status("searching"):
        for best in go_explore(game, seed=seed, steps=steps):
            save(best, out)
            if best.goal:
                seconds = perf_counter() - started
                print(f"goal in {len(best.actions):,} steps, found after {seconds:,.1f} s", flush=True)
    if best is None:
        raise UsageError(f"no way in {game} gets any farther than its start: give more --steps")
    if not best.goal:
        print(f"the goal was not found: the way comes to {best.score:,.0f}; give more --steps or another --seed")
    print(f"way  {out}; rlgames watch {out} films it")


def save(way: Way, out: Path) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        way.save(out)
    except OSError as error:
        raise NotWritableError(f"{out} cannot be written: {error}") from error
