"""Settings that may be changed while a run goes on: those that no batch, no weight and no place of the run depends on."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from medfusion_jupyter.settings.training import ConfigError, TrainingSettings

LIVE = ("lr", "encoder_lr", "epochs", "patience", "min_delta", "unfreeze")
"""Names of the settings that a run takes over between two steps."""


def live_changes(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The changes as they are kept with the job. current: its settings as they were stored.

    They have the ranges of the settings, and go together with those that stay. Raises ConfigError for a setting that cannot be
    changed in a run, with those that can.
    """
    if not wanted:
        raise ConfigError(f"Nothing to change is given. In a run can be changed: {', '.join(LIVE)}.")
    for name in wanted:
        if name not in LIVE:
            near = difflib.get_close_matches(name, LIVE, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{name} cannot be changed in a run; {', '.join(LIVE)} can.{hint}")
    if "encoder_lr" in wanted and (current.get("encoder_lr") is None or wanted["encoder_lr"] is None):
        raise ConfigError(
            "encoder_lr can be changed, but not begun or ended, in a run: whether the encoders have a rate of their own "
            "divides the optimiser's parameters."
        )
    changed = TrainingSettings.of({**current, **wanted}).model_dump(mode="json")
    return {name: changed[name] for name in wanted}
