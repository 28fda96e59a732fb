"""Studies to start from: each runs as it is on a synthetic cohort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medfusion_jupyter.workflows.graph import Edge, Graph, Node

PATIENTS = {"n": 400, "image_size": 32, "seed": 0}
SMALL = {"epochs": 5, "batch_size": 32, "image_size": 32, "lr": 0.001, "seed": 0}
"""Seconds on any machine; a study of one's own asks for more epochs and a larger encoder."""


@dataclass(frozen=True)
class Template:
    """A graph to start from. name: as `Workflow.from_template` takes it; title, help: for people."""

    name: str
    title: str
    help: str
    graph: Graph

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "title": self.title, "help": self.help, **self.graph.to_json()}


def templates() -> list[Template]:
    """Every template, the simplest first."""
    return [
        Template(name, title, help, graph())
        for name, title, help, graph in (
            ("image-and-table", "Image and table", "One model that fuses images with clinical values.", _fused),
            (
                "what-the-image-adds",
                "What the image adds",
                "Image alone, table alone and both: what each is worth.",
                _modalities,
            ),
            ("compare-fusions", "Compare fusions", "Three fusions of the same encoders on the same split.", _fusions),
            (
                "what-preprocessing-adds",
                "What preprocessing adds",
                "The same patients with images and table as they are, and preprocessed.",
                _preprocessed,
            ),
            ("cross-validation", "Cross-validation", "Five folds by patient, after a check of the cohort.", _folds),
        )
    ]


def _fused() -> Graph:
    return _graph(
        ("patients", "source.synthetic", PATIENTS, {}),
        ("parts", "cohort.split", {"test": 0.2, "val": 0.2, "seed": 0}, {"cohort": "patients.cohort"}),
        ("augmentation", "model.augmentation", {"flip": 0.5, "rotate": 10.0}, {}),
        *_design("", image="light_cnn", table="mlp", fusion="gated"),
        (
            "training",
            "train",
            SMALL,
            {"split": "parts.split", "design": "head.design", "augmentation": "augmentation.augmentation"},
        ),
        ("report", "evaluate", {"split": "test"}, {"model": "training.model"}),
    )


def _modalities() -> Graph:
    arms: list[_Row] = []
    for arm, parts in (
        ("image", {"image": "light_cnn"}),
        ("table", {"table": "mlp"}),
        ("both", {"image": "light_cnn", "table": "mlp"}),
    ):
        arms += [
            *_design(f"{arm}_", **parts, fusion="concat"),
            (f"{arm}_training", "train", SMALL, {"split": "parts.split", "design": f"{arm}_head.design"}),
            (f"{arm}_report", "evaluate", {}, {"model": f"{arm}_training.model"}),
        ]
    return _graph(*_START, *arms)


def _fusions() -> Graph:
    arms: list[_Row] = []
    for name in ("concat", "gated", "film"):
        head = {"encoders": ["image_encoder.encoder", "table_encoder.encoder"]}
        arms += [
            (f"{name}_fusion", "model.fusion", {"name": name}, head),
            (f"{name}_head", "model.head", {"name": "classification"}, {"fused": f"{name}_fusion.fused"}),
            (f"{name}_training", "train", SMALL, {"split": "parts.split", "design": f"{name}_head.design"}),
            (f"{name}_report", "evaluate", {}, {"model": f"{name}_training.model"}),
        ]
    return _graph(
        *_START,
        ("image_encoder", "model.image_encoder", {"name": "light_cnn"}, {}),
        ("table_encoder", "model.table_encoder", {"name": "mlp"}, {}),
        *arms,
    )


def _preprocessed() -> Graph:
    rows: list[_Row] = [_START[0], *_design("", image="light_cnn", table="mlp", fusion="gated")]
    rows += [
        ("images", "cohort.preprocess_images", {"crop": 0.9, "normalise": "image"}, {"cohort": "patients.cohort"}),
        ("table", "cohort.preprocess_table", {"scale": "robust", "outliers": 0.01}, {"cohort": "images.cohort"}),
    ]
    for arm, cohort in (("plain", "patients.cohort"), ("prepared", "table.cohort")):
        rows += [
            # the same seed gives the same patients to each part
            (f"{arm}_parts", "cohort.split", {"seed": 0}, {"cohort": cohort}),
            (f"{arm}_training", "train", SMALL, {"split": f"{arm}_parts.split", "design": "head.design"}),
            (f"{arm}_report", "evaluate", {}, {"model": f"{arm}_training.model"}),
        ]
    return _graph(*rows)


def _folds() -> Graph:
    return _graph(
        ("patients", "source.synthetic", PATIENTS, {}),
        ("findings", "cohort.check", {"folds": 5, "stop_at": "error"}, {"cohort": "patients.cohort"}),
        *_design("", image="light_cnn", table="mlp", fusion="gated"),
        (
            "folds",
            "cross_validate",
            {"folds": 5, **SMALL, "epochs": 3},
            {"cohort": "patients.cohort", "design": "head.design"},
        ),
    )


_Row = tuple[str, str, dict[str, Any], dict[str, Any]]
"""A node: id, type, settings, and the outputs (`node.port`) that its inputs take from."""

_START: tuple[_Row, ...] = (
    ("patients", "source.synthetic", PATIENTS, {}),
    ("parts", "cohort.split", {"test": 0.2, "val": 0.2, "seed": 0}, {"cohort": "patients.cohort"}),
)


def _design(prefix: str, *, image: str | None = None, table: str | None = None, fusion: str) -> list[_Row]:
    rows: list[_Row] = []
    encoders = []
    for kind, name in (("image", image), ("table", table)):
        if name is not None:
            rows.append((f"{prefix}{kind}_encoder", f"model.{kind}_encoder", {"name": name}, {}))
            encoders.append(f"{prefix}{kind}_encoder.encoder")
    rows.append((f"{prefix}fusion", "model.fusion", {"name": fusion}, {"encoders": encoders}))
    rows.append((f"{prefix}head", "model.head", {"name": "classification"}, {"fused": f"{prefix}fusion.fused"}))
    return rows


def _edge(source: str, node: str, port: str) -> Edge:
    giving, _, output = source.partition(".")
    return Edge(giving, output, node, port)


def _graph(*rows: _Row) -> Graph:
    edges = [
        _edge(source, node, port)
        for node, _, _, inputs in rows
        for port, sources in inputs.items()
        for source in (sources if isinstance(sources, list) else [sources])
    ]
    return Graph(tuple(Node(name, kind, dict(settings)) for name, kind, settings, _ in rows), tuple(edges))
