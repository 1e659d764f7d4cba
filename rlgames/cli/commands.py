"""The options of the commands but `train`: each a dataclass whose fields are its options, their comments the help.

`run` checks the options and then imports what does the work, so that a help or an error does not wait for torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

from tyro.conf import DisallowNone, Positional

from rlgames.cli.options import check_minimum, check_positive
from rlgames.cli.terminal import load_command
from rlgames.errors import UsageError


@dataclass(frozen=True)
class Evaluate:
    """Options of `rlgames evaluate`."""

    path: Positional[Path]  # The agent is in this checkpoint, or the best of this run, or the zoo's of this name.
    episodes: DisallowNone[int | None] = None  # It plays this many; None: 100 of a compiled game, 20 of any other.
    seed: DisallowNone[int | None] = None  # The games start from this seed; None: from one that no training plays.
    game: DisallowNone[str | None] = None  # It plays this game; None: the one that it was trained on.
    sample: bool = False  # Actions are sampled from the policy instead of taking the best.
    max_steps: DisallowNone[int | None] = None  # Episodes are truncated after this many agent steps; None: never.
    zoo: DisallowNone[str | None] = None  # The zoo's weights are in this folder, or at this http(s) address.
    json: bool = False  # One JSON object is printed instead of lines to read.
    device: str = "auto"  # Networks compute on it: cpu, cuda, ...; auto: a GPU if there is one.
    threads: DisallowNone[int | None] = None  # torch gets this many threads; None: 1 for small networks.

    def run(self) -> None:
        check_minimum(1, threads=self.threads, episodes=self.episodes, max_steps=self.max_steps)
        check_minimum(0, seed=self.seed)
        load_command("trained").evaluate_command(self)


@dataclass(frozen=True)
class Export:
    """Options of `rlgames export`."""

    path: Positional[Path]  # The agent is in this checkpoint, or the best one of this run's directory.
    out: Positional[DisallowNone[Path | None]] = None  # This folder is written, or this *.onnx; None: agent.onnx there.
    format: Literal["agent", "onnx"] = "agent"  # The folder is for rlgames; onnx is a file for other programs.
    episodes: int = 100  # The card has the scores of this many episodes.
    seed: DisallowNone[int | None] = None  # The games start from this seed; None: from one that no training plays.
    game: DisallowNone[str | None] = None  # It plays this game; None: the one that it was trained on.
    sample: bool = False  # Actions are sampled from the policy instead of taking the best.
    max_steps: DisallowNone[int | None] = None  # Episodes are truncated after this many agent steps; None: never.
    overwrite: bool = False  # An earlier export is replaced.
    device: str = "auto"  # Networks compute on it: cpu, cuda, ...; auto: a GPU if there is one.
    threads: DisallowNone[int | None] = None  # torch gets this many threads; None: 1 for small networks.

    def run(self) -> None:
        check_minimum(1, threads=self.threads, episodes=self.episodes, max_steps=self.max_steps)
        check_minimum(0, seed=self.seed)
        if self.format == "onnx":
            return load_command("export").export_onnx_command(self)
        if self.out is None:
            raise UsageError("expected a folder to write: rlgames export RUN FOLDER, or --format onnx for a file")
        load_command("export").export_command(self, self.out)


@dataclass(frozen=True)
class Watch:
    """Options of `rlgames watch`."""

    path: Positional[Path]  # The agent of this checkpoint, run or name in the zoo plays, or a way of explore (*.json).
    film: DisallowNone[Path | None] = None  # This *.gif, *.webp or (extra video) *.mp4 is written; None: a .gif.
    seconds: float = 30.0  # The recording has this length at most.
    seed: DisallowNone[int | None] = None  # The game starts from it; None: the one of 0 to 4 with the median score.
    episodes: int = 1  # This many episodes are recorded, one after the other.
    sample: bool = False  # Actions are sampled from the policy instead of taking the best.
    size: DisallowNone[int | None] = None  # The game's picture has this height; None: its own, enlarged if small.
    no_captions: bool = False  # Score, action and step are left out.
    game: DisallowNone[str | None] = None  # It plays this game; None: the one that it was trained on.
    zoo: DisallowNone[str | None] = None  # The zoo's weights are in this folder, or at this http(s) address.
    device: str = "auto"  # Networks compute on it: cpu, cuda, ...; auto: a GPU if there is one.
    threads: DisallowNone[int | None] = None  # torch gets this many threads; None: 1 for small networks.
    live: bool = False  # A page for the browser takes the place of the recording; you can take over (extra live).
    host: str = "127.0.0.1"  # The page listens there; another address lets other machines in.
    port: int = 0  # The page listens on it; 0: any that is free.

    def run(self) -> None:
        check_minimum(1, threads=self.threads, episodes=self.episodes, size=self.size)
        check_minimum(0, seed=self.seed, port=self.port)
        check_positive(seconds=self.seconds)
        load_command("trained").watch_command(self)


@dataclass(frozen=True)
class Explore:
    """Options of `rlgames explore`."""

    game: Positional[str]  # The goal of this stage is searched: Mario:world=1,stage=1.
    out: DisallowNone[Path | None] = None  # The best way is written to this *.json; None: named after it.
    steps: int = 500_000  # The search ends after this many agent steps.
    seed: int = 0  # The search draws its random numbers from this seed.

    def run(self) -> None:
        check_minimum(1, steps=self.steps)
        check_minimum(0, seed=self.seed)
        import_module("rlgames.cli.explore").explore(self.game, self.out, self.steps, self.seed)


@dataclass(frozen=True)
class Plot:
    """Options of `rlgames plot`."""

    runs: Positional[tuple[Path, ...]]  # These are drawn: directories of runs, folders of them, quoted patterns.
    y: str = "score"  # This metric is drawn: score, eval, train/loss, ...; or several, as in score,eval.
    x: Literal["steps", "time"] = "steps"  # They are drawn over environment steps, or over the time of training.
    out: Path = Path("curves.png")  # This *.png or *.svg is written.
    title: DisallowNone[str | None] = None  # The picture has this title; None: the game's name alone.

    def run(self) -> None:
        load_command("runs").plot_command(self)


@dataclass(frozen=True)
class Compare:
    """Options of `rlgames compare`."""

    a: Positional[Path]  # This run, or each in this folder or quoted pattern ('runs/dqn-*'), is compared.
    b: Positional[Path]  # It is compared with this one, or with each of these.
    metric: str = "eval"  # The last values of this metric are compared: eval, score, train/loss, ...
    json: bool = False  # One JSON object is printed instead of lines to read.

    def run(self) -> None:
        load_command("runs").compare_command(self)


@dataclass(frozen=True)
class Tune:
    """Options of `rlgames tune`."""

    agent: Positional[str]  # The settings of this agent are searched.
    game: Positional[str]  # It learns this game: CartPole, CatchBall:size=16, ...
    trials: int = 50  # So many settings are tried, of all processes that share the study.
    search: DisallowNone[str | None] = None  # These are searched: gamma,learning_rate=1e-5:1e-2; None: most numbers.
    steps: DisallowNone[int | None] = None  # A training takes this many steps; None: as in the preset.
    envs: DisallowNone[int | None] = None  # This many environments are stepped at once; None: as in the preset.
    seed: int = 0  # With --jobs 1 the same seed gives the same trials.
    seeds: int = 1  # A trial is trained from this many seeds, its score is their mean.
    jobs: int = 1  # This many trials train at once.
    evaluations: int = 10  # A training is evaluated this often, and may be pruned then.
    evaluate_episodes: int = 20  # An evaluation plays this many episodes.
    evaluate_max_steps: DisallowNone[int | None] = None  # They are truncated after this many agent steps.
    sampler: Literal["tpe", "random", "cmaes", "gp", "qmc"] = "tpe"  # Optuna chooses settings by it.
    pruner: Literal["median", "percentile", "halving", "hyperband", "none"] = "median"  # Bad trials end early by it.
    preset: DisallowNone[Path | None] = None  # It is searched around this file's settings; None: the game's preset.
    out: DisallowNone[Path | None] = None  # The study is in this folder; None: in studies/NAME.
    storage: DisallowNone[str | None] = None  # This database is shared with others: sqlite:///FILE, mysql://..., ...
    study: DisallowNone[str | None] = None  # The study has this name in the database; None: AGENT-GAME.
    resume: bool = False  # The study in the folder goes on; trials that were running begin anew.
    device: str = "auto"  # Networks compute on it: cpu, cuda, ...; auto: a GPU if there is one.
    quiet: bool = False  # No progress is shown.

    def run(self) -> int:
        least = dict(trials=self.trials, steps=self.steps, envs=self.envs, seeds=self.seeds, jobs=self.jobs)
        check_minimum(1, **least, evaluations=self.evaluations, evaluate_episodes=self.evaluate_episodes)
        check_minimum(1, evaluate_max_steps=self.evaluate_max_steps)
        check_minimum(0, seed=self.seed)
        return load_command("tune").tune_command(self)


@dataclass(frozen=True)
class Zoo:
    """Options of `rlgames zoo`."""

    name: Positional[DisallowNone[str | None]] = None  # All that is known of this agent is shown; None: a table of all.
    json: bool = False  # One JSON object is printed instead of lines to read.

    def run(self) -> None:
        import_module("rlgames.cli.zoo").zoo_command(self.name, self.json)


@dataclass(frozen=True)
class Reproduce:
    """Options of `rlgames reproduce`."""

    name: Positional[str]  # This agent of the zoo is trained again.
    out: DisallowNone[Path | None] = None  # The run is in this directory, or goes on there; None: runs/reproduce-NAME.
    quiet: bool = False  # No progress is shown.

    def run(self) -> int:
        return load_command("reproduce").reproduce_command(self)


@dataclass(frozen=True)
class Page:
    """Options of `rlgames page`."""

    out: Positional[Path]  # The page is this folder, for any web server.
    agents: tuple[Path, ...] = ()  # These play: checkpoints, runs, exports; none: of zoo/ the smallest of each game.

    def run(self) -> None:
        load_command("trained").page_command(self)


@dataclass(frozen=True)
class Play:
    """Options of `rlgames play`."""

    game: Positional[str]  # This game is played: Cave, CatchBall:size=16, ...
    seed: DisallowNone[int | None] = None  # Every episode starts from this seed; None: each is a new one.
    zoom: float = 1.0  # The window is enlarged by this factor.

    def run(self) -> None:
        check_minimum(0, seed=self.seed)
        check_positive(zoom=self.zoom)
        import_module("rlgames.cli.play").play(self.game, seed=self.seed, zoom=self.zoom)


@dataclass(frozen=True)
class Demo:
    """Options of `rlgames demo`."""

    out: Path = Path("runs/demo")  # Results are written to this folder, over those of an earlier demo.
    steps: DisallowNone[int | None] = None  # Training takes this many steps; None: as in the preset.

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

    agent: Positional[DisallowNone[str | None]] = None  # Presets of this agent are shown; None: of all.
    game: Positional[DisallowNone[str | None]] = None  # All settings for it are shown: Cave, CatchBall:size=16, ...
    json: bool = False  # One JSON object is printed instead of lines to read.

    def run(self) -> None:
        import_module("rlgames.cli.catalog").presets_command(self.agent, self.game, self.json)


@dataclass(frozen=True)
class Completion:
    """Options of `rlgames completion`."""

    shell: Positional[Literal["bash", "zsh", "fish"]]  # The script is for this shell.

    def run(self) -> None:
        print(load_command("completion").completion_script(self.shell))
