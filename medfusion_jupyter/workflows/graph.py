"""The graph of a workflow, read from its JSON and written back without loss."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

NODE_ID_LENGTH = 200
"""A node's id is also the name of its run in the store."""

DEPTH = 50
"""Lists and objects within one another that a setting may have: a database and a browser read no more than some."""

_NODE_KEYS = ("id", "type", "settings")
_EDGE_KEYS = ("source", "source_port", "target", "target_port")


class GraphError(ValueError):
    """JSON that is no graph, or a graph that has no order."""


@dataclass(frozen=True)
class Node:
    """A node. type: name in the catalogue; extra: what else its JSON holds, such as its position, which is kept as it is."""

    id: str
    type: str
    settings: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it was read; `settings` is always there."""
        return {"id": self.id, "type": self.type, "settings": self.settings, **self.extra}


@dataclass(frozen=True)
class Edge:
    """From an output port of the node `source` to an input port of the node `target`. extra: as of a node."""

    source: str
    source_port: str
    target: str
    target_port: str
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it was read."""
        return {name: getattr(self, name) for name in _EDGE_KEYS} | self.extra


@dataclass(frozen=True)
class Flaw:
    """A part of the JSON that is no node or edge. node: its id, where it has one; edge: place among the edges, from 0."""

    message: str
    fix: str
    node: str | None = None
    edge: int | None = None


@dataclass(frozen=True)
class Graph:
    """Nodes and edges, in the order of the JSON."""

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()

    @classmethod
    def of(cls, nodes: Sequence[Any], edges: Sequence[Any]) -> Self:
        """From what `workflows.nodes` and `edges` hold. Raises GraphError for JSON that is no graph."""
        graph, _, flaws = read({"nodes": nodes, "edges": edges})
        if flaws:
            flaw = flaws[0]
            raise GraphError(f"{'' if flaw.node is None else f'{flaw.node!r}: '}{flaw.message} {flaw.fix}")
        return cls(graph.nodes, graph.edges)

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """`{"nodes": […], "edges": […]}`."""
        return {"nodes": [node.to_json() for node in self.nodes], "edges": [edge.to_json() for edge in self.edges]}

    def into(self, node_id: str) -> list[Edge]:
        """The edges that lead into a node, in their order."""
        return [edge for edge in self.edges if edge.target == node_id]

    def in_order(self) -> list[Node]:
        """The nodes, each after those that it takes from, else in the order of the JSON. Raises GraphError for a cycle."""
        cycle = cycle_of([node.id for node in self.nodes], ((edge.source, edge.target) for edge in self.edges))
        if cycle:
            raise GraphError(f"The nodes {' → '.join(cycle)} need one another: remove one of these edges.")
        sources: dict[str, list[str]] = defaultdict(list)
        for edge in self.edges:
            sources[edge.target].append(edge.source)
        by_id = {node.id: node for node in self.nodes}
        done: dict[str, Node] = {}
        for start in by_id:
            # depth first without recursion: a chain may be long
            waiting = [start]
            while waiting:
                first = next((one for one in sources[waiting[-1]] if one not in done and one in by_id), None)
                if first is not None:
                    waiting.append(first)
                else:
                    last = waiting.pop()
                    done.setdefault(last, by_id[last])
        return list(done.values())


def read(value: object) -> tuple[Graph, list[int], list[Flaw]]:
    """The graph in any JSON value; the place among the JSON's edges of each edge that was read; what is not part of a graph.

    Never raises.
    """
    if not isinstance(value, Mapping):
        return Graph(), [], [Flaw("The graph is no object.", "Give an object with the lists nodes and edges.")]
    flaws: list[Flaw] = []
    nodes: list[Node] = []
    edges: list[Edge] = []
    places: list[int] = []
    for place, given in enumerate(_listed(value, "nodes", flaws)):
        made = _node(given, place)
        if isinstance(made, Node):
            nodes.append(made)
        else:
            flaws.append(made)
    for place, given in enumerate(_listed(value, "edges", flaws)):
        edge = _edge(given)
        if edge is not None:
            edges.append(edge)
            places.append(place)
        else:
            words = f"The edge {place} (from 0) does not say from where to where it leads."
            flaws.append(Flaw(words, "Give it source, source_port, target and target_port as texts.", edge=place))
    return Graph(tuple(nodes), tuple(edges)), places, flaws


