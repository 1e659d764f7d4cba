"""Commands on trained agents, and `list`: each a dataclass whose fields are its options, their comments the help."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import DisallowNone, Positional

from rlgames.agents import AGENTS
from rlgames.agents.base import Agent
from rlgames.agents.registry import load
from rlgames.checkpoint import weights_sha256
from rlgames.cli.terminal import check_device, check_minimum, check_positive, print_table
from rlgames.envs.registry import GAMES, default_pixels, load_game, module_of
from rlgames.errors import NotWritableError, UsageError
from rlgames.evaluation import Evaluation, evaluate
from rlgames.presets.lookup import PRESETS
from rlgames.recording import record, video_writer_class
from rlgames.runs.directory import EXPORTED, RunDirectory, find_checkpoint, read_rows, write_atomically


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

    def run(self) -> None:
        check_minimum(1, episodes=self.episodes, max_steps=self.max_steps)
        path, agent = load_trained(self.path, self.game, self.seed, self.device)
        deterministic, limit = not self.sample, self.max_steps
        result = evaluate(
            agent, episodes=self.episodes, seed=self.seed, deterministic=deterministic, max_episode_steps=limit
        )
        lengths = result.lengths
        if self.json:
            facts = evaluation_json(agent, result, self.seed, deterministic, limit)
            return print(json.dumps({"path": str(path), **facts, "lengths": lengths}))
        print(f"{path}: {agent.name} after {agent.step:,} steps on {agent.task}")
        print(f"score   {result}")
        capped = f", {result.capped} truncated by --max-steps" if result.capped else ""
        print(f"length  mean {sum(lengths) / len(lengths):,.1f} agent steps{capped}")


def evaluation_json(
    agent: Agent, result: Evaluation, seed: int, deterministic: bool, max_steps: int | None
) -> dict[str, Any]:
    """Return a trained agent and its evaluation as JSON."""
    return {
        "agent": agent.name,
        "game": str(agent.task),
        "step": agent.step,
        "episodes": len(result.scores),
        "seed": seed,
        "deterministic": deterministic,
        "max_steps": max_steps,
        "capped": result.capped,
        "wins": result.wins,
        "mean": result.mean,
        "std": result.std,
        "min": min(result.scores),
        "max": max(result.scores),
        "scores": result.scores,
        "weights_sha256": weights_sha256(agent.net.state_dict()),
    }


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

    def run(self) -> None:
        check_minimum(1, episodes=self.episodes, max_steps=self.max_steps)
        path, agent = load_trained(self.path, None, self.seed, self.device)
        if (self.out / EXPORTED).exists() and not self.overwrite:
            raise UsageError(f"{self.out} holds an agent already: choose another folder, or give --overwrite")
        deterministic, limit = not self.sample, self.max_steps
        result = evaluate(
            agent, episodes=self.episodes, seed=self.seed, deterministic=deterministic, max_episode_steps=limit
        )
        card = agent.header() | {"evaluation": evaluation_json(agent, result, self.seed, deterministic, limit)}
        times = read_rows(RunDirectory(path.resolve().parent.parent).times)  # empty outside of a run's directory
        if seconds := [row["seconds"] for row in times if row["step"] <= agent.step]:
            card["training_seconds"] = max(seconds)
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            agent.save(self.out / EXPORTED, weights_only=True)
            write_atomically(self.out / "card.json", json.dumps(card, indent=2) + "\n")
        except OSError as error:
            raise NotWritableError(f"{self.out} cannot be written: {error}") from error
        print(f"{path}: {agent.name} after {agent.step:,} steps on {agent.task}")
        print(f"score    {result}")
        print(f"weights  {self.out / EXPORTED} ({(self.out / EXPORTED).stat().st_size / 1e3:,.0f} kB)")
        print(f"card     {self.out / 'card.json'}")


@dataclass(frozen=True)
class Watch:
    """Options of `rlgames watch`."""

    path: Positional[Path]  # a checkpoint, or the directory of a run (its best one)
    out: DisallowNone[Path | None] = None  # *.gif, or *.mp4 with the extra video; None: a .gif next to the checkpoint
    seconds: float = 30.0  # of the recording at most
    seed: int = 0  # of the game
    episodes: int = 1  # to play, one after the other
    sample: bool = False  # sample actions from the policy instead of taking the best
    size: DisallowNone[int | None] = None  # height of the picture in pixels; None: the game's own
    game: DisallowNone[str | None] = None  # None: the one that the agent was trained on
    device: str = "auto"  # cpu, cuda, ...; auto: a GPU if there is one

    def run(self) -> None:
        check_minimum(1, episodes=self.episodes, size=self.size)
        check_positive(seconds=self.seconds)
        path, agent = load_trained(self.path, self.game, self.seed, self.device)
        out = self.out or (self.path / "film.gif" if self.path.is_dir() else path.with_suffix(".gif"))
        video_writer_class(out)
        recording = record(
            *(agent, out),
            episodes=self.episodes,
            seed=self.seed,
            deterministic=not self.sample,
            seconds=self.seconds,
            size=self.size,
        )
        print(f"{path}: {agent.name} after {agent.step:,} steps on {agent.task}")
        cut = f", cut off after {self.seconds:g} s: --seconds makes it longer" if recording.cut else ""
        print(f"score      {', '.join(f'{score:,.1f}' for score in recording.scores)}{cut}")
        size = recording.path.stat().st_size / 1e3
        print(f"recording  {recording.path} ({recording.seconds:.1f} s, {size:,.0f} kB)")


def load_trained(path: Path, game: str | None, seed: int, device: str) -> tuple[Path, Agent]:
    """Return the checkpoint of `path`, and its agent with a game to play."""
    check_minimum(0, seed=seed)
    check_device(device)
    path = find_checkpoint(path)
    agent = load(path, game, device=device, weights_only=True)
    if agent.task is None:
        raise UsageError(f"{path}: its agent was not made from a game's name: say what to play with --game")
    return path, agent


@dataclass(frozen=True)
class List:
    """Options of `rlgames list`."""

    def run(self) -> None:
        print_table("Games", ("game", "what to do", "observation", "actions", "options"), map(game_row, GAMES))
        agents = [(name, spec.summary) for name, spec in AGENTS.items()]
        print_table("Agents", ("agent", "algorithm"), agents)
        rows = [(agent, game, str(one.envs), f"{one.steps:,}") for (agent, game), one in PRESETS.items()]
        print_table("Presets: the defaults of an agent on a game", ("agent", "game", "envs", "steps"), rows)


def game_row(name: str) -> tuple[str, ...]:
    spec, game = GAMES[name], load_game(name)
    observation = default_pixels(name, {}).observation_space(game.observation)
    options = inspect.signature(module_of(name).game).parameters.values()
    return (
        *(f"rlgames/{name}-v0", spec.summary, f"{' x '.join(map(str, observation.shape))} {observation.dtype}"),
        *(", ".join(game.actions), ", ".join(f"{option.name}={option.default}" for option in options)),
    )
