"""Cave against its rules written plainly, as lists of columns and blocks; and crashes against the observation."""

from collections.abc import Iterable
from math import ceil, floor

import numpy as np
import pytest
from helpers.cave_search import best_actions, gates
from helpers.games import SplitMix64, game_of, random_actions, single
from hypothesis import given, settings
from hypothesis import strategies as st

from rlgames.engine.rng import seed_stream
from rlgames.engine.single_env import GameEnv
from rlgames.envs import cave
from rlgames.envs.task import Task

WALL, BLOCK, TAIL, PLAYER = 102, 127, 204, 255
ROWS = np.arange(48)


class PlainCave:
    """The rules in their order. Positions are compared on the board, where the player is at row 24."""

    def __init__(self, rng: SplitMix64):
        self.rng = rng

    def reset(self) -> None:
        self.y, self.speed = 24.0, 0.0
        self.opening, self.center, self.slope = 0.55, 0.5, 0
        self.columns = [(self.opening, self.center)] * 48
        self.blocks: list[list[int]] = []  # left column, top
        self.tail = [self.y] * 15
        self.frames, self.frames_since_block = 0, 0

    def step(self, action: int) -> tuple[float, bool, bool]:
        self.frames += 1
        last_y = self.y
        self.speed += {0: +0.08, 1: -0.08}[action]
        self.y += self.speed
        self.scroll()
        self.tail = [*self.tail[1:], last_y]
        self.move_blocks()
        if self.contents(15, np.array([24]))[0] != 0:
            return -1.0, True, False
        return 0.0, False, self.frames == 10_000

    def scroll(self) -> None:
        self.columns.pop(0)
        if self.frames % 51 == 0:
            self.opening = max(self.opening - 0.01, 0.3)
        up, down = 0.6, 0.4
        if self.slope == +1:
            up = 0.2
        if self.slope == -1:
            down = 0.8
        u = self.rng.uniform()
        if u > up:
            self.center += 0.1 * (u - 0.6)
            self.slope = +1
        elif u < down:
            self.center -= 0.1 * (0.4 - u)
            self.slope = -1
        else:
            self.slope = 0
        self.columns.append((self.opening, self.center))

    def move_blocks(self) -> None:
        for block in self.blocks:
            block[0] -= 1
        self.frames_since_block += 1
        if self.frames_since_block > 20 and self.frames > 50:
            self.frames_since_block = 0
            ceiling, bottom = self.edges(47)
            tops = range(ceil(ceiling), floor(bottom) - 6 + 1)
            self.blocks.append([47, tops[floor(self.rng.uniform() * len(tops))]])
        self.blocks = [block for block in self.blocks if block[0] + 2 > 0]

    def edges(self, column: int) -> tuple[float, float]:
        opening, center = self.columns[column]
        return (center - opening / 2) * 48, (center + opening / 2) * 48

    def contents(self, column: int, rows: np.ndarray) -> np.ndarray:
        """Return 0, WALL or BLOCK for these rows of a column of the board."""
        offset = 24 - self.y
        ceiling, bottom = self.edges(column)
        contents = np.where((ceiling + offset < rows) & (rows < bottom + offset), 0, WALL)
        for left, top in self.blocks:
            if left <= column < left + 2:
                contents[(top + offset <= rows) & (rows <= top + offset + 6)] = BLOCK
        return contents

    def observe(self) -> np.ndarray:
        obs = np.stack([self.contents(column, ROWS) for column in range(48)], 1).astype(np.uint8)
        for column, height in enumerate(self.tail):
            row = floor(height + 24 - self.y + 0.5)
            if 0 <= row < 48:
                obs[row, column] = TAIL
        obs[24, 15] = PLAYER
        return obs


