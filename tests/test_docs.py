"""The documentation: its pages can be made, its Python runs, its commands have the options that they use."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import rlgames
from rlgames import engine
from rlgames.agents import AGENTS
from rlgames.cli import options
from rlgames.cli.main import COMMANDS, take_imports
from rlgames.envs.games import GAMES
from rlgames.envs.mario.rules import INFO
from rlgames.envs.task import Task

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "zoo" / "README.md", *sorted(DOCS.rglob("*.md"))]
SITE = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
SLOW = "<!-- slow -->"  # before a block of Python that takes long
BLOCK = re.compile(rf"(?P<slow>{SLOW}\n+)?```(?P<language>\w*)\n(?P<text>.*?)```", re.DOTALL)
PLACEHOLDERS = {
    "AGENT": "ppo",
    "GAME": "CatchBall",
    "RUN": "run",
    "FOLDER": "folder",
    "COMMAND": "train",
    "SHELL": "bash",
    "NAME": "none",
}
NOT_OURS = ("Mine", "Slalom", "cross-entropy", "sticky")  # of examples that register them


@pytest.fixture(scope="module")
def generate() -> Iterator[Any]:
    """The module that makes the generated parts."""
    pytest.importorskip("latex2mathml")
    sys.path.insert(0, str(DOCS))
    yield import_module("generate")
    sys.path.remove(str(DOCS))


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# ---- pages ----


def entries(nav: Any) -> Iterator[str]:
    """Yield the pages of a navigation."""
    if isinstance(nav, str):
        yield nav
    for each in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from entries(each)


def test_every_page_is_in_the_navigation_once() -> None:
    pages = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))
    assert sorted(entries(SITE["nav"])) == pages


def test_every_game_and_algorithm_has_a_page(generate: Any) -> None:
    assert {f"games/{generate.page_name(name)}.md" for name in GAMES} < set(entries(SITE["nav"]))
    assert {f"algorithms/{name}.md" for name in AGENTS} < set(entries(SITE["nav"]))
    assert all((DOCS / "pictures" / f"{generate.page_name(name)}.png").stat().st_size < 50_000 for name in GAMES)


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=name_of)
def test_links_lead_to_files(page: Path, generate: Any) -> None:
    text = generate.expand(page.read_text(encoding="utf-8").replace("<!-- generated: commands -->", ""))
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL))
    assert [link for link in links if not (page.parent / link).exists()] == []
    outside = [link for link in links if not (page.parent / link).resolve().is_relative_to(ROOT / "docs")]
    assert outside == []  # the site has no other files


def test_readme_is_short_and_its_links_lead_to_files() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_reference_has_everything_public() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    public = [f"rlgames.{name}" for name in rlgames.__all__] + [f"rlgames.engine.{name}" for name in engine.__all__]
    assert [name for name in public if not re.search(rf"^::: {name}$", text, re.MULTILINE)] == []


def test_page_of_mario_explains_its_information() -> None:
    page = (DOCS / "games" / "mario.md").read_text(encoding="utf-8")
    assert [key for key in INFO if f"`{key}`" not in page] == []


def test_settings_have_the_comments_and_defaults_of_the_code(generate: Any) -> None:
    table = generate.settings("ppo")
    assert "| `clip_range` | `0.2` | a number >= 0 | The probability ratio is clipped to within this of 1. |" in table
    assert "| `recurrent` | `False` | True or False |" in table


def test_results_are_the_tables_that_benchmarks_wrote(
    generate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    path = tmp_path / "games.json"
    monkeypatch.setattr(sys, "argv", ["anywhere/games.py", "--rounds", "3", "--json", str(path)])
    monkeypatch.setattr(generate, "RESULTS", tmp_path)
    tables = import_module("tables")
    for title, cell in (("Games", "1"), ("Learning", "2"), ("Games", "3")):  # the last replaces the first
        columns = {"what": "left", "rate": "right"}
        tables.Table(title, columns, [[title, cell]], ["A note."], ["rich"], seeds=range(2)).show(True, path)
    made = generate.results("games")
    assert made.startswith("**Games**\n\n| what | rate |\n| --- | ---: |\n| Games | 3 |\n\nA note.\n\n`python ")
    assert re.search(r"`python benchmarks/games.py --rounds 3`: .*; load average .*, rich [\d.]+; 20\d\d-", made)
    assert made.count("{ .origin }") == 2
    assert generate.results("games", "Learn").startswith("**Learning**")
    [entry, _] = generate.read_results("games").values()
    assert entry["seeds"] == [0, 1]


RESULTS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "benchmarks/results").glob("*")}
FACTS = ["command", "date", "commit", "changed", "machine", "seeds", "episodes", "columns", "rows", "notes"]


@pytest.fixture(scope="module")
def expanded(generate: Any) -> str:
    """All pages that have results, with them."""
    texts = [page.read_text(encoding="utf-8") for page in sorted(DOCS.rglob("*.md"))]
    lines = [
        line for text in texts for line in re.findall(r"^<!-- generated: (?:results|scores) .*$", text, re.MULTILINE)
    ]
    return generate.expand("\n\n".join(lines))


def filled(cells: list[str]) -> list[str]:
    """Return the cells of a row that have something in them."""
    return [cell.strip() for cell in cells if cell.strip()]


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_is_in_a_page(name: str, expanded: str) -> None:
    rows = [filled(line.strip("|").split("|")) for line in expanded.splitlines() if line.startswith("|")]
    for title, entry in RESULTS[name].items():
        assert [fact for fact in entry if fact != "values"] == FACTS, title
        assert f"`{entry['command']}`: " in expanded
        assert [row for row in entry["rows"] if filled(row) not in rows] == [], title


def test_readme_has_the_speeds_of_the_results(generate: Any) -> None:
    """`python docs/generate.py --readme` writes them."""
    assert f"\n{generate.speeds()}\n\n" in (ROOT / "README.md").read_text(encoding="utf-8")


NUMBER = re.compile(r"[-+<>]?\d[\d,.]*( ?[kM%]| ±.*| \(.*\))?")


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=name_of)
def test_no_table_of_results_was_typed(page: Path) -> None:
    rows = [line for line in BLOCK.sub("", page.read_text(encoding="utf-8")).splitlines() if line.startswith("|")]
    cells = {cell.strip() for row in rows for cell in row.strip("|").split("|")}
    assert [cell for cell in cells if NUMBER.fullmatch(cell)] == []


def test_unknown_part_raises(generate: Any) -> None:
    with pytest.raises(KeyError, match="nothing"):
        generate.expand("<!-- generated: nothing -->")


def test_formulas_become_mathml_but_not_in_code(generate: Any) -> None:
    text = "With $x^2$ and `$HOME/$x$`:\n\n```\n$a$\n```\n\n$$y$$\n"
    made = generate.formulas(text)
    assert made.count("<math") == 2
    assert "<msup>" in made
    assert "`$HOME/$x$`" in made
    assert "```\n$a$\n```" in made


@pytest.mark.slow
def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("zensical")
    for command in (["docs/generate.py"], ["-m", "zensical", "build", "--strict", "--clean"]):
        done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (ROOT / SITE["site_dir"] / "index.html").exists()


# ---- Python ----


def python_blocks(page: Path, slow: bool) -> list[str]:
    """Return the blocks of Python of a page, in order; those that take long only if `slow`."""
    blocks = [match for match in BLOCK.finditer(page.read_text(encoding="utf-8")) if match["language"] == "python"]
    return [block["text"] for block in blocks if slow or not block["slow"]]


def is_slow(page: Path) -> bool:
    return len(python_blocks(page, slow=True)) > len(python_blocks(page, slow=False))


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page, slow=False)], ids=name_of)
def test_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page are one session."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in python_blocks(page, slow=False):
        exec(compile(block, name_of(page), "exec"), namespace)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if is_slow(page)], ids=name_of)
def test_python_that_takes_long_runs_as_a_script(page: Path, tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text("\n".join(python_blocks(page, slow=True)), encoding="utf-8")
    command = [sys.executable, script.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ---- commands ----


def commands(page: Path) -> Iterator[str]:
    """Yield the command lines of rlgames in a page's blocks without a language, and in its text."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        if not match["language"]:
            yield from (line for line in match["text"].splitlines() if line.startswith("rlgames "))
    yield from re.findall(r"`(rlgames [^`\n]+)`", BLOCK.sub("", text))


