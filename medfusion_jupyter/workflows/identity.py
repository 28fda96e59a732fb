"""What tells a function from one that does another thing: its code, its defaults, and what of the notebook it uses."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

NOTEBOOK = "__main__"
"""The module of what is written in cells; what is imported changes with its package."""


def identity_of(work: Any) -> list[Any]:
    """JSON that is the same for a function that does the same, so that a cell that is run again makes no other node of it.

    It changes with the code and the defaults, and for a function of a notebook with what it uses of that: other functions and
    classes, which are followed, plain values, and what else there is, as the object that it is.
    """
    return _of_function(getattr(work, "function", work), set())  # of a node of one's own, what the cell says


def _of_function(work: Any, seen: set[int]) -> list[Any]:
    own = [getattr(work, "__module__", ""), getattr(work, "__qualname__", type(work).__qualname__)]
    # a method or a closure may do another thing each time
    if not isinstance(work, FunctionType) or work.__closure__:
        return [*own, _object(work)]
    seen.add(id(work))
    defaults = [_of_value(one, seen) for one in (work.__defaults__ or (), work.__kwdefaults__ or {})]
    names = sorted(_names(work.__code__) & work.__globals__.keys()) if work.__module__ == NOTEBOOK else []
    used = {name: _of_value(work.__globals__[name], seen) for name in names}
    return [*own, _content_of(work.__code__), defaults, used]


def _of_value(value: Any, seen: set[int]) -> Any:
    """JSON that is the same for a value of the same content, as far as that can be told."""
    if id(value) in seen:
        return getattr(value, "__qualname__", "")
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, type) or callable(value):
        if getattr(value, "__module__", None) != NOTEBOOK:  # of a library: its version is what changes
            return [getattr(value, "__module__", ""), getattr(value, "__qualname__", type(value).__qualname__)]
        if not isinstance(value, type):
            return _of_function(value, seen)
        seen.add(id(value))
        return [value.__qualname__, {name: _of_value(one, seen) for name, one in _written(value)}]
    if isinstance(value, set | frozenset):
        return _constant(value)
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return _object(value)


def _written(kind: type) -> Iterator[tuple[str, Any]]:
    """What the body of a class says: its functions and plain values."""
    for name, one in vars(kind).items():
        plain = one.__func__ if isinstance(one, staticmethod | classmethod) else one
        plain = plain.fget if isinstance(plain, property) else plain
        if inspect.isfunction(plain) or isinstance(plain, str | int | float | bool | list | dict | tuple):
            yield name, plain


def _names(code: CodeType) -> set[str]:
    """The names that a function uses, with those of the functions within it."""
    within = (_names(one) for one in code.co_consts if isinstance(one, CodeType))
    return set(code.co_names).union(*within)


def _content_of(code: CodeType) -> str:
    """A digest of what a function does, without the place where it is written."""
    constants = [_content_of(one) if isinstance(one, CodeType) else _constant(one) for one in code.co_consts]
    return hashlib.sha256(json.dumps([code.co_code.hex(), constants, list(code.co_names)]).encode()).hexdigest()


def _constant(value: Any) -> str:
    """A constant as text; a set has another order in each process."""
    return f"{{{', '.join(sorted(map(repr, value)))}}}" if isinstance(value, set | frozenset) else repr(value)


def _object(value: Any) -> str:
    return f"object {id(value)}"
