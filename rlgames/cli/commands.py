"""The commands besides `train`: each a dataclass whose fields are its options, their comments the help."""

from __future__ import annotations

import ast
import inspect
import json
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import DisallowNone, Positional

from rlgames.agents import registry as agents
from rlgames.cli.terminal import Refusal, above_zero, at_least, check_device, first_line, refusing, show
from rlgames.envs.registry import GAMES, default_pixels, rules
from rlgames.envs.task import Task

if TYPE_CHECKING:
    from rlgames.agents.base import Agent
    from rlgames.evaluation import Evaluation


@dataclass(frozen=True)
class Evaluate:
    """Play whole episodes with a trained agent and tell its scores."""

    path: Positional[Path]  # a checkpoint, or the directory of a run (its best one)
    episodes: int = 20  # to play
    seed: int = 0  # of the games
    game: DisallowNone[str | None] = None  # None: the one that the agent was trained on
    sample: bool = False  # draw actions from the policy instead of taking the best
    max_steps: DisallowNone[int | None] = None  # agent steps after which an episode is cut short; None: never
    json: bool = False  # one JSON object instead of lines to read
    device: str = "auto"  # cpu, cuda, ...; auto: a GPU if there is one

    def run(self) -> None:
        from rlgames.evaluation import evaluate

        at_least(1, episodes=self.episodes, max_steps=self.max_steps)
        path, agent = trained(self.path, self.game, self.seed, self.device)
        best, cut = not self.sample, self.max_steps
        result = evaluate(agent, episodes=self.episodes, seed=self.seed, deterministic=best, max_steps=cut)
        lengths = result.lengths
        if self.json:
            facts = {"path": str(path), **facts_of(agent, result, self.seed, best, cut), "lengths": lengths}
            return print(json.dumps(facts))
        print(f"{path}: {agent.name} after {agent.step:,} steps on {agent.task}")
        print(f"score   {result}")
        capped = f", {result.capped} cut short by --max-steps" if result.capped else ""
        print(f"length  mean {sum(lengths) / len(lengths):,.1f} agent steps{capped}")


def facts_of(agent: Agent, result: Evaluation, seed: int, deterministic: bool, max_steps: int | None) -> dict[str, Any]:
    """What is to be known of a trained agent and its evaluation, for JSON."""
    from rlgames.checkpoint.file import weights_sha256

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
    """Hand on a trained agent: a folder with its weights and a card of its scores."""

    path: Positional[Path]  # a checkpoint, or the directory of a run (its best one)
    out: Positional[Path]  # the folder; `rlgames watch` and `evaluate` take it as they take a run's
    episodes: int = 20  # to play for the card
    seed: int = 0  # of the games
    sample: bool = False  # draw actions from the policy instead of taking the best
    max_steps: DisallowNone[int | None] = None  # agent steps after which an episode is cut short; None: never
    overwrite: bool = False  # replace what was exported there before
    device: str = "auto"  # cpu, cuda, ...; auto: a GPU if there is one

    def run(self) -> None:
        from rlgames.evaluation import evaluate
        from rlgames.runs.directory import EXPORTED, RunDirectory, rows, write

        at_least(1, episodes=self.episodes, max_steps=self.max_steps)
        path, agent = trained(self.path, None, self.seed, self.device)
        if (self.out / EXPORTED).exists() and not self.overwrite:
            raise Refusal(f"{self.out} holds an agent already: choose another folder, or give --overwrite")
        best, cut = not self.sample, self.max_steps
        result = evaluate(agent, episodes=self.episodes, seed=self.seed, deterministic=best, max_steps=cut)
        card = agent.header() | {"evaluation": facts_of(agent, result, self.seed, best, cut)}
        times = rows(RunDirectory(path.resolve().parent.parent).times)  # nothing, if it is not in a run's directory
        if spent := [row["seconds"] for row in times if row["step"] <= agent.step]:
            card["training_seconds"] = max(spent)
        with refusing():
            self.out.mkdir(parents=True, exist_ok=True)
            agent.save(self.out / EXPORTED, weights_only=True)
            write(self.out / "card.json", json.dumps(card, indent=2) + "\n")
        print(f"{path}: {agent.name} after {agent.step:,} steps on {agent.task}")
        print(f"score    {result}")
        print(f"weights  {self.out / EXPORTED} ({(self.out / EXPORTED).stat().st_size / 1e3:,.0f} kB)")
        print(f"card     {self.out / 'card.json'}")


