"""Settings that are written as words: `lr=1e-4 patience=none freeze=image_encoder,fusion`, on a command line or in a form."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from medfusion_jupyter.settings.training import ConfigError, TrainingSettings

WORDS = {"none": None, "true": True, "false": False}


def read_keywords(words: Iterable[str]) -> dict[str, Any]:
    """Each word as a keyword of `mf.train`: `none`, `true`, a number, JSON, or a text; several names with commas are a list.

    Whether the value is allowed is not looked at. Raises ConfigError for a word that is none.
    """
    settings: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name or not text:
            raise ConfigError(
                f"{word!r} is no change: write a setting and its value, such as lr=1e-4 or patience=none."
            )
        settings[name] = _value(name, text)
    return settings


def _value(name: str, text: str) -> Any:
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return [_value("", part.strip()) for part in text.split(",")] if _takes_several(name, text) else text


def _takes_several(name: str, text: str) -> bool:
    field = TrainingSettings.model_fields.get(name)
    return "," in text or (field is not None and "tuple" in str(field.annotation) and text != "all")
