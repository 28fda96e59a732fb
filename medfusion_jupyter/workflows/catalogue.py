"""The catalogue of node types: what a node takes, gives and can be set to. Nothing of what it does is imported here."""

from __future__ import annotations

import difflib
import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from pydantic import BaseModel, ConfigDict

from medfusion_jupyter.workflows.call import Call, Comment, Word
from medfusion_jupyter.workflows.context import Context

log = logging.getLogger("medfusion")

ENTRY_POINTS = "medfusion.nodes"
"""Group of entry points, each the place of a NodeType or of a list of them."""

Work = Callable[[Mapping[str, Any], Any, Context], Mapping[str, Any]]
"""What a node does: (values by input port, its settings, its context) to values by output port."""


class UnknownNodeType(LookupError):
    """A name that no node type of the catalogue has."""


class NoSettings(BaseModel):
    """Settings of a node that has none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Output:
    """A port that gives a value. type: such as `cohort`; an edge leads only to an input of the same type."""

    name: str
    type: str
    help: str = ""


@dataclass(frozen=True)
class Input:
    """A port that takes the value of one edge, or with `several` those of any number of edges as a list in their order.

    distinct: of several edges each comes from a node of another type. replaces: settings of the node that the port stands
    for: they cannot be set while it is connected.
    """

    name: str
    type: str
    help: str = ""
    required: bool = True
    several: bool = False
    distinct: bool = False
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeType:
    """One kind of node.

    name: unique, such as `data.synthetic`; family: heading under which it is offered; title, help: for people. settings: a
    pydantic model, whose JSON schema draws the form. run: what it does, as a function or as `module:function`, which is
    imported when a node runs, so that the catalogue itself stays light. always: it reads or writes what its settings only name,
    such as a file, so that it runs each time; what it gives is compared by content. device: it computes on the GPU, or with all
    cores: one such node runs at a time. gate: whether, with its settings, no node that computes on the device begins before it
    has completed, and none of any kind after it has failed. code: how it reads as Python; None has no Python of its own.
    """

    name: str
    family: str
    title: str
    help: str
    run: Work | str
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    settings: type[BaseModel] = NoSettings
    always: bool = False
    device: bool = False
    gate: Callable[[Any], bool] | None = None
    code: Call | Word | Comment | None = None

    def __post_init__(self) -> None:
        for ports in (self.inputs, self.outputs):
            names = [port.name for port in ports]
            if len(set(names)) < len(names):
                raise ValueError(f"The node type {self.name!r} has two ports of one name: {', '.join(names)}.")

    @functools.cached_property
    def input_ports(self) -> dict[str, Input]:
        """The inputs by name."""
        return {port.name: port for port in self.inputs}

    @functools.cached_property
    def output_ports(self) -> dict[str, Output]:
        """The outputs by name."""
        return {port.name: port for port in self.outputs}

    def work(self) -> Work:
        """What it does; imported now. Raises ImportError or AttributeError where `run` names nothing."""
        if not isinstance(self.run, str):
            return self.run
        module, _, function = self.run.partition(":")
        work: Work = getattr(import_module(module), function)
        return work

    def to_json(self) -> dict[str, Any]:
        """For a form: all but what it does; settings as JSON schema."""
        return {
            "name": self.name,
            "family": self.family,
            "title": self.title,
            "help": self.help,
            "inputs": [asdict(port) for port in self.inputs],
            "outputs": [asdict(port) for port in self.outputs],
            "settings": _form(self.settings),
        }


def _form(settings: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of settings; `group`: what those have in common that come from one class with a `heading`."""
    schema = settings.model_json_schema()
    for part in settings.__mro__:
        heading = vars(part).get("heading")
        for name in vars(part).get("__annotations__", {}) if heading else ():
            if name in schema.get("properties", {}):
                schema["properties"][name]["group"] = heading
    return schema


class Catalogue:
    """Node types by name.

    >>> catalogue = Catalogue()
    >>> @catalogue.register("table.double", family="Table", title="Double", outputs=[Output("table", "table")])
    ... def double(inputs, settings, context): ...
    """

    def __init__(self, node_types: Sequence[NodeType] = ()) -> None:
        self._types: dict[str, NodeType] = {}
        for node_type in node_types:
            self.add(node_type)

    def add(self, node_type: NodeType) -> NodeType:
        """Take a node type in. Raises ValueError where its name is taken."""
        if node_type.name in self._types:
            raise ValueError(f"A node type named {node_type.name!r} is registered already; choose another name.")
        self._types[node_type.name] = node_type
        return node_type

    def register(
        self,
        name: str,
        *,
        family: str,
        title: str,
        help: str = "",
        inputs: Sequence[Input] = (),
        outputs: Sequence[Output] = (),
        settings: type[BaseModel] = NoSettings,
    ) -> Callable[[Work], Work]:
        """Decorate a function `(inputs, settings, context) -> outputs` as a node type. Raises ValueError where `name` is taken.

        help: by default the function's own docstring.
        """

        def add(work: Work) -> Work:
            told = help or (work.__doc__ or "").strip()
            self.add(NodeType(name, family, title, told, work, tuple(inputs), tuple(outputs), settings))
            return work

        return add

    def replace(self, node_type: NodeType) -> NodeType:
        """Take a node type in, in place of one of its name."""
        self._types[node_type.name] = node_type
        return node_type

    def get(self, name: str) -> NodeType:
        """The node type of that name. Raises UnknownNodeType, offering the closest name."""
        try:
            return self._types[name]
        except KeyError:
            hint = f" {closest(name, self._types)}".rstrip()
            raise UnknownNodeType(f"There is no node type {name[:80]!r}.{hint}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._types

    def __iter__(self) -> Iterator[NodeType]:
        return iter(self._types.values())

    def to_json(self) -> list[dict[str, Any]]:
        """Every node type, in the order in which they were taken in."""
        return [node_type.to_json() for node_type in self]


def closest(name: str, there: Mapping[str, Any]) -> str:
    """`Did you mean 'x'?`, or the names there are where none is near."""
    near = difflib.get_close_matches(name, there, n=1)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Choose one of: {', '.join(there)}." if there else ""


@functools.cache
def catalogue() -> Catalogue:
    """The catalogue of this process: what the project brings, and what installed packages add by ENTRY_POINTS.

    A package's node types that cannot be loaded are left out with a warning: the others are there nevertheless.
    """
    from medfusion_jupyter.workflows.builtin import BUILTIN

    found = Catalogue(BUILTIN)
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            loaded = entry.load()
            for node_type in [loaded] if isinstance(loaded, NodeType) else loaded:
                found.add(node_type)
        except Exception as error:  # another's code, which may fail in any way
            log.warning("The node types of %s = %s are left out: %s", entry.name, entry.value, error)
    return found
