"""Parts of the documentation that are made of the code, the manifest of the zoo and the results of the benchmarks.

A line `<!-- generated: NAME ARGUMENTS -->` in a page is replaced by what the function of that name in `PARTS` returns,
Markdown. Formulas between dollars, `$x$` and `$$x$$` as on GitHub, become MathML, which browsers display without a
program.

    python docs/generate.py           # all pages into build/docs-pages, of which `zensical build` makes the site
    python docs/generate.py --readme  # the table of speeds in README.md, of the results of the benchmarks
"""

from __future__ import annotations

import ast
import inspect
import io
import json
import re
import shutil
import sys
import textwrap
import tokenize
import tomllib
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints
from unittest.mock import patch

from gymnasium.spaces import Box
from latex2mathml.converter import convert

from rlgames.agents.registry import find
from rlgames.cli.main import COMMANDS
from rlgames.cli.main import main as command_line
from rlgames.envs.registry import GAMES, SHARED_OPTIONS, default_pixels, load_game, module_of
from rlgames.envs.task import Task
from rlgames.go_explore import Way
from rlgames.presets.lookup import BY_GAME
from rlgames.presets.preset import changed_fields
from rlgames.values import describe
from rlgames.zoo.manifest import Card, read_manifest
from rlgames.zoo.table import HEADER, RIGHT, duration, table_rows

DOCS = Path(__file__).parent
ROOT = DOCS.parent
RESULTS = ROOT / "benchmarks" / "results"
WAYS = ROOT / "zoo" / "ways"  # of `rlgames explore`, one a stage
MARK = re.compile(r"^<!-- generated: (.+) -->$", re.MULTILINE)
FEW = 16  # actions that are listed one by one
SECTIONS = ("Observation space", "Action space", "Rewards", "Termination", "Truncation")  # of a game's docstring
CONSOLE_WIDTH = 80


# ---- Markdown ----


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; a header that ends with a colon is aligned to the right."""
    lines = [header, ["---:" if name.endswith(":") else "---" for name in header], *rows]
    lines[0] = [name.removesuffix(":") for name in header]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(value: object) -> str:
    return f"`{value}`"


def fenced(text: str, language: str = "") -> str:
    return f"```{language}\n{text.strip()}\n```"


# ---- games ----


def game_doc(name: str) -> tuple[str, dict[str, str], str]:
    """Return what a game's docstring says before its sections, in them by their names, and after them."""
    doc = inspect.getdoc(import_module(module_of(name).game.__module__)) or ""
    headings = "|".join(SECTIONS)
    before, *parts = re.split(rf"^({headings}): ", doc, flags=re.MULTILINE)
    found = {}
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        first = " ".join(text.partition("\n\n")[0].split())
        found[title] = capital(first)
    missing = set(SECTIONS) - set(found)
    assert not missing, f"the docstring of {name} does not say {missing}"
    after = parts[-1].partition("\n\n")[2]
    summary, _, rest = before.partition(": ")[2].strip().partition("\n")
    return f"{capital(summary)}\n{rest}", found, after


def capital(text: str) -> str:
    """Return the text with a capital letter, unless it begins with an address such as chrome://dino."""
    return text if "://" in text.partition(" ")[0] else text[:1].upper() + text[1:]


def space(box: Box) -> str:
    low, high = box.low.min(), box.high.max()
    bounds = f", {low:g} to {high:g}" if box.dtype == "uint8" else ""
    return f"`Box({box.shape}, {box.dtype})`{bounds}"


def games() -> str:
    rows = []
    for name, spec in GAMES.items():
        game = load_game(name)
        rows.append(
            (
                f"[{name}]({page_name(name)}.md)",
                f"`rlgames/{name}-v0`",
                spec.summary,
                " x ".join(map(str, default_pixels(name, {}).observation_space(game.observation).shape)),
                len(game.actions),
            )
        )
    return table(["Game", "Id", "What to do", "Agents observe", "Actions:"], rows)


def gallery() -> str:
    """Return the pictures of all games, each a link to its page."""
    pictures = [f"[![{name}](../pictures/{page_name(name)}.png)<br>{name}]({page_name(name)}.md)" for name in GAMES]
    items = "\n\n".join(f"- {picture}" for picture in pictures)
    return f'<div class="gallery" markdown>\n\n{items}\n\n</div>'


