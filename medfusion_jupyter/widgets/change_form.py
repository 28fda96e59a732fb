"""The small form of the monitor by which a run is changed while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ipywidgets import Button, HBox, Layout, Text

from medfusion_jupyter.settings.keywords import read_keywords

FIELDS = {"lr": "learning rate", "encoder_lr": "of encoders", "epochs": "epochs", "patience": "patience"}


class ChangeForm(HBox):  # type: ignore[misc]
    """A field for each setting that this run may change, filled with what it has now.

    apply: told of the settings whose text is another one; what it or the reading raises, the caller says.
    """

    def __init__(self, apply: Callable[[Callable[[], dict[str, Any]]], None]) -> None:
        self.fields: dict[str, Text] = {}
        self._before: dict[str, str] = {}
        self._frozen: list[str] = []
        self.apply = Button(description="Apply", icon="check", layout=Layout(width="84px"))
        self.apply.on_click(lambda _: apply(self.changes))
        super().__init__([self.apply], layout=Layout(flex_flow="row wrap", display="none"))
        self.add_class("mf-change")

    @property
    def shown(self) -> bool:
        """Whether it is open."""
        return bool(self.layout.display != "none")

    def show(self, settings: Mapping[str, Any]) -> None:
        """Show it. settings: those of the run as they are stored."""
        self._frozen = list(settings.get("freeze") or ())
        there = {
            name: words for name, words in FIELDS.items() if name != "encoder_lr" or settings.get(name) is not None
        }
        self._before = {name: as_text(settings.get(name)) for name in there}
        if self._frozen:
            there["unfreeze"] = "unfreeze"
            self._before["unfreeze"] = ",".join(settings.get("unfreeze") or ())
        for field in self.fields.values():
            field.close()
        self.fields = {
            name: Text(
                value=self._before[name],
                description=words,
                placeholder=f"all, or some of {','.join(self._frozen)}" if name == "unfreeze" else "",
                layout=Layout(width="236px" if name == "unfreeze" else "190px"),
                style={"description_width": "84px"},
            )
            for name, words in there.items()
        }
        self.children = [*self.fields.values(), self.apply]
        self.layout.display = "flex"

    def hide(self) -> None:
        """Hide it."""
        self.layout.display = "none"

    def changes(self) -> dict[str, Any]:
        """The settings whose text was changed. Raises ConfigError for a text that is no value."""
        words = [
            f"{name}={field.value.strip()}"
            for name, field in self.fields.items()
            if field.value.strip() != self._before[name]
        ]
        return read_keywords(words)


def as_text(value: Any) -> str:
    """A setting as a field shows it."""
    return "none" if value is None else str(value)
