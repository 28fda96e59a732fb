"""A workflow that is being edited in this kernel: what the editor in the browser asks of it, as plain functions of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from medfusion_jupyter.store import UnknownId, difference, open_store
from medfusion_jupyter.workflows.catalogue import catalogue
from medfusion_jupyter.workflows.templates import templates
from medfusion_jupyter.workflows.validation import validate

if TYPE_CHECKING:
    from medfusion_jupyter.store import Execution, Workflow

Json = dict[str, Any]


class EditedWorkflow:
    """The stored workflow of a name, which need not be there yet, and what was changed since and not saved.

    Each public method answers one question of `labextension/src/workflow/kernelTransport.ts`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._store = open_store()
        self._draft: Json | None = None

    def node_types(self) -> list[Json]:
        """The catalogue of this kernel, with the types that its cells registered."""
        return catalogue().to_json()

    def templates(self) -> list[Json]:
        """Graphs to start from."""
        return [template.to_json() for template in templates()]

    def open(self) -> Json:
        """The workflow as it is stored, and the draft."""
        return {"workflow": self._answer(self.stored), "draft": self._draft}

    def check(self, nodes: Sequence[Any], edges: Sequence[Any], version: int | None) -> list[Json]:
        """What keeps a graph from being executed. It is kept as the draft, which a reload of the page finds."""
        graph = {"nodes": list(nodes), "edges": list(edges)}
        stored = self.stored
        same = stored is not None and (stored.nodes, stored.edges) == (graph["nodes"], graph["edges"])
        untouched = stored is None and not nodes and not edges
        self._draft = None if same or untouched else {**graph, "version": version}
        return [issue.to_json() for issue in validate(graph, catalogue())]

    def save(self, nodes: Sequence[Any], edges: Sequence[Any], version: int | None) -> Json:
        """Store a graph that was made on `version`. Raises Conflict or NameTaken where somebody was faster, NotYours."""
        workflows = self._store.workflows
        if version is None:
            saved = workflows.create(self.name, nodes=nodes, edges=edges)
        else:
            saved = workflows.update(self._there().id, seen_version=version, nodes=nodes, edges=edges)
        self._draft = None
        return self._answer(saved)

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
        self._draft = None
        return self._answer(self._store.workflows.restore(self._there().id, version))

    def run(self) -> Json:
        """Execute what was saved last in this kernel, in a thread of its own."""
        from medfusion_jupyter.workflows.execution import execute  # only now is torch needed

        return self._with_nodes(self._store.executions.get(execute(self._there().id).execution_id))

    def stop(self, execution_id: int) -> None:
        """Ask an execution to stop."""
        self._store.executions.request_stop(execution_id)
        self._store.writer.wake()

    def last_execution(self) -> Json | None:
        """The newest execution with its nodes, here or elsewhere; None where there is none."""
        stored = self.stored
        newest = [] if stored is None else self._store.executions.list(workflow_id=stored.id, limit=1).items
        return self._with_nodes(newest[0]) if newest else None

    def jobs_of(self, execution: Json) -> list[Json]:
        """The jobs that nodes at work wait for."""
        ids = [
            node["output"]["job_id"]
            for node in execution["nodes"]
            if node["status"] == "running" and "job_id" in (node["output"] or {})
        ]
        return [self._store.jobs.get(job_id).to_json() for job_id in ids]

    @property
    def stored(self) -> Workflow | None:
        """The workflow of that name; None where it was not saved yet."""
        try:
            return self._store.workflows.get_by_name(self.name)
        except UnknownId:
            return None

    def _there(self) -> Workflow:
        return self._store.workflows.get_by_name(self.name)

    def _with_nodes(self, execution: Execution) -> Json:
        nodes = [node.to_json() for node in self._store.executions.node_runs(execution.id)]
        return {**execution.to_json(), "nodes": nodes}

    def _answer(self, workflow: Workflow | None) -> Json:
        if workflow is None:
            return {"name": self.name, "version": None, "nodes": [], "edges": []}
        return {name: getattr(workflow, name) for name in ("name", "version", "nodes", "edges")}