@dataclass(frozen=True)
class Watch:
    """Let a trained agent play, and write a film of it."""

    path: Positional[Path]  # a checkpoint, or the directory of a run (its best one)
    out: DisallowNone[Path | None] = None  # *.gif, or *.mp4 with the extra video; None: a .gif beside the checkpoint
    seconds: float = 30.0  # of film at most
    seed: int = 0  # of the game
    episodes: int = 1  # to play, one after the other
    sample: bool = False  # draw actions from the policy instead of taking the best
    size: DisallowNone[int | None] = None  # height of the picture in pixels; None: the game's own
    game: DisallowNone[str | None] = None  # None: the one that the agent was trained on
    device: str = "auto"  # cpu, cuda, ...; auto: a GPU if there is one

    def run(self) -> None:
        from rlgames.recording import film_kind, record

        at_least(1, episodes=self.episodes, size=self.size)
        above_zero(seconds=self.seconds)
        path, agent = trained(self.path, self.game, self.seed, self.device)
        out = self.out or (self.path / "film.gif" if self.path.is_dir() else path.with_suffix(".gif"))
        with refusing():
            film_kind(out)
        best, size = not self.sample, self.size
        film = record(
            agent, out, episodes=self.episodes, seed=self.seed, deterministic=best, seconds=self.seconds, size=size
        )
        print(f"{path}: {agent.name} after {agent.step:,} steps on {agent.task}")
        cut = f", when the film was full after {self.seconds:g} s: --seconds makes it longer" if film.cut else ""
        print(f"score   {', '.join(f'{score:,.1f}' for score in film.scores)}{cut}")
        print(f"film    {film.path} ({film.seconds:.1f} s, {film.path.stat().st_size / 1e3:,.0f} kB)")


def trained(path: Path, game: str | None, seed: int, device: str) -> tuple[Path, Agent]:
    """The checkpoint meant by `path` and its agent, with a game to play."""
    from rlgames.agents.registry import load
    from rlgames.runs.directory import checkpoint_at

    at_least(0, seed=seed)
    check_device(device)
    with refusing():
        path = checkpoint_at(path)
        agent = load(path, game, device=device)
        if agent.task is None:
            raise ValueError(f"{path}: its agent was not made from a game's name: say what to play with --game")
    return path, agent


@dataclass(frozen=True)
class Play:
    """Play a game yourself, in a window (extra play)."""

    game: Positional[str]  # such as Cave or CatchBall:size=16
    seed: DisallowNone[int | None] = None  # of every episode; None: a new game each time
    zoom: float = 1.0  # of the window

    def run(self) -> None:
        from rlgames.cli.play import play

        at_least(0, seed=self.seed)
        above_zero(zoom=self.zoom)
        with refusing():
            play(Task.parse(self.game), seed=self.seed, zoom=self.zoom)


@dataclass(frozen=True)
class List:
    """Tell which games, agents and presets there are."""

    def run(self) -> None:
        from rlgames.presets.lookup import PRESETS

        show("Games", ("game", "what to do", "seen by agents", "actions", "options"), map(game_row, GAMES))
        show("Agents", ("agent", "algorithm"), agent_summaries().items())
        rows = [(agent, game, str(one.envs), f"{one.steps:,}") for (agent, game), one in PRESETS.items()]
        show("Presets: what an agent learns with unless told otherwise", ("agent", "game", "players", "steps"), rows)


def agent_summaries() -> dict[str, str]:
    """What each agent's module says of it first, read without importing it, which would load torch."""
    found = {}
    for name in agents.AGENTS:
        module = ast.parse(Path(agents.__file__).with_name(f"{name}.py").read_text(encoding="utf-8"))
        found[name] = re.split(r" \(|[.:;]$|\. ", first_line(ast.get_docstring(module)).partition(": ")[2])[0]
    return found | {name: first_line(kind.__doc__).rstrip(".") for name, kind in agents.OTHERS.items()}


def game_row(name: str) -> tuple[str, ...]:
    entry, game = GAMES[name], rules(name)
    seen = default_pixels(name, {}).observation_space(game.observation)
    options = inspect.signature(import_module(entry.module).game).parameters.values()
    return (
        *(f"rlgames/{name}-v0", entry.summary, f"{' x '.join(map(str, seen.shape))} {seen.dtype}"),
        *(", ".join(game.actions), ", ".join(f"{option.name}={option.default}" for option in options)),
    )


@dataclass(frozen=True)
class Doctor:
    """Look at this machine: what works, what is missing, and what brings it."""

    def run(self) -> int:
        from rlgames.cli.doctor import examine

        findings = list(examine())
        show("This machine", ("what", "found", "remedy"), [finding[:3] for finding in findings])
        return int(any(finding.broken for finding in findings))


@dataclass(frozen=True)
class Demo:
    """Let PPO learn CatchBall before your eyes: score, curve and film in a minute."""

    out: Path = Path("runs/demo")  # an earlier demo there is overwritten
    steps: DisallowNone[int | None] = None  # of training; None: as the preset says

    def run(self) -> int:
        from rlgames.cli.demo import demo

        at_least(1, steps=self.steps)
        return demo(self.out, self.steps)
