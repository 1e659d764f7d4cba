"""Cave against its rules written down plainly, as lists of columns and blocks; and what its picture promises."""

from collections.abc import Callable, Iterable
from math import ceil, floor

import numpy as np
import pytest
from helpers.cave_search import gates, plan
from helpers.games import SplitMix64, game_of, random_actions, single
from hypothesis import given, settings
from hypothesis import strategies as st

from rlgames.engine.rng import stream
from rlgames.engine.single_env import GameEnv
from rlgames.envs import cave
from rlgames.envs.task import Task

WALL, BLOCK, TAIL, PLAYER = 102, 127, 204, 255


class Cave:
    """The rules, in their order. Positions are compared on the screen, where the player is at row 24."""

    def __init__(self, dice: SplitMix64):
        self.dice = dice

    def reset(self) -> None:
        self.y, self.speed = 24.0, 0.0
        self.size, self.centre, self.slope = 0.55, 0.5, 0
        self.columns = [(self.size, self.centre)] * 48
        self.blocks: list[list[int]] = []  # left column, top
        self.tail = [self.y] * 15
        self.frames, self.since = 0, 0

    def step(self, action: int) -> tuple[float, bool, bool]:
        self.frames += 1
        before = self.y
        self.speed += {0: +0.08, 1: -0.08}[action]
        self.y += self.speed
        self.scroll()
        self.tail = [*self.tail[1:], before]
        self.move_blocks()
        if self.crashed():
            return -1.0, True, False
        return 0.0, False, self.frames == 10_000

    def scroll(self) -> None:
        self.columns.pop(0)
        if self.frames % 51 == 0:
            self.size = max(self.size - 0.01, 0.3)
        up, down = 0.6, 0.4
        if self.slope == +1:
            up = 0.2
        if self.slope == -1:
            down = 0.8
        u = self.dice.uniform()
        if u > up:
            self.centre += 0.1 * (u - 0.6)
            self.slope = +1
        elif u < down:
            self.centre -= 0.1 * (0.4 - u)
            self.slope = -1
        else:
            self.slope = 0
        self.columns.append((self.size, self.centre))

    def move_blocks(self) -> None:
        for block in self.blocks:
            block[0] -= 1
        self.since += 1
        if self.since > 20 and self.frames > 50:
            self.since = 0
            ceiling, bottom = self.edges(*self.columns[-1])
            tops = range(ceil(ceiling), floor(bottom) - 6 + 1)
            self.blocks.append([47, tops[floor(self.dice.uniform() * len(tops))]])
        self.blocks = [block for block in self.blocks if block[0] + 2 > 0]

    def edges(self, size: float, centre: float) -> tuple[float, float]:
        return (centre - size / 2) * 48, (centre + size / 2) * 48

    def what_is_at(self, row: float, column: int) -> int:
        """Nothing, wall or block at a place on the screen."""
        up = 24 - self.y
        ceiling, bottom = self.edges(*self.columns[column])
        for left, top in self.blocks:
            if left <= column < left + 2 and top + up <= row <= top + up + 6:
                return BLOCK
        return 0 if ceiling + up < row < bottom + up else WALL

    def crashed(self) -> bool:
        return self.what_is_at(24, 15) != 0

    def picture(self) -> np.ndarray:
        picture = np.array([[self.what_is_at(row, column) for column in range(48)] for row in range(48)], np.uint8)
        for column, height in enumerate(self.tail):
            row = floor(height + 24 - self.y + 0.5)
            if 0 <= row < 48:
                picture[row, column] = TAIL
        picture[24, 15] = PLAYER
        return picture


class SmoothCave(Cave):
    """The antialiased picture: a cell is as bright as the greatest share of something that covers it."""

    def picture(self) -> np.ndarray:
        up, picture = 24 - self.y, np.zeros((48, 48))

        def near(distance: float) -> float:
            return min(max(1 - distance, 0), 1)  # from a cell's row to where something begins; 0 or less: inside

        for row in range(48):
            for column, (ceiling, bottom) in enumerate(self.edges(*c) for c in self.columns):
                wall = max(near(row - ceiling - up), near(bottom + up - row))
                block = [near(max(t + up - row, row - t - up - 6)) for c, t in self.blocks if c <= column < c + 2]
                lit = [BLOCK * share for share in block]
                if column < 15:
                    lit.append(TAIL * near(abs(self.tail[column] + up - row)))
                picture[row, column] = max([BLOCK if 1 in block else WALL * wall, *lit])
        picture[24, 15] = PLAYER
        return np.floor(picture + 0.5).astype(np.uint8)


def against_the_rules(
    seed: int, actions: Iterable[int], look: Callable[[int], bool] = lambda step: True, smooth: bool = False
) -> list[int]:
    """Plays both side by side, compares the pictures at the steps to `look` at; returns how long episodes lasted."""
    dice = SplitMix64(int(stream(seed)))
    env, rules = single("Cave:antialias=true" if smooth else "Cave"), (SmoothCave if smooth else Cave)(dice)
    obs, _ = env.reset(seed=seed)
    rules.reset()
    assert np.array_equal(obs, rules.picture())
    lengths = []
    for step, action in enumerate(actions):
        obs, *outcome, info = env.step(action)
        expected = rules.step(action)
        assert tuple(outcome) == expected
        assert info["score"] == rules.frames
        s = env.snapshot()["records"][0]
        assert (s["y"], s["speed"], s["size"], s["centre"]) == (rules.y, rules.speed, rules.size, rules.centre)
        over = expected[1] or expected[2]
        if look(step) or over:
            assert np.array_equal(obs, rules.picture())
        if over:
            lengths.append(rules.frames)
            obs, _ = env.reset()
            rules.reset()
    return lengths


