"""The two pictures of the monitor: losses, and the watched metric with its interval."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Sequence
from typing import Any

import bqplot
import numpy as np
from ipywidgets import HTML, HBox, Layout, VBox
from numpy.typing import NDArray

from medfusion_jupyter.settings.watched import words_of
from medfusion_jupyter.widgets.annotations import Annotation, AnnotationMarks
from medfusion_jupyter.widgets.curve import Curve

TRAIN, VALIDATION = "#3b82c4", "#e8710a"
"""Blue and orange: told apart in both themes and by the colour-blind."""
EMPTY = np.zeros(0, dtype=np.float32)
MARGIN = {"top": 8, "bottom": 34, "left": 54, "right": 30}


def _picture(marks: list[Any], scales: dict[str, Any], label: str) -> tuple[bqplot.Figure, VBox]:
    axes = [
        bqplot.Axis(scale=scales["x"], label="epoch", grid_lines="none", tick_format=".0f"),
        bqplot.Axis(scale=scales["y"], side="left", grid_lines="none", tick_format=".4~g"),
    ]
    figure = bqplot.Figure(
        marks=marks,
        axes=axes,
        fig_margin=MARGIN,
        background_style={"fill": "transparent"},
        min_aspect_ratio=0.5,
        max_aspect_ratio=6,
        layout=Layout(height="210px", width="100%"),
    )
    box = VBox([HTML(label), figure], layout=Layout(flex="1 1 320px", min_width="260px"))
    return figure, box


def _key(colour: str, words: str) -> str:
    return f"<span class='mf-key' style='border-color:{colour}'></span>{words}"


class Charts(HBox):  # type: ignore[misc]
    """Both pictures side by side; below one another where there is no room."""

    def __init__(self, watched: str) -> None:
        # with room for the markers at its ends the curves would not stand above their epochs on the axis
        self._x = bqplot.LinearScale(min=0.0, allow_padding=False)
        loss = {"x": self._x, "y": bqplot.LinearScale()}
        metric = {"x": self._x, "y": bqplot.LinearScale()}
        self.train = bqplot.Lines(x=EMPTY, y=EMPTY, scales=loss, colors=[TRAIN], stroke_width=1.2, opacities=[0.7])
        self.validation = bqplot.Lines(
            x=EMPTY, y=EMPTY, scales=loss, colors=[VALIDATION], stroke_width=2, marker="circle", marker_size=20
        )
        self.band = bqplot.Lines(
            x=EMPTY, y=[EMPTY, EMPTY], scales=metric, fill="between", colors=[VALIDATION], fill_colors=[VALIDATION],
            opacities=[0.0], fill_opacities=[0.18], stroke_width=0,
        )  # fmt: skip
        self.metric = bqplot.Lines(
            x=EMPTY, y=EMPTY, scales=metric, colors=[VALIDATION], stroke_width=2, marker="circle", marker_size=20
        )
        self.best = bqplot.Scatter(
            x=EMPTY, y=EMPTY, scales=metric, colors=[VALIDATION], stroke="#ffffff", default_size=90
        )
        part = "validation " if watched.startswith("val/") else ""
        name = html.escape(part + words_of(watched))
        self.of_loss, self.of_metric = AnnotationMarks(self._x), AnnotationMarks(self._x)
        self.loss_figure, left = _picture(
            [*self.of_loss.marks, self.train, self.validation],
            loss,
            f"loss {_key(TRAIN, 'train')}{_key(VALIDATION, 'validation')}",
        )
        self.metric_figure, right = _picture([*self.of_metric.marks, self.band, self.metric, self.best], metric, "")
        self._title = right.children[0]
        self._name = name
        self.loss_figure.add_class("mf-curve-loss")
        self.metric_figure.add_class("mf-curve-metric")
        super().__init__([left, right], layout=Layout(width="100%", flex_flow="row wrap"))

    def draw(
        self,
        curves: dict[str, Curve],
        *,
        steps_per_epoch: float,
        epochs: float,
        best: tuple[int, float] | None,
        annotations: Sequence[Annotation] = (),
    ) -> None:
        """Show the curves `train`, `validation`, `metric`, `low` and `high`. epochs: the end of the axis."""
        end = max(1, round(epochs))
        if self._x.max != end:
            self._x.max = float(end)
            for figure in (self.loss_figure, self.metric_figure):
                figure.axes[0].tick_values = round_values(0, end, at_most=7, apart=1)
        for marks in (self.of_loss, self.of_metric):
            marks.show(annotations, end)
        _set(self.train, *curves["train"].arrays(steps_per_epoch))
        _set(self.validation, *curves["validation"].arrays(steps_per_epoch))
        x, y = curves["metric"].arrays(steps_per_epoch)
        _set(self.metric, x, y)
        low, high = (curves[name].arrays(steps_per_epoch)[1] for name in ("low", "high"))
        if len(low) == len(high) == len(x):
            _set(self.band, x, np.stack([low, high]) if len(x) else np.zeros((2, 0), dtype=np.float32))
        _mark_values(self.loss_figure, self.train.y, self.validation.y)
        _mark_values(self.metric_figure, y, low, high)
        words = self._name
        if len(low):
            words += " <span class='mf-quiet'>with 95 % interval</span>"
        if best is not None:
            epoch, value = best
            _set(self.best, np.asarray([epoch], np.float32), np.asarray([value], np.float32))
            words += f" · best {value:.3f} at epoch {epoch}"
        else:
            _set(self.best, EMPTY, EMPTY)
        if self._title.value != words:
            self._title.value = words


def axis_end(reached: float, total: float) -> float:
    """Where the axis of a run ends that has come to epoch `reached` of `total`.

    At its last epoch where these are few. Of many the first would be a thin line: the axis then ends at 20, 50, 100, 200 …
    epochs, the next as soon as the curves get there.
    """
    steps = (factor * 10.0**k for k in itertools.count(1) for factor in (2, 5, 10))
    return min(total, next(step for step in steps if step >= reached))


def round_values(low: float, high: float, *, at_most: int, apart: float = 0.0) -> NDArray[np.float64]:
    """What a person would mark on an axis from `low` to `high`: multiples of 1, 2 or 5 times a power of ten.

    apart: their least distance. Where `low` is `high`, that is the value.
    """
    if low == high:
        return np.array([low])
    power = math.floor(math.log10((high - low) / at_most))
    distances = (factor * 10.0**k for k in itertools.count(power) for factor in (1, 2, 5))
    distance = next(d for d in distances if d >= apart and math.floor(high / d) - math.ceil(low / d) < at_most)
    return distance * np.arange(math.ceil(low / distance), math.floor(high / distance) + 1, dtype=np.float64)


def _mark_values(figure: bqplot.Figure, *curves: NDArray[np.float32]) -> None:
    shown = np.concatenate(curves)
    shown = shown[np.isfinite(shown)]
    values = round_values(shown.min(), shown.max(), at_most=6) if len(shown) else EMPTY
    if not np.array_equal(figure.axes[1].tick_values, values):
        figure.axes[1].tick_values = values


def _set(mark: Any, x: NDArray[np.float32], y: NDArray[np.float32]) -> None:
    """Both at once, and only where they differ: an equal curve is not sent again."""
    if np.array_equal(mark.x, x) and np.array_equal(mark.y, y):
        return
    with mark.hold_sync():
        mark.x, mark.y = x, y
