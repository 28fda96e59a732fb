"""A workflow as a person writes it in a cell: nodes are added, connected, checked, saved and run. Free of torch until it runs."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from medfusion_jupyter.workflows import document
from medfusion_jupyter.workflows.catalogue import catalogue, closest
from medfusion_jupyter.workflows.code_reader import from_code
from medfusion_jupyter.workflows.code_writer import to_code
from medfusion_jupyter.workflows.graph import Edge, Graph, GraphError, Node
from medfusion_jupyter.workflows.templates import Template, templates
from medfusion_jupyter.workflows.validation import Issue, validate
from medfusion_jupyter.workflows.workflow_node import Port, WorkflowError, WorkflowNode, ports_of

if TYPE_CHECKING:
    from medfusion_jupyter.store import Workflow as Saved
    from medfusion_jupyter.workflows.workflow_run import WorkflowRun

_saved_here: dict[tuple[str, str], int] = {}
"""The version that this process saved last, by store and name: a cell that is run again goes on from it."""


class Workflow:
    """A study as a graph.

    >>> wf = Workflow("icu")
    >>> patients = wf.add("source.synthetic", n=400)
    >>> parts = wf.add("cohort.split", seed=1)
    >>> wf.connect(patients, parts)
    >>> wf.save()
    """

    def __init__(self, name: str, *, description: str = "") -> None:
        self.name = name
        self.description = description
        self.version: int | None = None
        self._graph = Graph()
        self._stored: Graph | None = None

    # -- the graph

    @property
    def graph(self) -> Graph:
        """Nodes and edges as they are now."""
        return self._graph

    @graph.setter
    def graph(self, graph: Graph) -> None:
        self._graph = graph

    @property
    def nodes(self) -> list[WorkflowNode]:
        """Its nodes, in the order in which they were added."""
        return [WorkflowNode(self, node.id) for node in self._graph.nodes]

    def __getitem__(self, node_id: str) -> WorkflowNode:
        """The node of that id. Raises KeyError with the closest."""
        there = {node.id: node for node in self._graph.nodes}
        if node_id not in there:
            raise KeyError(f"There is no node {node_id!r}. {closest(node_id, there)}".rstrip())
        return WorkflowNode(self, node_id)

    def add(self, type: str, /, *, id: str | None = None, **settings: Any) -> WorkflowNode:
        """Add a node of a type of the catalogue, such as `train`, with its settings; gives the node.

        id: by default made of the type. Raises UnknownNodeType with the closest name, and WorkflowError for a bad setting.
        """
        node_type = catalogue().get(type)
        there = {node.id for node in self._graph.nodes}
        if id is None:
            short = node_type.name.rpartition(".")[2]
            id = next(name for name in _numbered(short) if name not in there)
        elif id in there:
            raise WorkflowError(f"There is a node {id!r} already: give each an id of its own.")
        node = Node(id, type, _plain(settings, id))
        _refuse_settings(node)
        self._graph = replace(self._graph, nodes=(*self._graph.nodes, node))
        return WorkflowNode(self, id)

    def remove(self, node: WorkflowNode | str) -> None:
        """Take a node away, with its edges. Raises KeyError where it is not there."""
        gone = self[node.id if isinstance(node, WorkflowNode) else node].id
        self._graph = Graph(
            tuple(one for one in self._graph.nodes if one.id != gone),
            tuple(edge for edge in self._graph.edges if gone not in (edge.source, edge.target)),
        )

    def connect(self, source: WorkflowNode | Port, target: WorkflowNode | Port) -> None:
        """Let an input take from an output. Nodes may be given where one pair of their ports matches.

        Raises WorkflowError, with what to do, for types that do not match, a second edge into an input that takes one, and a
        cycle.
        """
        edge = self._edge(source, target)
        graph = replace(self._graph, edges=(*self._graph.edges, edge))
        place = len(self._graph.edges)
        cycles = [
            issue
            for issue in validate(graph, catalogue())
            if issue.edge == place or "need one another" in issue.message
        ]
        if cycles:
            raise WorkflowError(str(cycles[0]))
        self._graph = graph

    def disconnect(self, source: WorkflowNode | Port, target: WorkflowNode | Port) -> None:
        """Take an edge away. Raises WorkflowError where it is not there."""
        gone = self._edge(source, target)
        left = tuple(edge for edge in self._graph.edges if _ends(edge) != _ends(gone))
        if len(left) == len(self._graph.edges):
            raise WorkflowError(
                f"No edge leads from {gone.source!r} to the input {gone.target_port!r} of {gone.target!r}."
            )
        self._graph = replace(self._graph, edges=left)

    def validate(self) -> list[Issue]:
        """What keeps it from being run: the node, the port or setting, and the fix; empty where nothing does."""
        return validate(self._graph, catalogue())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Workflow):
            return NotImplemented
        return (self.name, self.description, self._graph) == (other.name, other.description, other._graph)

    __hash__ = None  # type: ignore[assignment]

    # -- the store

    def save(self, *, overwrite: bool = False) -> Self:
        """Store it: a new name, or the next version of what it was loaded from. Earlier versions are kept.

        Raises Conflict where somebody saved a version meanwhile, and WorkflowError where another workflow has its name; nothing
        is changed then. overwrite: makes it the newest version nevertheless, above theirs.
        """
        from medfusion_jupyter.store import UnknownId, open_store

        store = open_store()
        nodes, edges = self._graph.to_json().values()
        try:
            there = store.workflows.get_by_name(self.name)
        except UnknownId:
            there = None
        if there is None:
            return self._keep(store.workflows.create(self.name, description=self.description, nodes=nodes, edges=edges))
        same = (there.nodes, there.edges) == (nodes, edges)
        if same and (there.description == self.description or self.version is None):
            return self._keep(there)
        seen = self.version or _saved_here.get((store.url, self.name))
        if overwrite:
            seen = there.version
        elif seen is None:
            raise WorkflowError(
                f"There is another workflow named {self.name!r}: mf.load_workflow({self.name!r}) goes on with it, "
                "save(overwrite=True) makes this its next version, and any other name keeps both."
            )
        return self._keep(
            store.workflows.update(there.id, seen_version=seen, description=self.description, nodes=nodes, edges=edges)
        )

    def _keep(self, saved: Saved) -> Self:
        from medfusion_jupyter.store import open_store

        self.version = saved.version
        self._stored = self._graph
        _saved_here[open_store().url, saved.name] = saved.version
        return self

    def take_over(self, saved: Saved) -> Self:
        """Go on from a row of the store that was written by other means, such as an editor. Raises GraphError."""
        self._graph = Graph.of(saved.nodes, saved.edges)
        self.description = saved.description
        return self._keep(saved)

    @property
    def is_saved(self) -> bool:
        """Whether the store has it as it is now."""
        return self.version is not None and self._stored == self._graph

    @classmethod
    def of_store(cls, saved: Saved, *, version: int | None = None) -> Self:
        """The workflow of a row of the store. version: an earlier save, which `save` makes the newest again.

        Raises GraphError where what is stored is no graph, and UnknownId for a version that is not there.
        """
        from medfusion_jupyter.store import open_store

        workflow = cls(saved.name, description=saved.description)
        graph = saved if version is None else open_store().workflows.version(saved.id, version)
        workflow._graph = Graph.of(graph.nodes, graph.edges)
        workflow.version = saved.version
        workflow._stored = workflow._graph if version in (None, saved.version) else None
        return workflow

    # -- running

    def run(self, *, fresh: bool = False) -> WorkflowRun:
        """Save it and run it in the background of this process; returns at once.

        Nodes whose settings and inputs are as they were give what they gave before (`cached`), so that after a failure, a stop
        or a restart of the kernel a second run goes on where the first ended. fresh: makes everything again. Raises
        WorkflowError with the issues where it cannot run as it is.
        """
        from medfusion_jupyter.store import open_store

        self._refuse_issues("run")
        if not self.is_saved:
            self.save()
        from medfusion_jupyter.workflows.execution import execute  # only now is torch needed
        from medfusion_jupyter.workflows.workflow_run import WorkflowRun

        stored = open_store().workflows.get_by_name(self.name)
        return WorkflowRun.of(execute(stored.id, version=self.version, fresh=fresh))

    # -- files and templates

    @staticmethod
    def templates() -> list[Template]:
        """Studies to start from, each of which runs as it is on a synthetic cohort."""
        return templates()

    @classmethod
    def from_template(cls, template: str, name: str | None = None) -> Self:
        """A workflow that begins as a template, named as that by default. Raises WorkflowError with the closest name."""
        there = {one.name: one for one in templates()}
        if template not in there:
            raise WorkflowError(f"There is no template {template!r}. {closest(template, there)}")
        workflow = cls(template if name is None else name, description=there[template].help)
        workflow._graph = there[template].graph
        return workflow

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, with the number of its format: what `from_json` and a `.medflow.json` file hold."""
        return document.to_json(self.name, self.description, self._graph)

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | str | Path) -> Self:
        """From JSON: an object, its text, or the path of a file. Nodes of unknown types and other keys are kept.

        Raises GraphError for what is no workflow, and for one of a newer version of MedFusion.
        """
        if isinstance(value, Path):
            value = value.read_text(encoding="utf-8")
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except json.JSONDecodeError as error:
                raise GraphError(f"This is no JSON: {error}.") from None
        return cls._of_document(*document.from_json(value))

    def to_yaml(self) -> str:
        """As YAML to be read and edited by people: the same as the JSON, edges in one line each."""
        return document.to_yaml(self.name, self.description, self._graph)

    @classmethod
    def from_yaml(cls, text: str | Path) -> Self:
        """From YAML text, or the path of a file. Raises GraphError as `from_json`."""
        if isinstance(text, Path):
            text = text.read_text(encoding="utf-8")
        return cls._of_document(*document.from_yaml(text))

    def to_code(self) -> str:
        """A cell of Python that does the same with the public functions, and gives the same result.

        Raises WorkflowError where it has issues, and CodeError for a node that has no Python of its own.
        """
        self._refuse_issues("be written as Python")
        return to_code(self.name, self._graph, catalogue())

    @classmethod
    def from_code(cls, cell: str, name: str | None = None) -> Self:
        """The workflow of a cell as `to_code` writes it; the cell is read, not run.

        name: by default that in the cell's title, `# Workflow: …`. Raises CodeError, naming the line that is not read.
        """
        titled, graph = from_code(cell, catalogue())
        return cls._of_document(name or titled or "workflow", "", graph)

    def _refuse_issues(self, what: str) -> None:
        issues = self.validate()
        if issues:
            more = f"\n… and {len(issues) - 10} more" if len(issues) > 10 else ""
            raise WorkflowError(f"{self.name!r} cannot {what} yet:\n" + "\n".join(map(str, issues[:10])) + more)

    @classmethod
    def _of_document(cls, name: str, description: str, graph: Graph) -> Self:
        workflow = cls(name, description=description)
        workflow._graph = graph
        return workflow

    # -- how it shows itself

    def __repr__(self) -> str:
        saved = f"version {self.version}" if self.is_saved else "not saved"
        return f"<Workflow {self.name!r}: {len(self._graph.nodes)} nodes, {len(self._graph.edges)} edges, {saved}>"

    def _repr_html_(self) -> str:
        issues = self.validate()
        by_node: dict[str | None, list[Issue]] = {}
        for issue in issues:
            by_node.setdefault(issue.node, []).append(issue)
        rows = "".join(self._row(node, by_node.get(node.id, [])) for node in self._graph.nodes)
        others = "".join(f"<div>⚠ {html.escape(str(issue))}</div>" for issue in by_node.get(None, []))
        head = "".join(
            f"<th style='text-align:left'>{name}</th>" for name in ("", "node", "type", "settings", "takes from")
        )
        return (
            f"<div><b>{html.escape(self.name)}</b> · {html.escape(repr(self)[1:-1].partition(': ')[2])}"
            f"<table><tr>{head}</tr>{rows}</table>{others}</div>"
        )

    def _row(self, node: Node, issues: list[Issue]) -> str:
        title = catalogue().get(node.type).title if node.type in catalogue() else f"{node.type} (unknown)"
        settings = ", ".join(f"{name}={value!r}" for name, value in node.settings.items())
        sources = ", ".join(edge.source for edge in self._graph.into(node.id))
        cells = [node.id, title, settings if len(settings) <= 120 else f"{settings[:120]}…", sources]
        row = "".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in cells)
        told = "".join(
            f"<tr><td></td><td colspan='4' style='text-align:left'>{html.escape(f'{issue.message} {issue.fix}')}</td></tr>"
            for issue in issues
        )
        return f"<tr><td>{'⚠' if issues else '✓'}</td>{row}</tr>{told}"

    # -- within

    def change(self, node_id: str, settings: Mapping[str, Any]) -> None:
        """Give a node these settings in place of its own. Raises WorkflowError for a bad one."""
        nodes = []
        for node in self._graph.nodes:
            if node.id == node_id:
                node = replace(node, settings=_plain(settings, node_id))
                if node.type in catalogue():
                    _refuse_settings(node)
            nodes.append(node)
        self._graph = replace(self._graph, nodes=tuple(nodes))

    def _edge(self, source: WorkflowNode | Port, target: WorkflowNode | Port) -> Edge:
        for end in (source, target):
            node = end if isinstance(end, WorkflowNode) else end.node
            if node.workflow is not self:
                raise WorkflowError(f"{node!r} is a node of another workflow, {node.workflow!r}.")
        if isinstance(source, Port) and isinstance(target, Port):
            return Edge(source.node.id, source.name, target.node.id, target.name)
        left, given = ports_of(source, lambda node_type: node_type.outputs)
        right, wanted = ports_of(target, lambda node_type: node_type.inputs)
        pairs = [(one.name, other.name) for one in given for other in wanted if one.type == other.type]
        if len(pairs) != 1:
            found = "; ".join(f"{output} → {input}" for output, input in pairs) or "none"
            raise WorkflowError(
                f"Which output of {left.id!r} leads to which input of {right.id!r}? Ports that match: {found}. Name them: "
                f"connect({left.id}.output(…), {right.id}.input(…))."
            )
        ((output, input),) = pairs
        return Edge(left.id, output, right.id, input)


