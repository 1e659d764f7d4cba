"""`rlgames evaluate`, `watch` and `page`: the commands on trained agents; `commands` has their options."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from rlgames import go_explore as ways
from rlgames.agents.base import Agent
from rlgames.agents.registry import load
from rlgames.checkpoint import weights_sha256
from rlgames.cli.commands import Evaluate, Export, Page, Watch
from rlgames.cli.options import check_device
from rlgames.cli.terminal import status, wrap
from rlgames.errors import NoRunError, UsageError
from rlgames.evaluation import UNSEEN_SEED, Evaluation, evaluate
from rlgames.networks.threads import torch_threads
from rlgames.recording import record, video_writer_class
from rlgames.runs.directory import find_checkpoint
from rlgames.web.live import watch_live
from rlgames.web.page import build_page, zoo_agents
from rlgames.zoo.manifest import Card, find_card, read_manifest, suggest
from rlgames.zoo.weights import FOLDER, find_weights


def evaluate_command(options: Evaluate) -> None:
    path, agent, card = load_trained(options.path, options.game, options.device, options.zoo)
    options = as_evaluated(options, card)
    result, facts = evaluate_agent(agent, options)
    lengths = result.lengths
    if options.json:
        return print(json.dumps({"path": str(path), **facts, "lengths": lengths}))
    print(f"{path}: {agent.name} after {agent.step:,} steps on {agent.task}")
    print_score(result)
    print(f"length  mean {sum(lengths) / len(lengths):,.1f} agent steps")


def evaluate_agent(agent: Agent, options: Evaluate | Export) -> tuple[Evaluation, dict[str, Any]]:
    """Evaluate an agent as the options say; return the results, and with the agent as JSON."""
    deterministic, limit = not options.sample, options.max_steps
    seed = UNSEEN_SEED if options.seed is None else options.seed
    with status("playing"), torch_threads(options.threads):
        result = evaluate(
            agent, episodes=options.episodes, seed=seed, deterministic=deterministic, max_episode_steps=limit
        )
    return result, evaluation_json(agent, result, seed, deterministic, limit)


def print_score(result: Evaluation) -> None:
    """Print the scores of an evaluation for people."""
    (low, high), n = result.interval, len(result.scores)
    print(f"score   mean {result.mean:,.1f}, 95% interval {low:,.1f} to {high:,.1f}, of {n} episode{'s' * (n > 1)}")
    print(
        f"        median {result.median:,.1f}, worst tenth {result.worst_tenth:,.1f}, "
        f"lowest {min(result.scores):,.1f}, highest {max(result.scores):,.1f}"
    )
    if result.wins is not None:
        print(f"goal    reached in {result.wins} of {n} episodes ({result.goal_share:.0%})")
    if result.capped:
        print(f"limit   {result.capped} of {n} episodes ({result.limit_share:.0%}) truncated by --max-steps")


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
        "goal_share": result.goal_share,
        "limit_share": result.limit_share,
        "mean": result.mean,
        "interval": list(result.interval),
        "median": result.median,
        "worst_tenth": result.worst_tenth,
        "std": result.std,
        "mean_length": sum(result.lengths) / len(result.lengths),
        "min": min(result.scores),
        "max": max(result.scores),
        "scores": result.scores,
        "weights_sha256": weights_sha256(agent.net.state_dict()),
    }


def watch_command(options: Watch) -> None:
    if options.path.suffix == ways.SUFFIX:
        return watch_way(options)
    path, agent, card = load_trained(options.path, options.game, options.device, options.zoo)
    deterministic = not options.sample and (card is None or card.evaluation["deterministic"])
    if options.live:
        seed = options.seed or 0
        with torch_threads(options.threads or 1):  # one observation at a time
            return watch_live(agent, host=options.host, port=options.port, seed=seed, deterministic=deterministic)
    beside = Path(f"{options.path.name}.gif") if card else path.with_suffix(".gif")
    out = options.film or (options.path / "film.gif" if options.path.is_dir() else beside)
    video_writer_class(out)
    with status("recording"), torch_threads(options.threads):
        recording = record(
            *(agent, out),
            episodes=options.episodes,
            seed=options.seed,
            deterministic=deterministic,
            seconds=options.seconds,
            size=options.size,
            captions=not options.no_captions,
        )
    print(f"{path}: {agent.name} after {agent.step:,} steps on {agent.task}")
    cut = f", cut off after {options.seconds:g} s: --seconds makes it longer" if recording.cut else ""
    print(f"score      {', '.join(f'{score:,.1f}' for score in recording.scores)}{cut}")
    if recording.candidates:
        played = ", ".join(f"{score:,.1f}" for score in recording.candidates)
        print(wrap(f"episode    seed {recording.seed}, the median of {played} with seeds 0 to 4", " " * 11))
    size = recording.path.stat().st_size / 1e3
    print(f"recording  {recording.path} ({recording.seconds:.1f} s, {size:,.0f} kB)")


def watch_way(options: Watch) -> None:
    """Record a way of `rlgames explore`; those options of `watch` that choose an agent's actions do not matter."""
    if options.live:
        raise UsageError(f"{options.path}: a way of rlgames explore plays as a film, not live: leave out --live")
    way = ways.Way.load(options.path)
    out = options.film or options.path.with_suffix(".gif")
    video_writer_class(out)
    with status("recording"):
        recording = record(
            *(ways.Replay(way), out, options.game or way.game),
            seed=way.seed,
            seconds=options.seconds,
            size=options.size,
            captions=not options.no_captions,
        )
    print(f"{options.path}: {len(way.actions):,} steps on {way.game}")
    print(f"score      {recording.scores[0]:,.1f}")
    print(f"recording  {recording.path} ({recording.seconds:.1f} s, {recording.path.stat().st_size / 1e3:,.0f} kB)")


