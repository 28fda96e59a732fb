"""Workflows to start from: each runs as it is, on a synthetic cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Template:
    """A graph to start from. name: unique; title, help: for people; nodes, edges: as a workflow stores them."""

    name: str
    title: str
    help: str
    nodes: tuple[dict[str, Any], ...]
    edges: tuple[dict[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """As the builder gets it."""
        return {
            "name": self.name,
            "title": self.title,
            "help": self.help,
            "nodes": list(self.nodes),
            "edges": list(self.edges),
        }


def templates() -> list[Template]:
    """All there are, the simplest first."""
    return list(_TEMPLATES)


def _node(node_id: str, kind: str, **settings: Any) -> dict[str, Any]:
    return {"id": node_id, "type": kind, "settings": settings}


def _edge(source: str, source_port: str, target: str, target_port: str) -> dict[str, str]:
    return {"source": source, "source_port": source_port, "target": target, "target_port": target_port}


SMALL = {"image_encoder": "light_cnn", "image_size": 32, "epochs": 8}
"""Enough to learn the synthetic cohort within a minute on a laptop's CPU."""


def _study(trainings: Sequence[tuple[str, dict[str, Any]]]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """A synthetic cohort, its split, and for each training a model that is evaluated on the test part."""
    nodes = [_node("synthetic", "source.synthetic", n=800), _node("split", "cohort.split")]
    edges = [_edge("synthetic", "cohort", "split", "cohort")]
    for suffix, settings in trainings:
        nodes += [_node(f"train{suffix}", "train", **{**SMALL, **settings}), _node(f"evaluate{suffix}", "evaluate")]
        edges += [
            _edge("split", "split", f"train{suffix}", "split"),
            _edge(f"train{suffix}", "model", f"evaluate{suffix}", "model"),
        ]
    return tuple(nodes), tuple(edges)


_TEMPLATES = (
    Template(
        "image-and-table",
        "Image and table",
        "Split by patient, train a gated fusion, evaluate it on the test part.",
        *_study([("", {})]),
    ),
    Template(
        "compare-fusions",
        "Compare fusions",
        "The same split with three fusions, each evaluated on the same patients.",
        *_study([(f"_{fusion}", {"fusion": fusion}) for fusion in ("concat", "gated", "film")]),
    ),
    Template(
        "what-the-image-adds",
        "What the image adds",
        "Image alone, table alone and both: what each is worth.",
        *_study([("_both", {}), ("_image", {"tabular_encoder": None}), ("_table", {"image_encoder": None})]),
    ),
)