def load_workflow(name: str, version: int | None = None) -> Workflow:
    """A workflow of the store by name: the newest version, or an earlier one, which `save` makes the newest again.

    Nodes of unknown types are kept as they are. Raises UnknownId with the names or versions that there are, GraphError where what
    is stored is no graph.
    """
    from medfusion_jupyter.store import open_store

    return Workflow.of_store(open_store().workflows.get_by_name(name), version=version)


def _ends(edge: Edge) -> tuple[str, str, str, str]:
    return edge.source, edge.source_port, edge.target, edge.target_port


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1


def _plain(settings: Mapping[str, Any], node_id: str) -> dict[str, Any]:
    """As JSON holds it: a tuple is a list. Raises WorkflowError for what JSON cannot hold."""
    plain: dict[str, Any] = {}
    for name, value in settings.items():
        try:
            plain[name] = json.loads(json.dumps(value, allow_nan=False, default=_json_of))
        except (TypeError, ValueError):
            raise WorkflowError(
                f"{node_id!r}: {name} is a {type(value).__name__}; a setting is a text, a number, True, False, None, a list or a "
                "dict."
            ) from None
    return plain


def _json_of(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, range):
        return list(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_unset=True)
    raise TypeError


def _refuse_settings(node: Node) -> None:
    issues = [one for one in validate(Graph((node,)), catalogue()) if one.setting is not None or one.port is None]
    if issues:
        raise WorkflowError(str(issues[0]))
