"""A node type of one's own, of a plain function in a cell."""

from __future__ import annotations

import datetime
import enum
import inspect
import json
import types
import typing
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model

from medfusion_jupyter.workflows.call import Call
from medfusion_jupyter.workflows.catalogue import Input, NodeType, Output, catalogue
from medfusion_jupyter.workflows.context import Context

Function = TypeVar("Function", bound=Callable[..., Any])

PORTS = {
    "medfusion_jupyter.data.cohort.Cohort": "cohort",
    "medfusion_jupyter.data.split.Split": "split",
    "medfusion_jupyter.training.model.Model": "model",
    "medfusion_jupyter.training.cross_validation.CrossValidation": "cross_validation",
    "medfusion_jupyter.evaluation.evaluate.Evaluation": "evaluation",
    "medfusion_jupyter.data.checks.findings.Findings": "findings",
    "pandas.core.frame.DataFrame": "predictions",
    "pandas.DataFrame": "predictions",
}
"""The type of a port by the class that it takes; a class of one's own has a type of its own, named as the class."""

PLAIN = (str, int, float, bool, list, dict, tuple, type(None), Path, datetime.date, datetime.datetime)
RESERVED = ("id", *(name for name in dir(BaseModel) if name.startswith("model_")))
"""Names that a setting cannot have: `Workflow.add` and pydantic take them."""

_own: set[str] = set()


def node(
    name: str, *, family: str = "My nodes", title: str | None = None, help: str = ""
) -> Callable[[Function], Function]:
    """Make a function a node type, which the palette of the builder then offers; the function stays as it is.

    >>> @node("cohort.adults")
    ... def adults(cohort: Cohort, least: int = 18) -> Cohort:
    ...     \"\"\"Keep grown-up patients.\"\"\"
    ...     return cohort.filter("age", at_least=least)

    Parameters of a class, such as Cohort, Split, Model or a DataFrame, are inputs: `list[Model]` takes several edges, and one
    with a default need not be connected. Numbers, texts, truth values, dates, paths, lists, dicts, Literals and Enums are
    settings, with the ranges that `Annotated[int, Field(ge=0)]` gives. A parameter of the class Context is given the node's
    context: its progress, and whether to stop. The return annotation is the output; a NamedTuple has an output a field, None
    has none.

    Run again, the cell replaces the node type. What a node gave is kept, and it is run again when its inputs or settings, the
    function, or what the function uses of the notebook are others. Raises ValueError for the name of a node type of another and
    for a default that is none of the values allowed, and TypeError for a parameter that has no annotation or one that says
    neither an input nor a setting.
    """
    if not isinstance(name, str) or not name.strip():
        raise TypeError(f'The node type needs a name: write @node("cohort.adults"), not @node({_shown(name)}).')

    def add(function: Function) -> Function:
        there = catalogue()
        if name in there and name not in _own:
            raise ValueError(f"There is a node type {name!r} already: choose another name.")
        _own.add(name)
        there.replace(_node_type(function, name, family, title, help))
        return function

    return add


def _node_type(function: Callable[..., Any], name: str, family: str, title: str | None, help: str) -> NodeType:
    own_name = function.__name__
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise TypeError(f"{own_name} is async or yields: a node is a plain function that returns what it gives.")
    hints = typing.get_type_hints(function, include_extras=True)
    inputs: list[Input] = []
    fields: dict[str, Any] = {}
    wants_context: str | None = None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name not in hints or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(
                f"{own_name}: the parameter {parameter.name!r} needs an annotation, such as Cohort for an input or int for a "
                "setting."
            )
        hint, default = hints[parameter.name], parameter.default
        if hint is Context:
            wants_context = parameter.name
        elif _is_plain(hint):
            fields[parameter.name] = _setting(own_name, parameter.name, hint, default)
        else:
            several = get_origin(hint) is list
            kind = _port_type(own_name, get_args(hint)[0] if several else hint)
            inputs.append(Input(parameter.name, kind, required=default is parameter.empty, several=several))
    if "return" not in hints:
        raise TypeError(f"{own_name}: say by `-> Cohort` or the like what it gives; `-> None` where it gives nothing.")
    outputs, named = _outputs(own_name, hints["return"])
    return NodeType(
        name,
        family,
        title or own_name.replace("_", " ").capitalize(),
        help or inspect.getdoc(function) or "",
        _Work(function, hints["return"], outputs, named, wants_context),
        tuple(inputs),
        outputs,
        _settings(own_name, fields),
        code=Call(
            own_name,
            {port.name: port.name for port in inputs},
            outputs={port.name: f".{port.name}" if named else "" for port in outputs},
        )
        if wants_context is None and not any(port.several for port in inputs)
        else None,
    )


