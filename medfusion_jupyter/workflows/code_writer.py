"""A workflow as the Python that does the same: one statement a node, by the public functions that the nodes are."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

from medfusion_jupyter.workflows.call import Call, Comment, Word
from medfusion_jupyter.workflows.catalogue import Catalogue
from medfusion_jupyter.workflows.graph import Edge, Graph, Node

WIDTH = 100
TITLE = "# Workflow: "


class CodeError(ValueError):
    """A workflow that has no Python, or Python that is no workflow."""


def to_code(name: str, graph: Graph, catalogue: Catalogue) -> str:
    """The cell. The graph must be valid. Raises CodeError for a node whose type has no Python."""
    return (
        "\n".join(["import medfusion as mf", "", f"{TITLE}{_one_line(name)}", *_Writer(graph, catalogue).lines()])
        + "\n"
    )


class _Writer:
    def __init__(self, graph: Graph, catalogue: Catalogue) -> None:
        self._graph = graph
        self._catalogue = catalogue
        self._nodes = {node.id: node for node in graph.nodes}
        codes = [node_type.code for node_type in catalogue]
        called = {"mf", *(code.function for code in codes if isinstance(code, Call))}
        self._variables = dict(zip(self._nodes, _variables(self._nodes, called), strict=True))

    def lines(self) -> Iterator[str]:
        last = None
        for node in self._graph.in_order():
            code = self._catalogue.get(node.type).code
            if isinstance(code, Comment):
                text = str(node.settings.get(code.setting, ""))
                yield ""  # two comments that touch would be one
                yield from (f"# {line}".rstrip() for line in text.splitlines() or [""])
            elif isinstance(code, Word):
                yield f"{self._variables[node.id]} = {self._settings(node)[code.setting]!r}"
            elif code is not None:
                yield from self._statement(node, code)
                last = node if code.outputs else last
            else:
                raise CodeError(f"{node.id!r}: the node type {node.type!r} has no Python; it runs in a workflow alone.")
        if last is not None:
            yield self._variables[last.id]

    def _statement(self, node: Node, code: Call) -> Iterator[str]:
        sources = {edge.target_port: edge for edge in self._graph.into(node.id)}
        settings = dict(node.settings)
        given = [(port, word) for port, word in code.inputs.items() if port in sources]
        function = code.function
        if function.startswith("."):
            function = self._value(sources[given.pop(0)[0]]) + function
        arguments = [self._value(sources[port]) for port, word in given if word is None]
        arguments += [repr(settings.pop(name)) for name in code.by_place]
        if "design" in sources:
            arguments += self._design(sources["design"])
        arguments += [f"{word}={self._value(sources[port])}" for port, word in given if word is not None]
        arguments += [f"{name}={value!r}" for name, value in settings.items()]
        arguments += [f"{name}={value!r}" for name, value in code.constants.items()]
        yield from _wrapped(f"{self._variables[node.id]} = {function}", arguments, code.then)

    def _design(self, edge: Edge) -> list[str]:
        """The keywords of the nodes that a design is made of; None for a modality that has no encoder."""
        head = self._nodes[edge.source]
        (of_head,) = self._graph.into(head.id)
        fusion = self._nodes[of_head.source]
        words = {"image_encoder": "None", "tabular_encoder": "None"}
        for one in [*(self._nodes[edge.source] for edge in self._graph.into(fusion.id)), fusion, head]:
            code = self._catalogue.get(one.type).code
            assert isinstance(code, Word)
            words[code.keyword] = self._variables[one.id]
        return [f"{name}={variable}" for name, variable in words.items()]

    def _value(self, edge: Edge) -> str:
        code = self._catalogue.get(self._nodes[edge.source].type).code
        assert isinstance(code, Call)
        return self._variables[edge.source] + code.outputs[edge.source_port]

    def _settings(self, node: Node) -> Mapping[str, Any]:
        return self._catalogue.get(node.type).settings.model_validate(node.settings).model_dump(mode="json")


def _variables(ids: Iterable[str], functions: Set[str]) -> Iterator[str]:
    """A name for each node, its id where that can be one: it is none of the names that the cell calls."""

    def is_free(name: str) -> bool:
        return name.isidentifier() and name.isascii() and not keyword.iskeyword(name) and name not in functions

    taken = {name for name in ids if is_free(name)}
    for node in ids:
        if is_free(node):
            yield node
            continue
        plain = re.sub(r"\W+", "_", node, flags=re.ASCII).strip("_")
        plain = plain if is_free(plain) else f"{plain or 'a'}_node"
        plain = plain if is_free(plain) else f"node_{plain}"
        name, number = plain, 2
        while name in taken:
            name, number = f"{plain}_{number}", number + 1
        taken.add(name)
        yield name


def _wrapped(start: str, arguments: list[str], end: str) -> Iterator[str]:
    whole = f"{start}({', '.join(arguments)}){end}"
    if len(whole) <= WIDTH:
        yield whole
        return
    yield f"{start}("
    line = "   "
    for argument in arguments:
        if len(line) + len(argument) + 2 > WIDTH and line.strip():
            yield line
            line = "   "
        line += f" {argument},"
    yield line
    yield f"){end}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
