"""The view of an ablation that follows it: its table, with what each variant does until it has a result."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from ipywidgets import HTML, Layout

from medfusion_jupyter.store import FINISHED
from medfusion_jupyter.widgets.cross_validation_monitor import result_comes
from medfusion_jupyter.widgets.refresher import refresher

if TYPE_CHECKING:
    from medfusion_jupyter.evaluation.ablation import Ablation


class AblationMonitor(HTML):  # type: ignore[misc]
    """The table of an ablation, until all of its variants have ended."""

    value: str

    def __init__(self, ablation: Ablation) -> None:
        super().__init__(layout=Layout(width="100%"))
        self._ablation = ablation
        self._seen: list[object] = []
        self.add_class("mf-ablation")
        self.add_class("jp-RenderedHTMLCommon")
        if self.refresh():
            refresher.follow(self)

    def refresh(self) -> bool:
        """Show what the store has; False where nothing more will come."""
        if self.comm is None:
            return False
        records = [one.record for one in self._ablation.variants.values()]
        goes_on = any(record.status not in FINISHED or result_comes(record) for record in records)
        seen = [goes_on, *((record.status, record.folds_done, record.best_value) for record in records)]
        if seen != self._seen:
            self.value = self._ablation._repr_html_()
            self._seen = seen
        return goes_on

    def show_problem(self, problem: Exception) -> None:
        """Say that the store could not be read; the next refresh tries again."""
        self._seen = []
        self.value = f"<div role='status'>{html.escape(f'The store could not be read, trying again: {problem}')}</div>"
