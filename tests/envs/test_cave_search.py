"""The exact search of helpers.cave_search, and how long caves can be survived."""

import itertools

import pytest
from helpers.cave_search import Gate, best_actions, gates, longest_survival
from helpers.games import single
from hypothesis import given, settings
from hypothesis import strategies as st


def longest_survival_by_enumeration(cave: list[Gate], frame_skip: int) -> int:
    best = 0
    for choices in itertools.product((+1, -1), repeat=-(-len(cave) // frame_skip)):
        height = speed = survived = 0
        for time, gate in enumerate(cave):
            speed += choices[time // frame_skip]
            height += speed
            if not gate.first <= height <= gate.last or any(a <= height <= b for a, b in gate.blocks):
                break
            survived += 1
        best = max(best, survived)
    return best


heights = st.integers(-8, 8)
random_gates = st.builds(
    lambda center, half, blocks: Gate(center - half, center + half, [(top, top + 2) for top in blocks]),
    heights,
    st.integers(1, 7),
    st.lists(heights, max_size=2),
)


@settings(max_examples=150, deadline=None)
@given(cave=st.lists(random_gates, min_size=1, max_size=9), frame_skip=st.integers(1, 4))
def test_search_equals_enumeration_of_all_actions(cave: list[Gate], frame_skip: int) -> None:
    assert longest_survival(cave, frame_skip) == longest_survival_by_enumeration(cave, frame_skip)


@pytest.mark.parametrize("seed", range(4))
def test_best_actions_survive_without_frame_skip(seed: int) -> None:
    """1,500 steps: past 70 blocks, and in a cave as narrow as it gets from step 1,275 on."""
    cave = gates(seed, 1500)
    assert longest_survival(cave) == 1500
    env = single("Cave", max_episode_steps=1500)
    env.reset(seed=seed)
    ends = [env.step(action)[2:4] for action in best_actions(cave)]
    assert ends == [(False, False)] * 1499 + [(False, True)]


def check_frame_skips(seeds: range, steps: int) -> None:
    """Check that caves can be survived at frame_skip 2, but many of them not at frame_skip 4."""
    caves = [gates(seed, steps) for seed in seeds]
    assert [longest_survival(cave, 2) for cave in caves] == [steps] * len(seeds)
    survived = [longest_survival(cave, 4) for cave in caves]
    assert min(survived) > 1275  # until then the cave is wider
    assert sum(survival < steps for survival in survived) > len(seeds) // 2


def test_frame_skip_2_can_survive_where_frame_skip_4_cannot() -> None:
    check_frame_skips(range(3), 3000)


@pytest.mark.slow
def test_frame_skip_2_can_survive_where_frame_skip_4_cannot_in_more_caves() -> None:
    check_frame_skips(range(8), 4000)
