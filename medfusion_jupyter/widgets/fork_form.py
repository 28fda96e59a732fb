"""The small form of the monitor by which a new job is begun from a checkpoint."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ipywidgets import Button, Dropdown, HBox, Layout, Text

from medfusion_jupyter.settings.forking import USUAL
from medfusion_jupyter.settings.keywords import read_keywords
from medfusion_jupyter.widgets.change_form import as_text

if TYPE_CHECKING:
    from medfusion_jupyter.store.checkpoints import Checkpoint


class ForkForm(HBox):  # type: ignore[misc]
    """Which checkpoint, and a field for each usual setting, filled with that of the parent; others are written as words.

    make: told of a function that gives the keywords of `job.fork`; what that raises, the caller says.
    """

    def __init__(self, make: Callable[[Callable[[], dict[str, Any]]], None]) -> None:
        self.fields: dict[str, Text] = {}
        self._before: dict[str, str] = {}
        self.checkpoint = Dropdown(
            description="from", layout=Layout(width="286px"), style={"description_width": "84px"}
        )
        self.others = _field("others", "", "mixup=0.2 precision=bf16", width="286px")
        self.name = _field("name", "", "as its parent")
        self.make = Button(description="Fork", icon="code-fork", layout=Layout(width="84px"))
        self.make.on_click(lambda _: make(self.keywords))
        super().__init__(
            [self.checkpoint, self.name, self.others, self.make], layout=Layout(flex_flow="row wrap", display="none")
        )
        self.add_class("mf-fork")

    @property
    def shown(self) -> bool:
        """Whether it is open."""
        return bool(self.layout.display != "none")

    def show(self, settings: Mapping[str, Any], checkpoints: Sequence[Checkpoint]) -> None:
        """Show it. settings: those of the parent as they are stored; checkpoints: what can be begun from, by epoch and step."""
        # of a job at work the newest is another one by the time that the form is filled
        self.checkpoint.options = [("the newest checkpoint", (None, None))] + [
            (f"{'★ ' if one.is_best else ''}epoch {one.epoch}, step {one.step:,}", (one.epoch, one.step))
            for one in reversed(checkpoints)
        ]
        self.checkpoint.index = 0
        for field in self.fields.values():
            field.close()
        self._before = {name: as_text(settings.get(name)) for name in USUAL}
        self.fields = {name: _field(name, text) for name, text in self._before.items()}
        self.children = [self.checkpoint, self.name, *self.fields.values(), self.others, self.make]
        self.layout.display = "flex"

    def hide(self) -> None:
        """Hide it."""
        self.layout.display = "none"

    def keywords(self) -> dict[str, Any]:
        """What `job.fork` is to be called with. Raises ConfigError for a word that is no setting with a value."""
        epoch, step = self.checkpoint.value
        changed = [
            f"{name}={field.value.strip()}"
            for name, field in self.fields.items()
            if field.value.strip() != self._before[name]
        ]
        settings = read_keywords([*changed, *shlex.split(self.others.value)])
        name = self.name.value.strip()
        return {"epoch": epoch, "step": step, **settings, **({"name": name} if name else {})}


def _field(words: str, value: str, placeholder: str = "", width: str = "190px") -> Text:
    return Text(
        value=value,
        description=words,
        placeholder=placeholder,
        layout=Layout(width=width),
        style={"description_width": "84px"},
    )
