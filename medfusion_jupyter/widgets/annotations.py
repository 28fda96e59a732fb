"""What was done to a run, on its curves: changed settings, pauses, where it was resumed, and where a fork begins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import bqplot
import numpy as np

from medfusion_jupyter.store import JobStatus
from medfusion_jupyter.widgets.monitor_text import settings, span

if TYPE_CHECKING:
    from medfusion_jupyter.store.events import Event

COLOUR = "#8a8a8a"
"""A grey that can be read on white and on black."""
SHOWN = 40
"""The last so many: the picture must not grow with the run."""
ROWS = (0.95, 0.87, 0.79)
"""Heights of the labels: where two would overlap, the second goes below the first."""
SHARE_OF_A_LETTER = 0.016
"""Of the width of the axis, where the chart is as narrow as it gets."""


@dataclass(frozen=True)
class Annotation:
    """A line across the curves. x: in epochs; words: its label."""

    x: float
    words: str


def annotations_of(events: Sequence[Event], *, forked: bool, steps_per_epoch: float) -> list[Annotation]:
    """What the events of a job say was done to it, in order; those of one step are one.

    forked: whether the job is a fork, whose first run begins where its parent was. Events without a step are left out.
    """
    words_at: dict[int, list[str]] = {}
    paused = None
    for event in events:
        step = event.data.get("step")
        if step is None:
            continue
        words = words_at.setdefault(step, [])
        if event.kind == "changed":
            words.append(_short(event))
        elif event.kind == "status" and event.data["to"] == JobStatus.PAUSED:
            paused = event
            words.append("pause")
        elif event.kind == "status" and event.data["to"] == JobStatus.RUNNING:
            if paused is not None and event.data["from"] == JobStatus.PAUSED:
                took = f"pause {span((event.at - paused.at).total_seconds())}"
                words[:] = [took if word == "pause" else word for word in words]
            elif event.data["from"] == JobStatus.INITIALIZING:
                words.append("fork" if forked else "resume")
                forked = False
    return [Annotation(step / steps_per_epoch, " · ".join(words)) for step, words in sorted(words_at.items()) if words]


def _short(event: Event) -> str:
    """`lr=0.0001`, and how many more; the monitor tells all of them in words."""
    first, *more = settings(event.data).split(", ")
    return f"{first} +{len(more)}" if more else first


class AnnotationMarks:
    """The marks of one picture that show annotations: thin lines, and labels that do not overlap."""

    def __init__(self, x: bqplot.LinearScale) -> None:
        # of their own: a line goes from the bottom to the top, whatever the curves' scale
        scales = {"x": x, "y": bqplot.LinearScale(min=0.0, max=1.0, allow_padding=False)}
        self.lines = bqplot.Lines(
            x=[], y=[], scales=scales, colors=[COLOUR], stroke_width=1, line_style="dashed", preserve_domain={"x": True}
        )
        self.right = self._labels(scales, "start", 3)
        self.left = self._labels(scales, "end", -3)
        self.marks = [self.lines, self.right, self.left]
        self._shown: tuple[list[Annotation], float] = ([], 0.0)

    def _labels(self, scales: dict[str, Any], align: str, offset: int) -> bqplot.Label:
        return bqplot.Label(
            x=[], y=[], text=[], scales=scales, colors=[COLOUR], default_size=10, font_weight="normal", align=align,
            x_offset=offset,
        )  # fmt: skip

    def show(self, annotations: Sequence[Annotation], end: float) -> None:
        """Draw the newest of them, on an axis from 0 to `end`."""
        shown = list(annotations[-SHOWN:])
        if (shown, end) == self._shown:
            return
        self._shown = shown, end
        x = np.asarray([[one.x, one.x] for one in shown], dtype=np.float32)
        with self.lines.hold_sync():
            self.lines.x, self.lines.y = x, np.tile(np.asarray([0, 1], dtype=np.float32), (len(shown), 1))
        for labels, placed in zip((self.right, self.left), _placed(shown, end), strict=True):
            with labels.hold_sync():
                labels.x = np.asarray([one.x for one, _ in placed], dtype=np.float32)
                labels.y = np.asarray([height for _, height in placed], dtype=np.float32)
                labels.text = [one.words for one, _ in placed]


Placed = list[tuple[Annotation, float]]


def _placed(shown: Sequence[Annotation], end: float) -> tuple[Placed, Placed]:
    """The labels right of their lines and those left of them, with their heights.

    The newest have their place first; one for which there is no room is left out.
    """
    right: Placed = []
    left: Placed = []
    taken_from = dict.fromkeys(ROWS, math.inf)
    for one in reversed(shown):
        place, width = one.x / end, SHARE_OF_A_LETTER * len(one.words)
        beyond = place + width > 1
        begin, until = (place - width, place) if beyond else (place, place + width)
        row = next((row for row in ROWS if until <= taken_from[row]), None)
        if row is not None:
            taken_from[row] = begin
            (left if beyond else right).append((one, row))
    return right, left
