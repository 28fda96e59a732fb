"""Interleaved rounds: every contender once a round, in turn, so that a drifting machine is unfair to none."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version


def interleave(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call each contender once to warm up, then once a round; each returns its own figure (seconds, mostly)."""
    for measure in contenders.values():
        measure()
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, measure in contenders.items():
            figures[name].append(measure())
    return figures


def report(title: str, figures: Mapping[str, list[float]], *, against: str, unit: str, scale: float = 1.0) -> None:
    """Print a table: the median of each contender and its ratio to `against`, taken round by round, with its quartiles."""
    print(f"\n### {title}\n")
    print(f"| | median ({unit}) | ratio to {against}: median [quartiles] |\n|---|---|---|")
    for name, values in figures.items():
        ratios = sorted(a / b for a, b in zip(values, figures[against], strict=True))
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (ratios * 3)
        print(f"| {name} | {statistics.median(values) * scale:.3g} | {middle:.3f} [{low:.3f}, {high:.3f}] |")


def environment(*packages: str) -> str:
    """The machine and the versions, in one line; a package that is not installed is said to be missing."""
    parts = [f"Python {platform.python_version()}", platform.machine(), f"{_cores()} cores"]
    for package in packages:
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            parts.append(f"{package} missing")
    return ", ".join(parts)


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