def page_name(game: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", game).lower()


def game(name: str) -> str:
    """Return the parts that the pages of all games have."""
    picture = f"![{name}](../pictures/{page_name(name)}.png){{ .game }}"
    anchor = "dino" if name == "ChromeDino" else name.lower()  # an agent of one plays the other
    link = f"[Scores](../results.md#{anchor}) has those of the presets, with seeds and times."
    scores = f"## Best scores\n\n{zoo(name)}\n\n{link}"
    sections = [picture, game_summary(name), game_rules(name), information(name), "## Options", game_options(name)]
    return "\n\n".join([*sections, "## Presets", game_presets(name), scores])


def game_summary(name: str) -> str:
    """Return the table of facts at the top of a game's page, as Gymnasium has it."""
    game, pixels = load_game(name), default_pixels(name, {})
    rows = [
        ("Id", f'`gymnasium.make("rlgames/{name}-v0")`, `gymnasium.make_vec("rlgames/{name}-v0", n)`'),
        ("Action space", f"`Discrete({len(game.actions)})`"),
        ("Observation space", space(game.observation)),
        ("As agents see it", f'`rlgames.make("{name}")`: {space(pixels.observation_space(game.observation))}'),
        ("Preprocessing", f"`{changed_fields(pixels)}`"),
        ("Frames a second", game.fps),
    ]
    return table(["", name], rows)


def game_rules(name: str) -> str:
    """Return description, spaces, rewards, end, options and information of a game."""
    before, sections, after = game_doc(name)
    game = load_game(name)
    keys: dict[int, list[str]] = {}
    for pressed, action in game.keys.items():
        keys.setdefault(action, []).append(key_names(pressed))
    text = ["## Description", before, after, "## Action space", sections["Action space"]]
    if len(game.actions) <= FEW:
        rows = [(i, action, ", ".join(keys.get(i, ()))) for i, action in enumerate(game.actions)]
        text.append(table(["Action:", "Meaning", "Key to play"], rows))
    text += ["## Observation space", sections["Observation space"]]
    text += ["## Rewards", sections["Rewards"], "## End of an episode"]
    text += [f"**Termination.** {sections['Termination']}", f"**Truncation.** {sections['Truncation']}"]
    text += ["Episodes start in the state that the seed of `reset(seed=...)` decides."]
    return "\n\n".join(part for part in text if part)


def key_names(pressed: str | tuple[str, ...]) -> str:
    """Return the keys that are pressed together, as "`a` `space`"."""
    keys = [pressed] if isinstance(pressed, str) else pressed
    return " ".join(code("space" if key == " " else key) for key in keys) or "none"


def information(name: str) -> str:
    """Return the keys of a game's information; the page of Mario, which has many, explains them itself."""
    if name == "Mario":
        return ""
    more = getattr(load_game(name), "info", {})
    assert not more, f"{name} has information that its page does not explain: {', '.join(more)}"
    about = '`info["score"]` is the score of the episode so far. In vector environments it is an array, and'
    return f"## Information\n\n{about} `_score` says which entries count."


def game_options(name: str) -> str:
    """Return the table of a game's options, its own and those of every game."""
    module = module_of(name)
    listed, types = getattr(module, "STORED_STRINGS", {}), get_type_hints(module.game)
    rows = [
        (code(p.name), code(json.dumps(p.default)), listed_values(listed.get(p.name)) or allowed(types[p.name]))
        for p in inspect.signature(module.game).parameters.values()
    ]
    shared = ", ".join(code(option) for option in SHARED_OPTIONS)
    others = f"{shared} are options of `rlgames.make` for [every game](index.md)."
    if not rows:
        return f"It has none of its own. {others}"
    about = (inspect.getdoc(module.game) or "").partition("Raises ")[0].strip()
    return "\n\n".join([re.sub(r"^Return .*?\. ?", "", about), table(["Option", "Default", "Allowed"], rows), others])


def listed_values(pattern: str | None) -> str:
    return ", ".join(map(code, pattern.split("|"))) if pattern and re.fullmatch(r"[\w|-]+", pattern) else ""


def game_presets(name: str) -> str:
    """Return which agents have tuned settings for a game."""
    rows = [
        (f"[{agent.upper()}](../algorithms/{agent}.md)", code(game), f"{preset.steps:,}", preset.envs)
        for game, presets in BY_GAME.items()
        if Task.parse(game).game == name
        for agent, preset in presets.items()
    ]
    if not rows:
        return f"`{name}` has no presets of its own."
    return table(["Agent", "Game", "Steps:", "Environments:"], rows)


# ---- the zoo ----


def zoo(game: str = "") -> str:
    """Return the trained agents, of one game or of all, with their scores."""
    left_out = ("median", "limit")
    columns = [column for column in HEADER if column not in left_out]
    rows = []
    for row in table_rows(read_manifest()):
        cells = dict(zip(HEADER, row, strict=True))
        if game in ("", Task.parse(cells["game"]).game):
            cells |= {"name": code(cells["name"]), "game": code(cells["game"])}
            rows.append([cells[column] for column in columns])
    if not rows:
        return "The zoo has no agent of it yet."
    titles = [f"{column.capitalize()}:" if column in RIGHT else column.capitalize() for column in columns]
    return table(titles, rows)


def mario_stages() -> str:
    """Return the stages of Mario with their agents, and with the ways that Go-Explore found."""
    agents = {}
    for name, card in read_manifest().items():
        task = Task.parse(card.game)
        if task.game == "Mario" and "world" in task.options:
            agents.setdefault((task.options["world"], task.options["stage"]), []).append((name, card))
    rows = []
    for world, stage in product(range(1, 9), range(1, 5)):
        path = WAYS / f"{world}-{stage}.json"
        best = f"{len(Way.load(path).actions):,}" if path.exists() else ""
        first, *others = agents.get((world, stage)) or [None]
        rows.append((f"{world}-{stage}", *(stage_cells(*first) if first else [""] * 6), best))
        rows += [("", *stage_cells(*other), "") for other in others if other]
    header = ["Stage", "Agent", "At the goal:", "Mean score:", "Its steps:", "Trained for:", "Time:", "Best known:"]
    return table(header, rows)


def stage_cells(name: str, card: Card) -> tuple[str, ...]:
    played = card.evaluation
    length = played.get("mean_length")
    return (
        code(name),
        f"{played['wins']} of {played['episodes']}",
        f"{played['mean']:,.0f}",
        "" if length is None else f"{length:,.0f}",
        f"{card.step:,}",
        duration(card.training_seconds),
    )


# ---- algorithms ----


class Field(NamedTuple):
    """A field of a dataclass or named tuple, as it is written."""

    name: str
    annotation: str
    default: str
    comment: str


def read_fields(owner: type) -> list[Field]:
    """Return the fields of a class with the comments behind them, which are their help texts."""
    source = textwrap.dedent(inspect.getsource(owner))
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    [definition] = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    found = []
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            comment = next((comments[line] for line in lines if line in comments), "")
            default = ast.unparse(node.value) if node.value else ""
            found.append(Field(node.target.id, ast.unparse(node.annotation), default, comment))
    return found


def fields(path: str) -> str:
    """Return the fields of a class given by its module and name, in a table."""
    module, _, name = path.rpartition(".")
    rows = [
        (code(field.name), code(field.annotation), code(field.default) if field.default else "", field.comment)
        for field in read_fields(getattr(import_module(module), name))
    ]
    return table(["Field", "Type", "Default", "Meaning"], rows)


def settings(agent: str) -> str:
    """Return every setting of an algorithm, its default, what is allowed, and its help text."""
    config = find(agent).Config
    types = get_type_hints(config, include_extras=True)
    rows = [(code(f.name), code(f.default), allowed(types[f.name]), f.comment) for f in read_fields(config)]
    return table(["Setting", "Default", "Allowed", "Meaning"], rows)


def allowed(annotation: Any) -> str:
    """Return what an annotation allows, in words; upper limits that no setting comes near are left out."""
    text = re.sub(r" in 0\.\.1000000| in 0\.\.1e\+38", " >= 0", describe(annotation))
    text = re.sub(r" above 0 and up to (1000000|1e\+38)", " > 0", text)
    return re.sub(r"'([\w-]+)'", r"`\1`", text)


def presets(agent: str) -> str:
    """Return the settings of an agent's presets that differ from its defaults, a preset a row."""
    rows = [
        (
            code(game),
            f"{preset.steps:,}",
            preset.envs,
            ", ".join(f"`{name}={value!r}`" for name, value in preset.config.items()) or "the defaults",
        )
        for game, by_agent in BY_GAME.items()
        if (preset := by_agent.get(agent)) is not None
    ]
    if not rows:
        return "It has no presets."
    return table(["Game", "Steps:", "Environments:", "Settings that differ from the defaults"], rows)


# ---- files, examples and commands ----


def file(path: str) -> str:
    """Return a page of the repository without its title; links to files of the repository point to where they are."""
    text = (ROOT / path).read_text(encoding="utf-8").partition("\n")[2]
    return re.sub(r"\]\(docs/", "](", text)


def source(path: str) -> str:
    """Return a file of the repository as code."""
    return fenced((ROOT / path).read_text(encoding="utf-8"), "python")


def module(name: str) -> str:
    """Return the docstring of a module but for its first paragraph, tables of text kept as they are."""
    doc = (inspect.getdoc(import_module(name)) or "").partition("\n\n")[2]
    return "\n\n".join(fenced(part, "text") if "   " in part else part for part in doc.split("\n\n"))


def example(name: str) -> str:
    """Return the docstring of an example."""
    path = ROOT / "examples" / f"{name}.py"
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def example_code(name: str) -> str:
    """Return the code of an example after its docstring, folded."""
    text = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8").split('"""', 2)[2]
    return f'??? note "The code, examples/{name}.py"\n\n' + textwrap.indent(fenced(text, "python"), "    ")


def notebook(name: str) -> str:
    """Return the cells of a notebook of examples/ but for its title."""
    cells = json.loads((ROOT / "examples" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    texts[0] = texts[0].partition("\n")[2]
    return "\n\n".join(
        fenced(text, "python") if cell["cell_type"] == "code" else text for cell, text in zip(cells, texts, strict=True)
    )


def commands() -> str:
    """Return the help of each command, as a terminal of 80 columns shows it."""
    text = []
    for name, spec in COMMANDS.items():
        arguments = [name, "ppo", "CatchBall"] if name == "train" else [name]
        text += [f"## rlgames {name}", spec.summary, fenced(help_of(arguments), "text")]
    return "\n\n".join(text)


def help_of(arguments: list[str]) -> str:
    output = io.StringIO()
    try:
        with redirect_stdout(output), patch.dict("os.environ", {"COLUMNS": str(CONSOLE_WIDTH), "NO_COLOR": "1"}):
            command_line([*arguments, "--help"])
    except SystemExit:
        pass
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines())


# ---- results of benchmarks ----


def results(name: str, *words: str) -> str:
    """Return the tables of benchmarks/results/NAME.json whose titles begin with the words, and how they were made."""
    if not (RESULTS / f"{name}.json").exists():
        return f"Not measured yet: `bash benchmarks/all.sh {name}` makes this table."
    start, text = " ".join(words), []
    for title, entry in read_results(name).items():
        if title.startswith(start):
            rows = table(right_aligned(entry["columns"]), entry["rows"])
            text += [f"**{title}**", rows, *entry["notes"], origin(entry)]
    assert text, f"{name}.json has no table {start!r}"
    return "\n\n".join(text)


def scores(*games: str) -> str:
    """Return the scores of the presets on these games with any options, one table of what was trained game by game.

    Columns that are empty, as "limit" where no episode is truncated, are left out.
    """
    entries = [
        entry
        for game in games
        for entry in read_results("scores").values()
        if Task.parse(entry["rows"][0][1].strip("`")).game == game
    ]
    assert entries, f"scores.json has nothing of {games}"
    rows = sorted((row for entry in entries for row in entry["rows"]), key=lambda row: row[1])
    heads = right_aligned(entries[0]["columns"])
    kept = [i for i in range(len(heads)) if any(row[i] for row in rows)]
    shown = table([heads[i] for i in kept], [[row[i] for i in kept] for row in rows])
    return "\n\n".join([shown, *dict.fromkeys(map(origin, entries))])


def read_results(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def right_aligned(columns: dict[str, str]) -> list[str]:
    return [f"{head}:" if side == "right" else head for head, side in columns.items()]


def origin(entry: dict[str, Any]) -> str:
    """Return how a table was made: its command, the machine, date and commit."""
    m, commit = entry["machine"], entry["commit"]
    machine = [
        m["processor"],
        f"{m['cores']} core{'s' * (m['cores'] > 1)}",
        m["memory"] and f"{m['memory']} GB",
        m["instruction_set"],
        m["gpu"],
    ]
    facts = [
        ", ".join(filter(None, machine)),
        "" if m["load"] is None else f"load average {m['load']:.1f} at the start",
        ", ".join(f"{name} {number}" for name, number in m["versions"].items()),
        f"{entry['date']}, commit {commit}{' with changes' * entry['changed']}" if commit else entry["date"],
    ]
    return f"`{entry['command']}`: {'; '.join(filter(None, facts))}.\n{{ .origin }}"


SPEEDS = "| what | | measured by |"  # head of the table of README


def speeds() -> str:
    """Return the table of speeds of README, of the results of three benchmarks; what was not measured is left out."""
    lines = [SPEEDS, "|---|---|---|"]
    if found := find_row("games", "Games", "CartPole"):
        cells, command = found
        more = float(cells["ours / peer's"].partition(" ")[0])  # the median, before the spread
        lines.append(
            f"| CartPole, {cells['envs']} environments | {more:.0f} times EnvPool's steps a second | {command} |"
        )
    if found := find_row("cart_pole", "PPO on CartPole", "median"):
        cells, command = found
        seconds = f"{cells['seconds to solved, ours']} s; Stable-Baselines3 {cells['seconds to solved, SB3']} s"
        lines.append(f"| PPO on CartPole until the greedy policy's mean is 475 | {seconds} | {command} |")
    if found := find_row("pong", "Pong", "PPO learns"):
        cells, command = found
        more = cells["ours / peer's"].partition(" ")[0]
        lines.append(f"| PPO on Pong from pixels | {more} times Stable-Baselines3's steps a second | {command} |")
    return "\n".join(lines)


def find_row(name: str, title: str, first: str) -> tuple[dict[str, str], str] | None:
    """Return the cells by their heads of the row that begins with `first`, and the command of its table."""
    tables = read_results(name) if (RESULTS / f"{name}.json").exists() else {}
    for own_title, entry in tables.items():
        for row in entry["rows"]:
            if own_title.startswith(title) and row[0] == first:
                return dict(zip(entry["columns"], row, strict=True)), code(entry["command"])
    return None


def renew_readme(path: Path = ROOT / "README.md") -> None:
    """Write the table of speeds into README."""
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(rf"^{re.escape(SPEEDS)}\n(\|.*\n)*", lambda _: f"{speeds()}\n", text, flags=re.MULTILINE))


PARTS: dict[str, Callable[..., str]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        *(games, gallery, game, zoo, mario_stages),
        *(settings, presets, fields, file, module, source, example, example_code, notebook, commands, results, scores),
    )
}


def expand(markdown: str) -> str:
    """Return a page with its generated parts. Raises KeyError for a part that does not exist."""

    def part(match: re.Match[str]) -> str:
        name, *arguments = match[1].split()
        return PARTS[name](*arguments)

    return MARK.sub(part, markdown)


# ---- formulas ----

FENCE = re.compile(r"(^ *```.*?^ *```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<![\\\w$])\$(?! )([^$\n]+?)(?<! )\$(?!\w)", re.DOTALL)


def formulas(markdown: str) -> str:
    """Return the page with MathML in place of formulas, but for those in code."""

    def mathml(match: re.Match[str]) -> str:
        block = match[1] is not None
        formula = convert(match[1] or match[2], display="block" if block else "inline")
        return f'<div class="formula">{formula}</div>' if block else f"<span>{formula}</span>"

    parts = FENCE.split(markdown)
    return "".join(part if i % 2 else FORMULA.sub(mathml, part) for i, part in enumerate(parts))


# ---- writing the pages ----


def main() -> None:
    """Write the pages, and copy what belongs to them, into the folder that zensical.toml names."""
    pages = ROOT / tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["docs_dir"]
    shutil.rmtree(pages, ignore_errors=True)
    for path in sorted(DOCS.rglob("*")):
        target = pages / path.relative_to(DOCS)
        if path.suffix == ".md":
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(formulas(expand(path.read_text(encoding="utf-8"))), encoding="utf-8")
        elif path.is_file() and path.suffix != ".py":
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


if __name__ == "__main__":
    renew_readme() if sys.argv[1:] == ["--readme"] else main()