class AntialiasedPlainCave(PlainCave):
    """The antialiased observation: a cell has the greatest fraction of a level that something covering it gives."""

    def observe(self) -> np.ndarray:
        offset, obs = 24 - self.y, np.zeros((48, 48))

        def coverage(distance: np.ndarray) -> np.ndarray:
            return np.clip(1 - distance, 0, 1)  # of a row so far from where something begins; <= 0: inside

        for column in range(48):
            ceiling, bottom = self.edges(column)
            level = WALL * np.maximum(coverage(ROWS - ceiling - offset), coverage(bottom + offset - ROWS))
            for left, top in self.blocks:
                if left <= column < left + 2:
                    block = coverage(np.maximum(top + offset - ROWS, ROWS - top - offset - 6))
                    level = np.where(block == 1, BLOCK, np.maximum(level, BLOCK * block))
            if column < 15:
                level = np.maximum(level, TAIL * coverage(np.abs(self.tail[column] + offset - ROWS)))
            obs[:, column] = level
        obs[24, 15] = PLAYER
        return np.floor(obs + 0.5).astype(np.uint8)


def assert_equal_to_plain_rules(
    seed: int, actions: Iterable[int], *, compare_every: int = 1, antialias: bool = False
) -> list[int]:
    """Step both with the same actions and return the lengths of the episodes.

    Observations are compared every so many steps and at the end of an episode, everything else in every step.
    """
    env = single("Cave:antialias=true" if antialias else "Cave")
    rules = (AntialiasedPlainCave if antialias else PlainCave)(SplitMix64(int(seed_stream(seed))))
    obs, _ = env.reset(seed=seed)
    rules.reset()
    assert np.array_equal(obs, rules.observe())
    lengths = []
    for step, action in enumerate(actions):
        obs, *result, info = env.step(action)
        expected = rules.step(action)
        assert tuple(result) == expected
        assert info["score"] == rules.frames
        over = expected[1] or expected[2]
        if step % compare_every == 0 or over:
            assert np.array_equal(obs, rules.observe())
            s = env.snapshot()["records"][0]
            assert (s["y"], s["speed"], s["center"]) == (rules.y, rules.speed, rules.center)
            assert s["opening"] == rules.opening
        if over:
            lengths.append(rules.frames)
            obs, _ = env.reset()
            rules.reset()
    return lengths


def centering_actions(seed: int, steps: int) -> list[int]:
    """Return actions that keep the player near the center of the cave, ignore blocks, and are random at times."""
    rng, env, actions = np.random.default_rng(seed), single("Cave"), []
    env.reset(seed=seed)
    for _ in range(steps):
        s = env.snapshot()["records"][0]
        ahead = (s["left"] + 15 + np.arange(12)) % 48
        center = (s["ceiling"][ahead] + s["floor"][ahead]).mean() / 2
        action = int(s["y"] + 8 * s["speed"] > center)
        actions.append(action if rng.random() < 0.98 else int(rng.integers(2)))
        if env.step(actions[-1])[2]:
            env.reset()
    return actions


@pytest.mark.parametrize("seed", range(3))
def test_random_actions_equal_plain_rules(seed: int) -> None:
    lengths = assert_equal_to_plain_rules(seed, random_actions("Cave", seed, 300))
    assert len(lengths) > 1


@pytest.mark.parametrize("seed", range(3))
def test_centering_actions_equal_plain_rules(seed: int) -> None:
    """Most of these episodes end at a block."""
    lengths = assert_equal_to_plain_rules(seed, centering_actions(seed, 500), compare_every=7)
    assert max(lengths) > 80


@pytest.mark.parametrize("seed", range(2))
def test_antialiased_observation_equals_plain_rules(seed: int) -> None:
    lengths = assert_equal_to_plain_rules(seed, centering_actions(seed, 300), compare_every=5, antialias=True)
    assert max(lengths) > 80


def test_best_actions_equal_plain_rules_until_truncation() -> None:
    """All 10,000 steps of a cave, past 473 blocks and long after it has become as narrow as it gets."""
    actions = best_actions(gates(seed=5, steps=10_000))
    assert assert_equal_to_plain_rules(5, actions, compare_every=97) == [10_000]


def test_antialias_other_than_bool_raises() -> None:
    with pytest.raises(ValueError, match="expected Cave's antialias to be True or False, got 2"):
        game_of("Cave:antialias=2")


