"""What is wrong with a value and what is allowed, in words: the same in a notebook, over REST and on the command line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

LONGEST_SHOWN = 80
"""Characters of a refused value that are shown."""

NOT_BLANK = r"\S"
"""The pattern of a text that is more than blanks."""

NUMBERS = {
    "greater_than",
    "greater_than_equal",
    "less_than",
    "less_than_equal",
    "finite_number",
    "float_type",
    "float_parsing",
    "int_type",
    "int_parsing",
    "int_parsing_size",
    "int_from_float",
}
TYPES = {
    "string_type": "give a text",
    "bool_type": "give true or false",
    "bool_parsing": "give true or false",
    "list_type": "give a list",
    "tuple_type": "give a list",
    "dict_type": "give settings by their names",
    "model_type": "give settings by their names",
    "model_attributes_type": "give settings by their names",
    "missing": "it is needed",
}


def in_words(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    """One of pydantic's errors with `model`, such as `lr=99: give a number above 0 and at most 10. (lr: peak learning rate)`."""
    where, field = ".".join(str(part) for part in error["loc"]), _field(model, error["loc"])
    why = reason(error, model)
    why += "" if why.endswith("?") else "."
    if not where:
        return why
    meaning = f" ({where}: {field.description})" if field is not None and field.description else ""
    value = error["input"]
    plain = value is None or isinstance(value, str | int | float)
    # what is missing has no value: pydantic gives what it is missing in
    name = f"{where}={shown(value)}" if plain and error["type"] != "missing" else where
    return f"{name}: {why}{meaning}"


def reason(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    """What is allowed in place of the value that one of pydantic's errors with `model` is about, without a full stop."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        there = _model(model, error["loc"]).model_fields
        near = difflib.get_close_matches(str(error["loc"][-1]), there, n=1)
        return f"there is no such name; {f'did you mean {near[0]!r}?' if near else 'there are ' + ', '.join(there)}"
    if kind in NUMBERS:
        return f"give {_number(kind, _field(model, error['loc']), context)}"
    if kind in TYPES:
        return TYPES[kind]
    if kind in ("literal_error", "enum"):
        allowed = re.findall(r"'([^']*)'", context["expected"])
        near = difflib.get_close_matches(str(error["input"]), allowed, n=1)
        return f"give {_one_of(allowed) or context['expected']}" + (f" (did you mean {near[0]!r}?)" if near else "")
    parts = "character" if isinstance(error["input"], str) else "item"
    if kind in ("string_too_long", "too_long"):
        return f"give at most {context['max_length']:,} {parts}s; it has {len(error['input']):,}"
    if kind in ("string_too_short", "too_short"):
        return f"give at least {context['min_length']} {parts}" + ("s" if context["min_length"] > 1 else "")
    if kind == "string_pattern_mismatch" and context["pattern"] == NOT_BLANK:
        return "give more than blanks"
    return str(error["msg"]).removeprefix("Value error, ").rstrip(".")


def shown(value: Any) -> str:
    """A refused value, cut where it is long."""
    words = repr(value)
    return words if len(words) <= LONGEST_SHOWN else f"{words[:LONGEST_SHOWN]}…"


def _field(model: type[BaseModel], place: tuple[int | str, ...]) -> FieldInfo | None:
    """The field that a place within a model is of; None where it is of none."""
    inner = _model(model, place).model_fields
    return next((inner[str(part)] for part in reversed(place) if str(part) in inner), None)


def _model(model: type[BaseModel], place: tuple[int | str, ...]) -> type[BaseModel]:
    """The model within `model` that the last name of a place is one of."""
    found = model.model_fields.get(str(place[0])) if len(place) > 1 else None
    inner = [one for one in kinds_of(found.annotation) if issubclass(one, BaseModel)] if found is not None else []
    return _model(inner[0], place[1:]) if inner else model


def _number(kind: str, field: FieldInfo | None, context: Mapping[str, Any]) -> str:
    bounds: dict[str, Any] = {name: context[name] for name in ("gt", "ge", "lt", "le") if name in context}
    whole = kind.startswith("int")
    if field is not None:
        kinds = kinds_of(field.annotation)
        own = {
            name: getattr(one, name)
            for one in field.metadata
            for name in ("gt", "ge", "lt", "le")
            if hasattr(one, name)
        }
        # not those of an element of a list
        bounds = {**own, **bounds} if own.items() >= bounds.items() else bounds
        whole = whole or (int in kinds and float not in kinds)
    bounded = {"gt": "above {:,}", "ge": "of {:,} or more", "lt": "below {:,}", "le": "at most {:,}"}
    bounds = {name: int(bound) if bound == int(bound) else bound for name, bound in bounds.items()}
    words = [form.format(bounds[name]) for name, form in bounded.items() if name in bounds]
    if {"ge", "le"} <= bounds.keys():
        words = [f"from {bounds['ge']:,} to {bounds['le']:,}"]
    return " ".join(["a whole number" if whole else "a number", " and ".join(words)]).strip()


def kinds_of(annotation: Any) -> list[type]:
    """The types that an annotation such as `int | None` names."""
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation]
    inside = [annotation.__origin__] if hasattr(annotation, "__metadata__") else get_args(annotation)
    return [kind for one in inside for kind in kinds_of(one)]


def _one_of(allowed: Iterable[str]) -> str:
    words = [repr(one) for one in allowed]
    return words[0] if len(words) == 1 else " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
