"""A workflow as a document, in JSON or YAML: what a file, a message or a cell holds of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medfusion_jupyter.settings.yaml_text import read_yaml, write_yaml
from medfusion_jupyter.workflows.graph import Graph, GraphError

FORMAT = 1
"""Raised when a document means something else than before; a newer one is not read."""

ARROW = " -> "
_KEYS = ("format", "name", "description", "nodes", "edges")


def to_json(name: str, description: str, graph: Graph) -> dict[str, Any]:
    """`{"format": 1, "name": …, "description": …, "nodes": […], "edges": […]}`."""
    return {"format": FORMAT, "name": name, "description": description, **graph.to_json()}


def from_json(value: object) -> tuple[str, str, Graph]:
    """Name, description and graph. Raises GraphError for what is no workflow, and for one of a newer format."""
    if not isinstance(value, Mapping):
        raise GraphError("This is no workflow: give an object with name, nodes and edges.")
    version = value.get("format", FORMAT)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise GraphError(f"format={version!r} is no number of a format: it is {FORMAT}.")
    if version > FORMAT:
        raise GraphError(
            f"This workflow was written by a newer version of MedFusion (format {version}; this one reads {FORMAT}). Update "
            "MedFusion to open it: opened here, what is new in it would be lost."
        )
    unknown = [str(key) for key in value if key not in _KEYS]
    if unknown:
        raise GraphError(f"A workflow has no {unknown[0]!r}: it has {', '.join(_KEYS)}.")
    name, description = value.get("name", ""), value.get("description", "")
    if not isinstance(name, str) or not name:
        raise GraphError("The workflow has no name: give it a text as name.")
    if not isinstance(description, str):
        raise GraphError(f"description={description!r} must be a text.")
    return name, description, Graph.of(value.get("nodes", []), value.get("edges", []))


def to_yaml(name: str, description: str, graph: Graph) -> str:
    """The same as YAML. An edge with nothing of its own is one line: `patients.cohort -> parts.cohort`."""
    value = to_json(name, description, graph)
    value["nodes"] = [{k: v for k, v in node.items() if k != "settings" or v} for node in value["nodes"]]
    value["edges"] = [
        edge.to_json() if edge.extra else f"{edge.source}.{edge.source_port}{ARROW}{edge.target}.{edge.target_port}"
        for edge in graph.edges
    ]
    return write_yaml(value)


def from_yaml(text: str) -> tuple[str, str, Graph]:
    """As `from_json`. Raises GraphError, with the line, for what is no YAML. A date is the text that is written."""
    try:
        value = read_yaml(text)
    except ValueError as error:
        raise GraphError(str(error)) from None
    if isinstance(value, Mapping) and isinstance(value.get("edges"), list):
        value = {**value, "edges": [_edge(edge) if isinstance(edge, str) else edge for edge in value["edges"]]}
    return from_json(value)


def _edge(text: str) -> dict[str, str]:
    ends = [end.strip().rpartition(".") for end in text.split(ARROW.strip())]
    if len(ends) != 2 or not all(node and port for node, _, port in ends):
        raise GraphError(f"The edge {text!r} is not of the form node.output -> node.input.")
    (source, _, source_port), (target, _, target_port) = ends
    return {"source": source, "source_port": source_port, "target": target, "target_port": target_port}
