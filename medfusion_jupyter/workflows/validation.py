"""What keeps a graph from being executed: said of the node, the port or the setting, with the way to mend it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ValidationError

from medfusion_jupyter.settings.refusals import reason
from medfusion_jupyter.workflows.catalogue import Catalogue, NodeType, closest
from medfusion_jupyter.workflows.graph import Edge, Flaw, Graph, Node, cycle_of, read

SHOWN = 80


@dataclass(frozen=True)
class Issue:
    """One fault. node: id of the node; port, setting: which of it; edge: place among the edges, from 0; fix: what to do."""

    message: str
    fix: str
    node: str | None = None
    port: str | None = None
    setting: str | None = None
    edge: int | None = None

    def __str__(self) -> str:
        return " ".join([*([f"{_quoted(self.node)}:"] if self.node is not None else []), self.message, self.fix])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def validate(graph: Graph | Mapping[str, Any] | object, catalogue: Catalogue) -> list[Issue]:
    """Everything that is wrong with a graph; empty where it can be executed. Never raises, whatever the JSON holds.

    graph: a Graph, or JSON with the lists `nodes` and `edges`.
    """
    if isinstance(graph, Graph):
        flaws: list[Flaw] = []
        places = list(range(len(graph.edges)))
    else:
        graph, places, flaws = read(graph)
    issues = [Issue(flaw.message, flaw.fix, node=flaw.node, edge=flaw.edge) for flaw in flaws]
    if not graph.nodes and not flaws:
        issues.append(Issue("The workflow has no nodes.", "Add one."))
    known: dict[str, Node] = {}
    types: dict[str, NodeType] = {}
    for node in graph.nodes:
        if node.id in known:
            issues.append(Issue("Another node has this id already.", "Give it an id of its own.", node=node.id))
            continue
        known[node.id] = node
        if node.type in catalogue:
            types[node.id] = catalogue.get(node.type)
            issues += _of_settings(node, types[node.id])
        else:
            hint = closest(node.type, {one.name: one for one in catalogue})
            message = f"There is no node type {_quoted(node.type)}."
            issues.append(Issue(message, f"{hint} Or install the package that brings it.".lstrip(), node=node.id))
    connected: dict[str, dict[str, set[str]]] = defaultdict(dict)
    seen: set[tuple[str, str, str, str]] = set()
    for edge, place in zip(graph.edges, places, strict=True):
        issues += _of_edge(edge, place, known, types, connected, seen)
    for node_id, node_type in types.items():
        issues += _of_replaced(known[node_id], node_type, connected[node_id])
        issues += [
            Issue(
                f"The input {port.name!r} is not connected.",
                f"Connect an output of type {port.type} to it.",
                node=node_id,
                port=port.name,
            )
            for port in node_type.inputs
            if port.required and port.name not in connected[node_id]
        ]
    cycle = cycle_of(known, ((edge.source, edge.target) for edge in graph.edges))
    if cycle:
        shown = " → ".join(_quoted(one) for one in cycle[:10]) + (" → …" if len(cycle) > 10 else "")
        issues.append(Issue(f"These nodes need one another: {shown}.", "Remove one of these edges.", node=cycle[0]))
    return issues


def _of_settings(node: Node, node_type: NodeType) -> Iterator[Issue]:
    try:
        node_type.settings.model_validate(node.settings)
    except ValidationError as refused:
        for error in refused.errors(include_url=False):
            name = ".".join(str(part) for part in error["loc"]) or None
            field = node_type.settings.model_fields.get(str(error["loc"][0])) if error["loc"] else None
            if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
                message = f"There is no setting {_quoted(str(name))}."
                yield Issue(message, closest(str(name), node_type.settings.model_fields), node.id, setting=name)
                continue
            why = reason(error, node_type.settings)
            meaning = f" ({field.description})" if field is not None and field.description else ""
            fix = f"Change it{meaning}." if name else "Change the settings."
            subject = f"{_shown(name)}: " if name else ""
            yield Issue(f"{subject}{_shown(why, 400)}.", fix, node.id, setting=name)
    except Exception as error:  # the settings of another's node, which may check in any way
        message = f"Its settings could not be checked: {type(error).__name__}: {_shown(str(error), 400)}."
        yield Issue(message, "Change the settings, or report it to the author of the node type.", node.id)


def _of_replaced(node: Node, node_type: NodeType, connected: Mapping[str, object]) -> Iterator[Issue]:
    for port in node_type.inputs:
        if port.replaces and port.name in connected:
            for name in port.replaces:
                if name in node.settings:
                    message = f"{name} is set here, and comes from the input {port.name!r} too."
                    fix = "Take the setting away here, or the edge."
                    yield Issue(message, fix, node.id, port=port.name, setting=name)


def _of_edge(
    edge: Edge,
    place: int,
    known: Mapping[str, Node],
    types: Mapping[str, NodeType],
    connected: dict[str, dict[str, set[str]]],
    seen: set[tuple[str, str, str, str]],
) -> Iterator[Issue]:
    """Faults of one edge; notes in `connected` the inputs that have one, with the types of node that they take from, and in
    `seen` which edges there were.
    """

    def issue(message: str, fix: str, node: str | None = None, port: str | None = None) -> Issue:
        return Issue(message, fix, node, port, edge=place)

    absent = [end for end in (edge.source, edge.target) if end not in known]
    for end in dict.fromkeys(absent):
        yield issue(f"An edge leads to the node {_quoted(end)}, which is not there.", "Remove the edge.")
    ends = (edge.source, edge.source_port, edge.target, edge.target_port)
    repeated = ends in seen
    seen.add(ends)
    if repeated:
        yield issue("The same edge is there twice.", "Remove one of them.", edge.target, edge.target_port)
    taken = edge.target_port in connected[edge.target]
    sources = connected[edge.target].setdefault(edge.target_port, set())
    source, target = types.get(edge.source), types.get(edge.target)
    alike = source is not None and source.name in sources
    sources.add("" if source is None else source.name)
    given = source.output_ports.get(edge.source_port) if source else None
    wanted = target.input_ports.get(edge.target_port) if target else None
    if source is not None and given is None:
        fix = closest(edge.source_port, source.output_ports) or "Remove the edge."
        yield issue(f"It has no output {_quoted(edge.source_port)}.", fix, edge.source, edge.source_port)
    if target is not None and wanted is None:
        fix = closest(edge.target_port, target.input_ports) or "Remove the edge."
        yield issue(f"It has no input {_quoted(edge.target_port)}.", fix, edge.target, edge.target_port)
    if given is not None and wanted is not None and given.type != wanted.type:
        message = f"The input {wanted.name!r} takes a {wanted.type}, not a {given.type}."
        yield issue(message, f"Connect an output of type {wanted.type}.", edge.target, edge.target_port)
    if wanted is not None and taken and not repeated and not wanted.several:
        message = f"The input {wanted.name!r} has more than one edge."
        yield issue(message, "Keep one of them.", edge.target, edge.target_port)
    if wanted is not None and wanted.distinct and source is not None and alike and not repeated:
        message = f"The input {wanted.name!r} takes from two nodes of the type {source.name!r}."
        yield issue(message, "Keep one of each type.", edge.target, edge.target_port)


def _quoted(text: str) -> str:
    return repr(_shown(text))


def _shown(text: str, limit: int = SHOWN) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"