def page_command(options: Page) -> None:
    for line in build_page(options.out, options.agents or zoo_agents()):
        print(wrap(line, "  "))
    print(f"serve it with: python -m http.server --directory {shlex.quote(str(options.out))}")


class Trained(NamedTuple):
    """An agent that a user named, by a path or as one of the zoo."""

    path: Path  # of its checkpoint
    agent: Agent
    card: Card | None  # of the zoo


def load_trained(path: Path, game: str | None, device: str, zoo: str | None = None) -> Trained:
    """Return the agent of a checkpoint, of a run, or of this name in the zoo, with a game to play.

    An agent of the zoo plays the game that it was evaluated on, if none is given.
    """
    check_device(device)
    name = zoo_name(path, zoo)
    card = None if name is None else find_card(name)
    if name is not None and card is not None:
        path, game = find_weights(name, zoo), game or card.game
    elif path.exists():
        path = find_checkpoint(path)
    else:
        raise NoRunError(
            f"{path}: no such file, and no trained agent has this name: {suggest(path.name)}rlgames zoo lists them"
        )
    agent = load(path, game, device=device, weights_only=True)
    if agent.task is None:
        raise UsageError(f"{path}: its agent was not made from a game's name: say what to play with --game")
    return Trained(path, agent, card)


def zoo_name(path: Path, zoo: str | None) -> str | None:
    """Return the name of an agent of the zoo that is written NAME or zoo/NAME; None for any other path.

    A file or folder NAME comes first, unless `zoo` says where the agent is.
    """
    *folder, name = path.parts or ("",)
    if name not in read_manifest() or folder not in ([], [FOLDER]):
        return None
    return None if not folder and not zoo and path.exists() else name


def as_evaluated(options: Evaluate, card: Card | None) -> Evaluate:
    """Return the options with what was not given taken from the evaluation of an agent of the zoo."""
    if card is None:
        return options
    played = card.evaluation
    options = replace(
        options,
        sample=options.sample or not played["deterministic"],
        max_steps=options.max_steps or played["max_steps"],
    )
    if options.game is not None:
        return options
    seed = played["seed"] if options.seed is None else options.seed
    return replace(options, episodes=options.episodes or played["episodes"], seed=seed)
