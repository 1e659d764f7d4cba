"""What can be survived in a cave, and that the search for it is exact."""

import itertools

import pytest
from helpers.cave_search import Gate, gates, plan, survival
from helpers.games import single
from hypothesis import given, settings
from hypothesis import strategies as st


def by_hand(cave: list[Gate], skip: int) -> int:
    """Every sequence of actions, one after the other."""
    best = 0
    for choice in itertools.product((+1, -1), repeat=-(-len(cave) // skip)):
        height = speed = survived = 0
        for time, gate in enumerate(cave):
            speed += choice[time // skip]
            height += speed
            if not gate.first <= height <= gate.last or any(a <= height <= b for a, b in gate.blocks):
                break
            survived += 1
        best = max(best, survived)
    return best


heights = st.integers(-8, 8)
narrow = st.builds(
    lambda middle, room, blocks: Gate(middle - room, middle + room, [(top, top + 2) for top in blocks]),
    heights,
    st.integers(1, 7),
    st.lists(heights, max_size=2),
)


@settings(max_examples=150, deadline=None)
@given(cave=st.lists(narrow, min_size=1, max_size=9), skip=st.integers(1, 4))
def test_the_search_finds_what_trying_everything_finds(cave: list[Gate], skip: int) -> None:
    assert survival(cave, skip) == by_hand(cave, skip)


@pytest.mark.parametrize("seed", range(4))
def test_a_cave_can_be_survived_when_acting_on_every_step(seed: int) -> None:
    """1,500 steps: past 70 blocks, in a cave as narrow as it gets from step 1,275 on."""
    cave = gates(seed, 1500)
    assert survival(cave) == 1500
    env = single("Cave", max_episode_steps=1500)
    env.reset(seed=seed)
    ends = [env.step(action)[2:4] for action in plan(cave)]
    assert ends == [(False, False)] * 1499 + [(False, True)]


def test_acting_on_every_fourth_step_is_not_enough() -> None:
    """Over 8 caves of at most 4,000 steps; the whole 10,000 steps are survived by hardly anyone who acts so rarely."""
    caves = [gates(seed, 4000) for seed in range(8)]
    assert [survival(cave, 2) for cave in caves] == [4000] * 8
    rarely = [survival(cave, 4) for cave in caves]
    assert min(rarely) > 1275  # until then the cave is wider
    assert sum(survived < 4000 for survived in rarely) > 4
