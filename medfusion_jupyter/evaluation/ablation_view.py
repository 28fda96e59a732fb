"""An ablation as a table with its intervals drawn, in the colours of the notebook."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING

from medfusion_jupyter.settings.watched import Metric, metric_of

if TYPE_CHECKING:
    import pandas as pd

WIDTH, HEIGHT = 220, 18


def html_of(table: pd.DataFrame, name: str) -> str:
    """The table of an Ablation as HTML: numbers, and a dot with its interval for each variant. name: of its metric."""
    metric = metric_of(name)
    assert metric is not None
    table = table.rename(columns={name: "value"})
    known = table.dropna(subset=["value"])
    first = known["value"].iloc[0] if len(known) and known.index[0] == table.index[0] else math.nan
    scale = _scale(metric, [*known["low"].dropna(), *known["high"].dropna(), *known["value"]])
    head = "".join(
        f"<th style='text-align:{side}'>{html.escape(words)}</th>"
        for side, words in (
            ("left", ""),
            ("right", metric.words),
            ("left", "95 % interval"),
            ("right", f"above {table.index[0]}"),
            ("left", "95 % interval"),
            ("left", f"{_short(scale[0])} to {_short(scale[1])}"),
        )
    )
    rows = "".join(_row(label, row, scale, first, metric.words) for label, row in table.iterrows())
    lower = "Lower is better. " if metric.best == "min" else ""
    return (
        f"<table style='margin-left:0'><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        f"<small>{lower}Mean over {int(table['folds'].max())} trainings each, over the same folds; intervals of the corrected "
        "resampled t-test, differences paired by fold.</small>"
    )


def _scale(metric: Metric, values: list[float]) -> tuple[float, float]:
    """From chance to the best of what has a best, else from 0 on; wider where something lies outside."""
    chance = 0.5 if metric.least == 0 and metric.most == 1 else 0.0
    least = min([chance, *values])
    most = metric.most if math.isfinite(metric.most) else max(values, default=1.0)
    return least, most if most > least else least + 1.0


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) < 100 else f"{value:.4g}"


def _row(label: object, row: pd.Series, scale: tuple[float, float], first: float, words: str) -> str:
    name = f"<td style='text-align:left'>{html.escape(str(label))}</td>"
    if math.isnan(row["value"]):
        return f"<tr>{name}<td colspan='5' style='text-align:left;opacity:.6'>{row['status']}</td></tr>"
    above = "" if math.isnan(row["above"]) else f"{row['above']:+.3f}"
    return (
        f"<tr>{name}<td>{row['value']:.3f}</td><td style='text-align:left'>{_between(row['low'], row['high'])}</td>"
        f"<td>{above}</td><td style='text-align:left'>{_between(row['above_low'], row['above_high'], '+.3f')}</td>"
        f"<td>{_drawn(row, scale, first, words)}</td></tr>"
    )


def _between(low: float, high: float, form: str = ".3f") -> str:
    return "" if math.isnan(low) else f"{low:{form}} to {high:{form}}"


def _drawn(row: pd.Series, scale: tuple[float, float], first: float, words: str) -> str:
    def at(value: float) -> float:
        return 4 + (WIDTH - 8) * (value - scale[0]) / (scale[1] - scale[0])

    middle = HEIGHT / 2
    marks = []
    if not math.isnan(first):
        x = at(first)
        marks.append(
            f"<line x1='{x:.1f}' x2='{x:.1f}' y1='0' y2='{HEIGHT}' stroke='currentColor' stroke-opacity='.35' "
            "stroke-dasharray='2 2'/>"
        )
    if not math.isnan(row["low"]):
        marks.append(
            f"<line x1='{at(row['low']):.1f}' x2='{at(row['high']):.1f}' y1='{middle}' y2='{middle}' stroke='currentColor' "
            "stroke-width='1.5'/>"
        )
    marks.append(f"<circle cx='{at(row['value']):.1f}' cy='{middle}' r='3.5' fill='currentColor'/>")
    spoken = html.escape(f"{words} {row['value']:.3f}", quote=True)
    return (
        f"<svg role='img' aria-label='{spoken}' width='{WIDTH}' height='{HEIGHT}' style='vertical-align:middle'>"
        f"{''.join(marks)}</svg>"
    )