def steady(seed: int, steps: int) -> list[int]:
    """A player who keeps near the middle and does not look at blocks, and is careless at times."""
    chance, env, actions = np.random.default_rng(seed), single("Cave"), []
    env.reset(seed=seed)
    for _ in range(steps):
        s = env.snapshot()["records"][0]
        ahead = (s["left"] + 15 + np.arange(12)) % 48
        middle = (s["ceiling"][ahead] + s["floor"][ahead]).mean() / 2
        careful = int(s["y"] + 8 * s["speed"] > middle)
        actions.append(careful if chance.random() < 0.98 else int(chance.integers(2)))
        if env.step(actions[-1])[2]:
            env.reset()
    return actions


@pytest.mark.parametrize("seed", range(3))
def test_random_players_follow_the_rules(seed: int) -> None:
    lengths = against_the_rules(seed, random_actions("Cave", seed, 400))
    assert len(lengths) > 1


@pytest.mark.parametrize("seed", range(3))
def test_steady_players_follow_the_rules(seed: int) -> None:
    """Most end at a block, in their first or a later cave."""
    lengths = against_the_rules(seed, steady(seed, 500), lambda step: step % 7 == 0)
    assert max(lengths) > 80


@pytest.mark.parametrize("seed", range(2))
def test_the_antialiased_picture_tells_how_near_things_are(seed: int) -> None:
    lengths = against_the_rules(seed, steady(seed, 300), lambda step: step % 5 == 0, smooth=True)
    assert max(lengths) > 80


def test_antialias_is_true_or_false() -> None:
    with pytest.raises(ValueError, match="expected Cave's antialias to be True or False, got 2"):
        game_of("Cave:antialias=2")


def test_an_agent_sees_any_cave_as_it_has_learnt_to() -> None:
    own = Task.parse("Cave:frame_skip=4,antialias=true")
    assert Task.parse("Cave").as_learnt(own).options == own.options
    assert Task.parse("Cave:antialias=false").as_learnt(own).options == {"frame_skip": 4, "antialias": False}


def test_a_player_who_knows_the_cave_follows_the_rules_to_the_end() -> None:
    """All 10,000 steps of a cave, past 473 blocks and long after it has become as narrow as it gets."""
    actions = plan(gates(seed=5, steps=10_000))
    assert against_the_rules(5, actions, lambda step: step % 97 == 0) == [10_000]


def drawn_under_the_player(env: GameEnv) -> int:
    """What the picture has at the player's row in a cave that is like column 15 there: column 16, moved there."""
    game = game_of("Cave")
    place = env.snapshot()
    s = place["records"][0]
    s["left"] = (s["left"] - 1) % cave.SIZE
    s["block_column"][s["block_column"] != cave.GONE] += 1
    picture = np.empty((1, *game.observation.shape), np.uint8)
    game.loops[0](place["records"], np.zeros(1, np.bool_), picture)
    return int(picture[0, cave.EYE, cave.PLAYER + 1])


def test_a_crash_is_what_the_picture_shows() -> None:
    """Over many players, the player's row lies in a wall or block exactly when the player has crashed."""
    seen = set()
    for seed in range(3):
        env = single("Cave")
        env.reset(seed=seed)
        for action in [*steady(seed, 400), *random_actions("Cave", seed, 200)]:
            _, _, crashed, _, _ = env.step(int(action))
            under = drawn_under_the_player(env)
            assert crashed == (under in (WALL, BLOCK))
            seen.add(under)
            if crashed:
                env.reset()
    assert seen == {0, WALL, BLOCK}


@settings(max_examples=200, deadline=None)
@given(
    edge=st.sampled_from(["ceiling", "floor", "top", "bottom"]),
    y=st.sampled_from([0.0, 0.1, 3.0, 12.0, 24.0, 26.0, -6.0, -100.0]),
    past=st.integers(-4, 4),
    half=st.booleans(),
    left=st.integers(14, 15),
    at=st.integers(0, 47),
)
def test_on_an_edge_rounding_decides_alike(edge: str, y: float, past: int, half: bool, left: int, at: int) -> None:
    """A player within a few roundings of an edge: judged by the rules in plain Python, drawn by the compiled ones."""
    env = single("Cave")
    env.reset(seed=0)
    place = env.snapshot()
    s = place["records"][0]
    s["left"], s["ceiling"], s["floor"] = at, y - 13, y + 13
    if edge in ("ceiling", "floor"):
        s[edge] = y
    else:
        s["block_column"][0], s["block_top"][0] = left, int(y) - (cave.BLOCK_HEIGHT if edge == "bottom" else 0)
    s["y"] = y + past * np.spacing(y) / (1 + half)
    env.restore(place)
    record = env.snapshot()["records"].view(np.recarray)[0]  # attributes, as compiled code has them
    assert cave.crashed(record) == (drawn_under_the_player(env) in (WALL, BLOCK))


def test_an_exact_touch_is_a_crash() -> None:
    """By an eighth of a row, which has no rounding: on an edge the player has crashed, next to it not."""
    env = single("Cave")
    env.reset(seed=0)
    place = env.snapshot()
    s = place["records"][0]
    s["ceiling"], s["floor"] = 10.0, 40.0
    s["block_column"][0], s["block_top"][0] = 15, 20
    record = place["records"].view(np.recarray)[0]
    crashes = {}
    for y in np.arange(9.5, 41, 0.125):
        record.y = y
        crashes[y] = cave.crashed(record)
    assert [y for y, hit in crashes.items() if hit] == [y for y in crashes if y <= 10 or 20 <= y <= 26 or y >= 40]
    for left, hit in ((13, False), (14, True), (15, True), (16, False), (cave.GONE, False)):
        record.y = 23.0
        record.block_column[0] = left
        assert cave.crashed(record) == hit
