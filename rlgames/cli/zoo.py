"""`rlgames zoo`: the trained agents that come with rlgames, and how well they play. It loads no torch."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from rlgames.cli.terminal import print_fields, wrap
from rlgames.zoo.manifest import Card, find_card, read_manifest
from rlgames.zoo.table import HEADER, RIGHT, table_rows

WIDE = 110  # columns of a terminal in which all of COLUMNS fit
COLUMNS = tuple(column for column in HEADER if column != "agent")  # which the name says
SHOWN = 16  # digits of a sha256
NARROW = ("name", "game", "mean", "95% interval", "worst 10%", "goal")


def zoo_command(name: str | None, as_json: bool) -> None:
    if name is not None:
        card = find_card(name)
        return print(json.dumps(asdict(card))) if as_json else print_card(name, card)
    cards = read_manifest()
    if as_json:
        return print(json.dumps({each: asdict(card) for each, card in cards.items()}))
    console = Console(file=sys.stdout, highlight=False)
    columns = COLUMNS if console.width >= WIDE else NARROW
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in RIGHT else "left", no_wrap=column != "game")
    for row in table_rows(cards):
        by_column = dict(zip(HEADER, row, strict=True))
        by_column["game"] = by_column["game"].replace(",", ", ")  # where a line may end
        table.add_row(*(by_column[column] for column in columns))
    console.print(table)
    print("\n" + wrap("rlgames zoo NAME says how one was trained; watch, evaluate and reproduce take its name."))
    return None


def print_card(name: str, card: Card) -> None:
    """Print what is known about a trained agent."""
    row = dict(zip(HEADER, table_rows({name: card})[0], strict=True))
    played = card.evaluation
    print_fields(
        name=name,
        agent=f"{card.agent} on {card.game}" + ("" if played["deterministic"] else ", actions sampled"),
        score=f"mean {row['mean']}, 95% interval {row['95% interval']}, median {row['median']}",
        worst_tenth=row["worst 10%"],
        goal=f"reached in {row['goal']} of the episodes" if row["goal"] else "the game knows none",
        episodes=f"{played['episodes']}, from seed {played['seed']}"
        + (f", {row['limit']} truncated after {played['max_steps']:,} steps" if played["max_steps"] else ""),
        trained=f"{row['steps']} steps" + (f" in {row['time']}" if row["time"] else ""),
        command=card.command or "none that trains it again is recorded",
        checkpoint=card.checkpoint or "not recorded",
        machine="; ".join(", ".join(machine.values()) for machine in card.machines) or "not recorded",
        weights=f"{card.bytes / 1e3:,.0f} kB, sha256 {card.sha256[:SHOWN]}...",
    )
