"""Helpers of the benchmarks: timed loops, measurements in turns, and how rates and ratios are written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from statistics import median
from time import perf_counter

from rich.console import Console

Benchmark = Callable[[float], float]  # runs for so many seconds; returns steps, frames or samples a second
progress = Console(stderr=True)  # names what is measured at the moment; stdout has the table alone


def steps_per_second(work: Callable[[], int], seconds: float, clock: Callable[[], float] = perf_counter) -> float:
    """Call `work` for `seconds`, at least once; return the sum of its results for each second of the `clock`.

    `time.thread_time` counts the seconds in which this thread computes, and not those in which others do.
    """
    steps, start = 0, clock()
    while not steps or clock() - start < seconds:
        steps += work()
    return steps / (clock() - start)


def measure_in_turns(benchmarks: Collection[Benchmark], rounds: int, seconds: float) -> list[list[float]]:
    """Return the rates of all benchmarks in each round.

    They take turns, so that anything else the machine does slows all of them equally. A first turn of each does not
    count: it compiles code and fills caches.
    """
    for benchmark in benchmarks:
        benchmark(seconds)
    return [[benchmark(seconds) for benchmark in benchmarks] for _ in range(rounds)]


def format_rate(rate: float) -> str:
    """Return three digits: 91.2 M, 243 k, 87."""
    for size, unit in ((1e6, " M"), (1e3, " k"), (1.0, "")):
        if rate >= size:
            value = rate / size
            return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}{unit}"
    return f"{rate:.2g}"


def format_ratios(ratios: Sequence[float], digits: int) -> str:
    """Return the median and, in brackets, the smallest and largest of the ratios of all rounds."""
    middle, smallest, largest = (f"{value:,.{digits}f}" for value in (median(ratios), min(ratios), max(ratios)))
    return f"{middle} ({smallest}–{largest})"
