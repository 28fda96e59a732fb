"""A node type of one's own, of a plain function in a cell."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, create_model

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

PLAIN = (str, int, float, bool, list, dict, tuple, type(None))

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
    with a default need not be connected. Numbers, texts, truth values, lists, dicts and Literals are settings, with the
    ranges that `Annotated[int, Field(ge=0)]` gives. A parameter of the class Context is given the node's context: its progress,
    and whether to stop. The return annotation is the output; a NamedTuple has an output a field, None has none.

    Run again, the cell replaces the node type. Raises ValueError for the name of a node type of another, and TypeError for a
    parameter without annotation.
    """

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
            fields[parameter.name] = (hint, ... if default is parameter.empty else default)
        else:
            several = get_origin(hint) is list
            kind = _port_type(get_args(hint)[0] if several else _without_none(hint))
            inputs.append(Input(parameter.name, kind, required=default is parameter.empty, several=several))
    if "return" not in hints:
        raise TypeError(f"{own_name}: say by `-> Cohort` or the like what it gives; `-> None` where it gives nothing.")
    outputs, named = _outputs(hints["return"])
    settings = create_model(own_name, __config__=ConfigDict(extra="forbid", frozen=True), **fields)
    return NodeType(
        name,
        family,
        title or own_name.replace("_", " ").capitalize(),
        help or inspect.getdoc(function) or "",
        _Work(function, outputs, named, wants_context),
        tuple(inputs),
        outputs,
        settings,
        code=Call(
            own_name,
            {port.name: port.name for port in inputs},
            outputs={port.name: f".{port.name}" if named else "" for port in outputs},
        )
        if wants_context is None and not any(port.several for port in inputs)
        else None,
    )


class _Work:
    """A plain function as the work of a node."""

    def __init__(
        self, function: Callable[..., Any], outputs: tuple[Output, ...], named: bool, context: str | None
    ) -> None:
        self._function = function
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
        if self._named:
            return {port.name: getattr(made, port.name) for port in self._outputs}
        return {self._outputs[0].name: made} if self._outputs else {}


def _outputs(hint: Any) -> tuple[tuple[Output, ...], bool]:
    """The outputs of a return annotation, and whether each is a field of a NamedTuple."""
    if hint in (None, type(None)):
        return (), False
    if isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields"):
        fields = typing.get_type_hints(hint)
        return tuple(Output(name, _port_type(fields[name])) for name in hint._fields), True
    kind = _port_type(hint)
    return (Output(kind, kind),), False


def _port_type(hint: Any) -> str:
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
    return hint in PLAIN or (isinstance(hint, type) and issubclass(hint, BaseModel))


def _without_none(hint: Any) -> Any:
    kept = [one for one in get_args(hint) if one is not type(None)]
    return kept[0] if get_origin(hint) in (typing.Union, types.UnionType) and len(kept) == 1 else hint
