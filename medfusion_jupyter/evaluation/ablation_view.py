"""An ablation as a table with its intervals drawn, in the colours of the notebook."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

WIDTH, HEIGHT = 220, 18


def html_of(table: pd.DataFrame) -> str:
    """The table of an Ablation as HTML: numbers, and a dot with its interval for each variant on one scale."""
    known = table.dropna(subset=["auroc"])
    first = known["auroc"].iloc[0] if len(known) and known.index[0] == table.index[0] else math.nan
    low = min([0.5, *known["low"].dropna(), *known["auroc"]])
    head = "".join(
        f"<th style='text-align:{side}'>{words}</th>"
        for side, words in (
            ("left", ""),
            ("right", "AUROC"),
            ("left", "95 % interval"),
            ("right", f"above {html.escape(str(table.index[0]))}"),
            ("left", "95 % interval"),
            ("left", f"{low:.2f} to 1"),
        )
    )
    rows = "".join(_row(name, row, low, first) for name, row in table.iterrows())
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        f"<small>Mean over {int(table['folds'].max())} trainings each, over the same folds; intervals of the corrected resampled "
        "t-test, differences paired by fold.</small>"
    )


def _row(name: object, row: pd.Series, low: float, first: float) -> str:
    label = f"<td style='text-align:left'>{html.escape(str(name))}</td>"
    if math.isnan(row["auroc"]):
        return f"<tr>{label}<td colspan='5' style='text-align:left;opacity:.6'>{row['status']}</td></tr>"
    above = "" if math.isnan(row["above"]) else f"{row['above']:+.3f}"
    return (
        f"<tr>{label}<td>{row['auroc']:.3f}</td><td style='text-align:left'>{_between(row['low'], row['high'])}</td>"
        f"<td>{above}</td><td style='text-align:left'>{_between(row['above_low'], row['above_high'], '+.3f')}</td>"
        f"<td>{_drawn(row, low, first)}</td></tr>"
    )


def _between(low: float, high: float, form: str = ".3f") -> str:
    return "" if math.isnan(low) else f"{low:{form}} to {high:{form}}"


def _drawn(row: pd.Series, low: float, first: float) -> str:
    def at(value: float) -> float:
        return 4 + (WIDTH - 8) * (value - low) / (1 - low)

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
    marks.append(f"<circle cx='{at(row['auroc']):.1f}' cy='{middle}' r='3.5' fill='currentColor'/>")
    words = f"AUROC {row['auroc']:.3f}"
    return (
        f"<svg role='img' aria-label='{words}' width='{WIDTH}' height='{HEIGHT}' style='vertical-align:middle'>"
        f"{''.join(marks)}</svg>"
    )
