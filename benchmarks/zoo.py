"""Put a trained agent into the zoo, or evaluate one that is there again; nothing of the zoo is written by hand.

`python benchmarks/zoo.py NAME RUN` evaluates the agent of a run (its best checkpoint; or give the file of another) on
100 episodes that no training has seen, writes its weights to zoo/NAME/agent.ckpt and its entry to
rlgames/zoo/manifest.json, and renews the tables of zoo/README.md. `python benchmarks/zoo.py NAME` evaluates the agent
that is there again, `python benchmarks/zoo.py` only renews the tables.
"""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from tyro.conf import Positional

from rlgames.cli.commands import Export
from rlgames.cli.export import CARD
from rlgames.envs.task import Task
from rlgames.errors import UsageError
from rlgames.presets.lookup import resolve
from rlgames.runs.directory import EXPORTED, write_atomically
from rlgames.zoo.manifest import Card, find_card, read_manifest
from rlgames.zoo.table import markdown_table

ROOT = Path(__file__).parents[1]
ZOO, MANIFEST, README = ROOT / "zoo", ROOT / "rlgames" / "zoo" / "manifest.json", ROOT / "zoo" / "README.md"
LARGEST = 4.5e6  # bytes of an agent's weights


@dataclass(frozen=True)
class Options:
    """Put a trained agent into the zoo."""

    name: Positional[str | None] = None  # It has this name; None: only the tables are renewed.
    run: Positional[Path | None] = None  # It is in this run or checkpoint; None: the one that is there.
    game: str | None = None  # It is evaluated on this game; None: on that of its training.
    sample: bool = False  # Its actions are sampled from the policy.
    max_steps: int | None = None  # Episodes are truncated after this many agent steps.
    remove: bool = False  # It is taken out of the zoo.


def main(options: Options) -> None:
    read_manifest.cache_clear()
    cards = dict(read_manifest())
    if options.name is not None and not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", options.name):
        raise UsageError(f"expected a name of small letters, digits and hyphens, got {options.name!r}")
    if options.name is not None and options.remove:
        find_card(options.name)
        cards.pop(options.name)
        (ZOO / options.name / EXPORTED).unlink()
        (ZOO / options.name).rmdir()
    elif options.name is not None:
        cards[options.name] = add(options, cards.get(options.name))
    cards = {name: with_valid_command(card) for name, card in cards.items()}
    write_atomically(MANIFEST, as_text({name: asdict(cards[name]) for name in sorted(cards)}))
    title = README.read_text().partition("\n| ")[0]
    write_atomically(README, f"{title}\n{markdown_table(dict(sorted(cards.items())))}")


def with_valid_command(card: Card) -> Card:
    """Return the card, without its command if this version's preset has other preprocessing, rewards or episodes."""
    task = Task.from_json(card.task)
    return card if resolve(card.agent, str(task))[1] == task else replace(card, command=None)


def as_text(cards: dict[str, dict[str, Any]]) -> str:
    """Return the manifest as JSON, a line for each fact of an agent."""
    entries = []
    for name, card in cards.items():
        facts = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in card.items()]
        entries.append(f" {json.dumps(name)}: {{\n" + ",\n".join(facts) + "\n }")
    return "{\n" + ",\n".join(entries) + "\n}\n"


def add(options: Options, before: Card | None) -> Card:
    """Evaluate the agent, write its weights, and return its entry."""
    assert options.name
    file = ZOO / options.name / EXPORTED
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        Export(options.run or file, out, game=options.game, sample=options.sample, max_steps=options.max_steps).run()
        card = json.loads((out / CARD).read_text())
        if options.run is None and before is not None:  # how it was trained is in the manifest alone
            known = asdict(before)
            card |= {name: known[name] for name in ("command", "checkpoint", "training", "machines", "extended_from")}
            card |= {name: known[name] for name in ("training_seconds", "run_seconds")}
        if card["bytes"] > LARGEST:
            raise UsageError(f"{options.name} has {card['bytes']:,} bytes, the zoo takes up to {LARGEST:,.0f}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes((out / EXPORTED).read_bytes())
    return Card(**card)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