LINES = sorted({line for page in [*PAGES, ROOT / "CONTRIBUTING.md"] for line in commands(page)})


def parse(line: str) -> None:
    """Parse a command line as rlgames does, without running it. Raises UsageError for one that it does not take."""
    words = shlex.split(re.split(r" [>|] ", line)[0].replace("train ...", "train ppo CatchBall"), comments=True)[1:]
    words = [PLACEHOLDERS.get(word, word) for word in words]
    [name, *rest], _ = take_imports(words)
    if name.startswith("--") or "--help" in rest or not rest:
        return
    command = getattr(import_module(COMMANDS[name].module), COMMANDS[name].attribute)
    if is_dataclass(command):
        options.parse(command, name, rest)
    elif name == "train" and not any(own in word for own in NOT_OURS for word in rest[:2]):
        default = import_module("rlgames.cli.run").train_options(rest[0], Task.parse(rest[1]))
        options.parse(type(default), name, rest[2:], default=default)


def test_there_are_commands() -> None:
    assert len(LINES) > 50


def test_commands_have_the_options_that_pages_use() -> None:
    refused = {}
    for line in LINES:
        try:
            parse(line)
        except Exception as error:  # noqa: BLE001  all lines are listed, whatever is wrong with them
            refused[line] = repr(error)
    assert refused == {}


# ---- the film of README ----


def test_film_shows_all_games_and_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    film = import_module("film")
    path = DOCS / "games.webp"
    assert path.stat().st_size <= film.LARGEST
    rows = -(-len(film.AGENTS) // film.COLUMNS)
    size = (film.COLUMNS * (film.PICTURE[0] + film.GAP), rows * (film.PICTURE[1] + film.STRIP + film.GAP))
    with Image.open(path) as frames:
        assert (frames.width + film.GAP, frames.height + film.GAP) == size
        assert frames.n_frames == film.SECONDS * film.RATE  # pyright: ignore[reportAttributeAccessIssue]  animated
    assert sorted(film.AGENTS) == sorted(game for game in GAMES if game != "ChromeDino")


def test_film_names_the_games_without_an_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    film = import_module("film")
    monkeypatch.setattr(film, "ZOO", tmp_path)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "card.json").write_text('{"task": {"game": "Cave"}}')
    with pytest.raises(SystemExit, match="no agent of CatchBall, CartPole, Dino, Pong, Mario: give folders that rlg"):
        film.find_agents([folder])