def _setting(function: str, name: str, hint: Any, default: Any) -> tuple[Any, Any]:
    """Annotation and default of a field. Raises TypeError for a name, ValueError for a default that it cannot have."""
    if name.startswith("_") or name in RESERVED:
        raise TypeError(f"{function}: a setting cannot be called {name!r}: give the parameter another name.")
    if default is inspect.Parameter.empty:
        return hint, ...
    if default is None:
        return hint | None, None
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint)
        json.dumps(adapter.dump_python(adapter.validate_python(default), mode="json"), allow_nan=False)
    except (ValidationError, ValueError):
        raise ValueError(
            f"{function}: {name}={default!r} is no value that {_shown(hint)} allows and JSON can hold: give it another default, "
            "or None."
        ) from None
    return hint, default


def _settings(name: str, fields: Mapping[str, Any]) -> type[BaseModel]:
    config = ConfigDict(extra="forbid", frozen=True)
    with warnings.catch_warnings():  # nothing here calls the methods of pydantic that `copy`, `json` or `schema` hide
        warnings.filterwarnings("ignore", message="Field name .* shadows an attribute")
        made: type[BaseModel] = create_model(name, __config__=config, **fields)
    return made


class _Work:
    """A plain function as the work of a node."""

    def __init__(
        self, function: Callable[..., Any], gives: Any, outputs: tuple[Output, ...], named: bool, context: str | None
    ) -> None:
        self._function = function
        self._gives = _without_none(gives)
        self._outputs = outputs
        self._named = named
        self._context = context
        self.__module__ = function.__module__
        self.__qualname__ = function.__qualname__

    @property
    def function(self) -> Callable[..., Any]:
        """What is called."""
        return self._function

    def __call__(self, inputs: Mapping[str, Any], settings: BaseModel, context: Context) -> Mapping[str, Any]:
        given = {**inputs, **{name: getattr(settings, name) for name in type(settings).model_fields}}
        if self._context is not None:
            given[self._context] = context
        made = self._function(**given)
        # another node would fail on it later, and say less
        if self._outputs and isinstance(self._gives, type) and not isinstance(made, self._gives):
            raise TypeError(
                f"{self.__qualname__} gave a {type(made).__name__}; by its annotation it gives a {_shown(self._gives)}."
            )
        if self._named:
            return {port.name: getattr(made, port.name) for port in self._outputs}
        return {self._outputs[0].name: made} if self._outputs else {}


def _outputs(function: str, hint: Any) -> tuple[tuple[Output, ...], bool]:
    """The outputs of a return annotation, and whether each is a field of a NamedTuple."""
    if hint in (None, type(None)):
        return (), False
    if isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields"):
        fields = typing.get_type_hints(hint)
        return tuple(Output(name, _port_type(function, fields[name])) for name in hint._fields), True
    kind = _port_type(function, hint)
    return (Output(kind, kind),), False


def _port_type(function: str, hint: Any) -> str:
    """The type of a port. Raises TypeError for an annotation that is no one class."""
    hint = _without_none(hint)
    if get_origin(hint) in (typing.Union, types.UnionType, tuple):
        raise TypeError(
            f"{function}: {_shown(hint)} is no type of a port: name one class, and a NamedTuple for several outputs."
        )
    if not isinstance(hint, type):
        return str(hint)
    return PORTS.get(f"{hint.__module__}.{hint.__qualname__}", hint.__name__.lower())


def _is_plain(hint: Any) -> bool:
    origin = get_origin(hint)
    if origin is typing.Annotated:
        return _is_plain(get_args(hint)[0])
    if origin is typing.Literal:
        return True
    if origin in (typing.Union, types.UnionType, list, tuple, dict):
        return all(one is Ellipsis or _is_plain(one) for one in get_args(hint))
    return hint in PLAIN or (isinstance(hint, type) and issubclass(hint, BaseModel | enum.Enum))


def _without_none(hint: Any) -> Any:
    kept = [one for one in get_args(hint) if one is not type(None)]
    return kept[0] if get_origin(hint) in (typing.Union, types.UnionType) and len(kept) == 1 else hint


def _shown(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type | types.FunctionType) else str(hint)
