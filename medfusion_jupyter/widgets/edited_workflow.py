"""A workflow that is being edited in this kernel: what the editor in the browser asks of it, as plain functions of JSON."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from medfusion_jupyter.store import UnknownId, difference, open_store
from medfusion_jupyter.store.errors import Conflict
from medfusion_jupyter.workflows.catalogue import catalogue
from medfusion_jupyter.workflows.graph import Graph, GraphError
from medfusion_jupyter.workflows.templates import templates
from medfusion_jupyter.workflows.validation import validate
from medfusion_jupyter.workflows.workflow import Workflow, load_workflow

if TYPE_CHECKING:
    from medfusion_jupyter.store import Execution
    from medfusion_jupyter.store import Workflow as Stored
    from medfusion_jupyter.workflows.workflow_run import WorkflowRun

Json = dict[str, Any]


class EditedWorkflow:
    """A workflow of a cell, which follows what is edited, and what of it is not saved.

    Each method that gives JSON answers one question of `labextension/src/workflow/kernelTransport.ts`.
    """

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow
        self.last_run: WorkflowRun | None = None
        self._store = open_store()
        self._draft: Json | None = None
        self._seen = (workflow.graph, workflow.version)
        self._told = 0
        self._lock = threading.Lock()

    @classmethod
    def named(cls, name: str) -> EditedWorkflow:
        """The stored workflow of that name, or an empty one that the first save stores."""
        try:
            return cls(load_workflow(name))
        except (UnknownId, GraphError):  # JSON that is no graph is shown as far as it can be, and kept
            return cls(Workflow(name))

    @property
    def name(self) -> str:
        """Under which it is stored."""
        return self.workflow.name

    def node_types(self) -> list[Json]:
        """The catalogue of this kernel, with the types that its cells registered."""
        return catalogue().to_json()

    def templates(self) -> list[Json]:
        """Graphs to start from."""
        return [template.to_json() for template in templates()]

    def open(self) -> Json:
        """The workflow as it is stored, what was changed since, here or by code, and how often `news` told of code's changes."""
        draft = self._draft or self._changed_by_code()
        return {"workflow": self._answer(self.stored), "draft": draft, "told": self._told}

    def check(self, nodes: Sequence[Any], edges: Sequence[Any], version: int | None, heard: int) -> list[Json]:
        """What keeps a graph from being executed. It is kept as the draft, which a reload of the page finds.

        heard: number of the last news that the graph has. One that lacks what code changed meanwhile is only checked: the
        editor, when it hears of that, puts both together and asks again.
        """
        graph = {"nodes": list(nodes), "edges": list(edges)}
        with self._lock:
            if heard == self._told and not self._code_changed():
                self._draft = None if self._is_stored(graph) else {**graph, "version": version}
                with suppress(GraphError):  # what is no graph is the editor's alone
                    self.workflow.graph = Graph.of(**graph)
                self._seen = (self.workflow.graph, self.workflow.version)
        return [issue.to_json() for issue in validate(graph, catalogue())]

    def save(self, nodes: Sequence[Any], edges: Sequence[Any], version: int | None) -> Json:
        """Store a graph that was made on `version`. Raises Conflict or WorkflowError where somebody was faster, NotYours."""
        if version is None and self.workflow.version is not None:
            raise Conflict(f"The workflow {self.name!r}", seen="none of it", now=f"version {self.workflow.version}")
        if version is None:
            self.workflow.graph = Graph.of(nodes, edges)
            self.workflow.save()
            saved = self._there()
        else:
            saved = self._store.workflows.update(self._there().id, seen_version=version, nodes=nodes, edges=edges)
        return self._settled(saved)

    def news(self) -> Json | None:
        """The graph, and what it was before, where code has changed it since it was checked or told last; else None."""
        with self._lock:
            if not self._code_changed():
                return None
            before, _ = self._seen
            now, version = self._seen = (self.workflow.graph, self.workflow.version)
            self._told += 1
            self._draft = self._changed_by_code()
            return {**now.to_json(), "version": version, "before": before.to_json(), "number": self._told}

    def versions(self) -> list[Json]:
        """Every save, newest first."""
        stored = self.stored
        return [] if stored is None else [one.to_json() for one in self._store.workflows.versions(stored.id)]

    def difference(self, before: int, after: int) -> Json:
        """What differs between two saves."""
        pk = self._there().id
        old, new = (self._store.workflows.version(pk, version) for version in (before, after))
        return difference(old, new).to_json()

    def restore(self, version: int) -> Json:
        """Save an earlier version as the newest."""
        return self._settled(self._store.workflows.restore(self._there().id, version))

    def run(self) -> Json:
        """Execute what was saved last in this kernel, in a thread of its own."""
        from medfusion_jupyter.workflows.execution import execute  # only now is torch needed
        from medfusion_jupyter.workflows.workflow_run import WorkflowRun

        self.last_run = WorkflowRun.of(execute(self._there().id))
        return self._with_nodes(self.last_run.record)

    def stop(self, execution_id: int) -> None:
        """Ask an execution to stop."""
        self._store.executions.request_stop(execution_id)
        self._store.writer.wake()

    def last_execution(self) -> Json | None:
        """The newest execution with its nodes, here or elsewhere; None where there is none."""
        stored = self.stored
        newest = [] if stored is None else self._store.executions.list(workflow_id=stored.id, limit=1).items
        return self._with_nodes(newest[0]) if newest else None

    def executed(self, version: int) -> Json:
        """The graph that was executed as a version."""
        return self._store.workflows.version(self._there().id, version).to_json()

    def jobs_of(self, execution: Json) -> list[Json]:
        """The jobs that nodes at work wait for."""
        ids = [
            node["output"]["job_id"]
            for node in execution["nodes"]
            if node["status"] == "running" and "job_id" in (node["output"] or {})
        ]
        return [self._store.jobs.get(job_id).to_json() for job_id in ids]

    @property
    def stored(self) -> Stored | None:
        """The workflow of that name; None where it was not saved yet."""
        try:
            return self._store.workflows.get_by_name(self.name)
        except UnknownId:
            return None

    def _there(self) -> Stored:
        return self._store.workflows.get_by_name(self.name)

    def _settled(self, saved: Stored) -> Json:
        with self._lock:
            self._draft = None
            with suppress(GraphError):
                self.workflow.take_over(saved)
            self._seen = (self.workflow.graph, self.workflow.version)
        return self._answer(saved)

    def _code_changed(self) -> bool:
        graph, version = self._seen
        return self.workflow.graph is not graph or self.workflow.version != version

    def _is_stored(self, graph: Json) -> bool:
        stored = self._answer(self.stored)
        return (stored["nodes"], stored["edges"]) == (graph["nodes"], graph["edges"])

    def _changed_by_code(self) -> Json | None:
        graph = self.workflow.graph.to_json()
        if not graph["nodes"] or self._is_stored(graph):
            return None
        return {**graph, "version": self.workflow.version}

    def _with_nodes(self, execution: Execution) -> Json:
        nodes = [node.to_json() for node in self._store.executions.node_runs(execution.id)]
        return {**execution.to_json(), "nodes": nodes}

    def _answer(self, workflow: Stored | None) -> Json:
        if workflow is None:
            return {"name": self.name, "version": None, "nodes": [], "edges": []}
        return {name: getattr(workflow, name) for name in ("name", "version", "nodes", "edges")}
