"""The options of the commands but `train`: each a dataclass whose fields are its options, their comments the help.

`run` checks the options and then imports what does the work, so that a help or an error does not wait for torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tyro.conf import DisallowNone, Positional

from rlgames.cli.options import check_minimum, check_positive
from rlgames.cli.terminal import load_command


@dataclass(frozen=True)
class Evaluate:
    """Options of `rlgames evaluate`."""

    path: Positional[Path]  # a checkpoint, or the directory of a run (its best one)
    episodes: int = 20  # to play
    seed: int = 0  # of the games
    game: DisallowNone[str | None] = None  # None: the one that the agent was trained on
    sample: bool = False  # sample actions from the policy instead of taking the best
    max_steps: DisallowNone[int | None] = None  # agent steps after which an episode is truncated; None: never
    json: bool = False  # one JSON object instead of lines to read
    device: str = "auto"  # cpu, cuda, ...; auto: a GPU if there is one
    threads: DisallowNone[int | None] = None  # of torch; None: 1 for small networks, else torch's own number

    def run(self) -> None:
        check_minimum(1, threads=self.threads, episodes=self.episodes, max_steps=self.max_steps)
        check_minimum(0, seed=self.seed)
        load_command("trained").evaluate_command(self)


@dataclass(frozen=True)
class Export:
    """Options of `rlgames export`."""

    path: Positional[Path]  # a checkpoint, or the directory of a run (its best one)
    out: Positional[Path]  # the folder; `rlgames watch` and `evaluate` take it as they take a run's
    episodes: int = 20  # to play for the card
    seed: int = 0  # of the games
    sample: bool = False  # sample actions from the policy instead of taking the best
    max_steps: DisallowNone[int | None] = None  # agent steps after which an episode is truncated; None: never
    overwrite: bool = False  # replace an earlier export
    device: str = "auto"  # cpu, cuda, ...; auto: a GPU if there is one
    threads: DisallowNone[int | None] = None  # of torch; None: 1 for small networks, else torch's own number

    def run(self) -> None:
        check_minimum(1, threads=self.threads, episodes=self.episodes, max_steps=self.max_steps)
        check_minimum(0, seed=self.seed)
        load_command("trained").export_command(self)


@dataclass(frozen=True)
class Watch:
    """Options of `rlgames watch`."""

    path: Positional[Path]  # a checkpoint, or the directory of a run (its best one)
    out: DisallowNone[Path | None] = None  # *.gif, or *.mp4 with the extra video; None: a .gif next to the checkpoint
    seconds: float = 30.0  # of the recording at most
    seed: DisallowNone[int | None] = None  # of the game; None: of seeds 0 to 4 the one with the median score
    episodes: int = 1  # to play, one after the other
    sample: bool = False  # sample actions from the policy instead of taking the best
    size: DisallowNone[int | None] = None  # height of the game's picture; None: its own, or larger
    no_captions: bool = False  # leave out score, action and step
    game: DisallowNone[str | None] = None  # None: the one that the agent was trained on
    device: str = "auto"  # cpu, cuda, ...; auto: a GPU if there is one
    threads: DisallowNone[int | None] = None  # of torch; None: 1 for small networks, else torch's own number

    def run(self) -> None:
        check_minimum(1, threads=self.threads, episodes=self.episodes, size=self.size)
        check_minimum(0, seed=self.seed)
        check_positive(seconds=self.seconds)
        load_command("trained").watch_command(self)


@dataclass(frozen=True)
class Play:
    """Options of `rlgames play`."""

    game: Positional[str]  # such as Cave or CatchBall:size=16
    seed: DisallowNone[int | None] = None  # of every episode; None: a new game each time
    zoom: float = 1.0  # of the window

    def run(self) -> None:
        check_minimum(0, seed=self.seed)
        check_positive(zoom=self.zoom)
        import_module("rlgames.cli.play").play_command(self)


@dataclass(frozen=True)
class Demo:
    """Options of `rlgames demo`."""

    out: Path = Path("runs/demo")  # an earlier demo there is overwritten
    steps: DisallowNone[int | None] = None  # of training; None: as in the preset

    def run(self) -> int:
        check_minimum(1, steps=self.steps)
        return load_command("demo").demo(self.out, self.steps)


@dataclass(frozen=True)
class List:
    """Options of `rlgames list`."""

    def run(self) -> None:
        import_module("rlgames.cli.catalog").list_command()


@dataclass(frozen=True)
class Presets:
    """Options of `rlgames presets`."""

    agent: Positional[DisallowNone[str | None]] = None  # None: presets of all agents
    game: Positional[DisallowNone[str | None]] = None  # such as Cave or CatchBall:size=16; None: presets of all games
    json: bool = False  # one JSON object instead of lines to read

    def run(self) -> None:
        import_module("rlgames.cli.catalog").presets_command(self)