def cycle_of(nodes: Iterable[str], edges: Iterable[tuple[str, str]]) -> list[str]:
    """The ids of nodes that form a cycle, the first again at the end; empty where there is none."""
    targets: dict[str, list[str]] = {node: [] for node in nodes}
    entering = dict.fromkeys(targets, 0)
    for source, target in edges:
        if source in targets and target in targets:
            targets[source].append(target)
            entering[target] += 1
    free = [node for node, count in entering.items() if not count]
    while free:
        node = free.pop()
        del entering[node]
        for target in targets[node]:
            entering[target] -= 1
            if not entering[target]:
                free.append(target)
    if not entering:
        return []
    # each of the nodes that are left is entered from another of them: walk backwards until one comes again
    source_of = {target: node for node in entering for target in targets[node] if target in entering}
    walked: dict[str, int] = {}
    here = next(iter(entering))
    while here not in walked:
        walked[here] = len(walked)
        here = source_of[here]
    cycle = list(walked)[walked[here] :][::-1]
    return [*cycle, cycle[0]]


def _listed(value: Mapping[Any, Any], name: str, flaws: list[Flaw]) -> Sequence[Any]:
    given = value.get(name, [])
    if isinstance(given, list | tuple):
        return given
    flaws.append(Flaw(f"{name} is no list.", f"Give {name} as a list of objects."))
    return []


def _node(given: object, place: int) -> Node | Flaw:
    if not isinstance(given, Mapping):
        return Flaw(f"The node {place} (from 0) is no object.", "Give it id, type and settings.")
    identity, kind, settings = given.get("id"), given.get("type"), given.get("settings", {})
    if not isinstance(identity, str) or not _is_name(identity):
        return Flaw(
            f"The node {place} (from 0) has no id.",
            f"Give it a text of 1 to {NODE_ID_LENGTH} characters as id.",
        )
    if not isinstance(kind, str):
        return Flaw("The node has no type.", "Give it the name of a node type.", node=identity)
    if not isinstance(settings, Mapping) or not all(isinstance(name, str) for name in settings):
        return Flaw("The node's settings are no object.", "Give them as an object of name and value.", node=identity)
    bad = next((name for name, one in settings.items() if not _is_json(one)), None)
    if bad is not None:
        return Flaw(
            f"The setting {bad!r} is no value of JSON.",
            "Give a text, a finite number, true, false, null, or lists and objects of these, at most "
            f"{DEPTH} within one another.",
            node=identity,
        )
    extra = {name: kept for name, kept in given.items() if name not in _NODE_KEYS}
    if extra and not _is_json(extra):
        return Flaw("What else it holds is no JSON.", "Keep id, type, settings and position alone.", node=identity)
    return Node(identity, kind, dict(settings), extra)


def _is_name(text: str) -> bool:
    """Whether every database can keep it."""
    return 0 < len(text) <= NODE_ID_LENGTH and "\0" not in text and not any("\ud800" <= one <= "\udfff" for one in text)


def _is_json(value: object, depth: int = DEPTH) -> bool:
    """Whether every database can keep it, and a browser read it: NaN is a number to Python alone."""
    if value is None or isinstance(value, str | bool | int):
        return True
    if isinstance(value, float):
        return math.isfinite(value)
    if depth == 0:
        return False
    if isinstance(value, list | tuple):
        return all(_is_json(one, depth - 1) for one in value)
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and _is_json(one, depth - 1) for name, one in value.items()
    )


def _edge(given: object) -> Edge | None:
    if not isinstance(given, Mapping):
        return None
    ends = [given.get(name) for name in _EDGE_KEYS]
    if not all(isinstance(end, str) for end in ends):
        return None
    extra = {name: kept for name, kept in given.items() if name not in _EDGE_KEYS}
    if extra and not _is_json(extra):
        return None
    source, source_port, target, target_port = (str(end) for end in ends)
    return Edge(source, source_port, target, target_port, extra)
