"""The difference between two versions of a workflow: which nodes and edges came, went or were changed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medfusion_jupyter.store.workflows import WorkflowVersion


@dataclass(frozen=True)
class Change:
    """One value of a node that differs. name: such as `settings.lr`, `type` or `position`; None: it is not there."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True)
class NodeChange:
    """A node that is in both versions."""

    id: Any
    changes: list[Change]


@dataclass(frozen=True)
class WorkflowDiff:
    """What differs in the version `after` from the version `before`. Nodes are told apart by their id; edges are as stored."""

    before: int
    after: int
    nodes_added: list[dict[str, Any]]
    nodes_removed: list[dict[str, Any]]
    nodes_changed: list[NodeChange]
    edges_added: list[dict[str, Any]]
    edges_removed: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def difference(before: WorkflowVersion, after: WorkflowVersion) -> WorkflowDiff:
    """The difference of two versions, whatever their JSON holds; edges that differ in anything are other edges."""
    old, new = _by_id(before.nodes), _by_id(after.nodes)
    changed = [
        NodeChange(node.get("id"), changes)
        for key, node in new.items()
        if key in old and (changes := _changes(old[key], node))
    ]
    return WorkflowDiff(
        before.version,
        after.version,
        nodes_added=[node for key, node in new.items() if key not in old],
        nodes_removed=[node for key, node in old.items() if key not in new],
        nodes_changed=changed,
        edges_added=_without(after.edges, before.edges),
        edges_removed=_without(before.edges, after.edges),
    )


def _by_id(nodes: Sequence[dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    # a graph that was never valid may have an id twice, or none
    found: Counter[str] = Counter()
    out = {}
    for node in nodes:
        key = _text(node.get("id"))
        out[key, found[key]] = node
        found[key] += 1
    return out


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> list[Change]:
    changes: list[Change] = []
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if not path and name == "settings" and isinstance(old, dict) and isinstance(new, dict):
            changes += _changes(old, new, "settings.")
        elif (name in before) != (name in after) or _text(old) != _text(new):
            changes.append(Change(f"{path}{name}", old, new))
    return changes


def _without(edges: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    there = Counter(_text(edge) for edge in others)
    out = []
    for edge in edges:
        if there[_text(edge)]:
            there[_text(edge)] -= 1
        else:
            out.append(edge)
    return out


def _text(value: Any) -> str:
    """The same for equal JSON: 1 is 1.0, but neither is true."""
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value
