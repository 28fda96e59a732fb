"""A curve over a logarithmic axis as SVG: how the finders show themselves in a notebook."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 460, 220, 52, 36, 12


@dataclass(frozen=True)
class Curve:
    """x above 0, and y; smooth: the same length as y, drawn over it; mark: the x that is suggested."""

    x_label: str
    y_label: str
    x: Sequence[float]
    y: Sequence[float]
    smooth: Sequence[float] = ()
    mark: float | None = None


def curve_html(curve: Curve, said: str) -> str:
    """The sentence and the curve below it."""
    low_x, high_x = math.log10(min(curve.x)), math.log10(max(curve.x))
    # a loss that explodes at the end would press the rest flat: the smooth curve's start sets the scale
    drawn = curve.smooth or curve.y
    high_y = min(max(drawn), 2 * drawn[0]) if curve.smooth else max(drawn)
    low_y = min(curve.y) if curve.smooth else 0.0

    def across(x: float) -> float:
        return LEFT + (WIDTH - LEFT - 12) * (math.log10(x) - low_x) / ((high_x - low_x) or 1)

    def down(y: float) -> float:
        share = (min(max(y, low_y), high_y) - low_y) / ((high_y - low_y) or 1)
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)

    def path(values: Sequence[float]) -> str:
        return " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in zip(curve.x, values, strict=True))

    style = "fill='none' stroke='var(--jp-brand-color1, #1976d2)'"
    faint = " stroke-opacity='0.35'" if curve.smooth else ""
    parts = [f"<polyline points='{path(curve.y)}' {style} stroke-width='1.5'{faint}/>"]
    if curve.smooth:
        parts.append(f"<polyline points='{path(curve.smooth)}' {style} stroke-width='2'/>")
    if curve.mark is not None:
        at = f"{across(curve.mark):.1f}"
        parts.append(
            f"<line x1='{at}' x2='{at}' y1='{TOP}' y2='{HEIGHT - BOTTOM}' stroke='var(--jp-warn-color1, #e65100)' "
            f"stroke-dasharray='4 3'/>"
        )
    parts += [_text(across(x), HEIGHT - BOTTOM + 15, _number(x)) for x in _ticks(curve.x)]
    parts += [_text(LEFT - 6, down(y) + 4, _number(y), "end") for y in (low_y, (low_y + high_y) / 2, high_y)]
    parts.append(_text((LEFT + WIDTH) / 2, HEIGHT - 4, curve.x_label))
    parts.append(_text(LEFT, TOP - 2, curve.y_label, "start"))
    words = html.escape(f"{curve.y_label} by {curve.x_label}")
    return (
        f"<div><b>{html.escape(said)}</b><br><svg width='{WIDTH}' height='{HEIGHT}' role='img' aria-label='{words}' "
        f"style='font-size:11px'>{''.join(parts)}</svg></div>"
    )


def _ticks(x: Sequence[float]) -> list[float]:
    """At most seven: the powers of ten between the ends, or some of the points themselves where these are few."""
    powers = [10.0**k for k in range(math.ceil(math.log10(min(x)) - 1e-9), math.floor(math.log10(max(x)) + 1e-9) + 1)]
    ticks = powers if len(powers) > 2 else list(x)
    return ticks[:: -(-len(ticks) // 7)]


def _number(value: float) -> str:
    return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e")


def _text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    colour = "var(--jp-ui-font-color2, #666)"
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' fill='{colour}'>{html.escape(words)}</text>"