def test_task_as_trained_on_takes_over_the_observation_options() -> None:
    trained = Task.parse("Cave:frame_skip=4,antialias=true")
    assert Task.parse("Cave").as_trained_on(trained).options == trained.options
    options = Task.parse("Cave:antialias=false").as_trained_on(trained).options
    assert options == {"frame_skip": 4, "antialias": False}


# ---- crashes against the observation ----


def drawn_at_the_player(env: GameEnv) -> int:
    """Return what the observation draws at the player's row in a column equal to the player's.

    The player hides its own column, so the cave is moved by one column and read next to the player.
    """
    game = game_of("Cave")
    snapshot = env.snapshot()
    s = snapshot["records"][0]
    s["left"] = (s["left"] - 1) % cave.SIZE
    s["block_column"][s["block_column"] != cave.GONE] += 1
    obs = np.empty((1, *game.observation.shape), np.uint8)
    game.loops.reset(snapshot["records"], np.zeros(1, np.bool_), obs)
    return int(obs[0, cave.PLAYER_ROW, cave.PLAYER_COLUMN + 1])


def test_crash_is_drawn_as_wall_or_block_at_the_player() -> None:
    drawn = set()
    for seed in range(3):
        env = single("Cave")
        env.reset(seed=seed)
        for action in [*centering_actions(seed, 300), *random_actions("Cave", seed, 100)]:
            _, _, crashed, _, _ = env.step(int(action))
            level = drawn_at_the_player(env)
            assert crashed == (level in (WALL, BLOCK))
            drawn.add(level)
            if crashed:
                env.reset()
    assert drawn == {0, WALL, BLOCK}


@settings(max_examples=200, deadline=None)
@given(
    edge=st.sampled_from(["ceiling", "floor", "top", "bottom"]),
    y=st.sampled_from([0.0, 0.1, 3.0, 12.0, 24.0, 26.0, -6.0, -100.0]),
    ulps=st.integers(-4, 4),
    half=st.booleans(),
    block_column=st.integers(14, 15),
    left=st.integers(0, 47),
)
def test_crash_and_drawing_round_alike_at_edges(
    edge: str, y: float, ulps: int, half: bool, block_column: int, left: int
) -> None:
    """The player is a few units in the last place from an edge; `crashed` runs in plain Python, drawing is compiled."""
    env = single("Cave")
    env.reset(seed=0)
    snapshot = env.snapshot()
    s = snapshot["records"][0]
    s["left"], s["ceiling"], s["floor"] = left, y - 13, y + 13
    if edge in ("ceiling", "floor"):
        s[edge] = y
    else:
        s["block_column"][0] = block_column
        s["block_top"][0] = int(y) - (cave.BLOCK_HEIGHT if edge == "bottom" else 0)
    s["y"] = y + ulps * np.spacing(y) / (1 + half)
    env.restore(snapshot)
    record = env.snapshot()["records"].view(np.recarray)[0]  # fields as attributes, as in compiled code
    assert cave.crashed(record) == (drawn_at_the_player(env) in (WALL, BLOCK))


def test_touching_an_edge_exactly_is_a_crash() -> None:
    """In steps of an eighth of a row, which floats represent exactly."""
    env = single("Cave")
    env.reset(seed=0)
    snapshot = env.snapshot()
    s = snapshot["records"][0]
    s["ceiling"], s["floor"] = 10.0, 40.0
    s["block_column"][0], s["block_top"][0] = 15, 20
    record = snapshot["records"].view(np.recarray)[0]
    crashes = {}
    for y in np.arange(9.5, 41, 0.125):
        record.y = y
        crashes[y] = cave.crashed(record)
    assert [y for y, crash in crashes.items() if crash] == [y for y in crashes if y <= 10 or 20 <= y <= 26 or y >= 40]
    for column, crash in ((13, False), (14, True), (15, True), (16, False), (cave.GONE, False)):
        record.y = 23.0
        record.block_column[0] = column
        assert cave.crashed(record) == crash
