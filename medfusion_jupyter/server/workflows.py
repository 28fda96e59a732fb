"""Workflows over REST: list, create, one, save, delete, versions, their difference, restore; node types and validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medfusion_jupyter.server.api import StoreHandler
from medfusion_jupyter.server.operation import operation

if TYPE_CHECKING:
    from medfusion_jupyter.server.requests import Graph, NewWorkflow, SavedWorkflow, WorkflowQuery
    from medfusion_jupyter.store import Store


class WorkflowHandler(StoreHandler):
    """Base of the handlers of workflows."""

    auth_resource = "medfusion:workflows"


class WorkflowList(WorkflowHandler):
    @operation(
        "A page of workflows, newest first, each with its newest execution",
        query="WorkflowQuery",
        answer="WorkflowPage",
    )
    async def get(self, query: WorkflowQuery) -> None:
        def work(store: Store) -> dict[str, Any]:
            page = store.workflows.list(**query.model_dump())
            newest = store.executions.newest_of([workflow.id for workflow in page.items])
            last = {workflow_id: execution.to_json() for workflow_id, execution in newest.items()}
            items = [{**workflow.to_json(), "last_execution": last.get(workflow.id)} for workflow in page.items]
            return {"items": items, "next": page.next}

        self.reply(await self.ask(work))

    @operation(
        "Store a workflow and its first version", body="NewWorkflow", answer="Workflow", status=201, errors=(409,)
    )
    async def post(self, body: NewWorkflow) -> None:
        person = self.person
        made = await self.ask(lambda store: store.workflows.create(**body.model_dump(), by=person))
        self.reply(made.to_json())


class Workflow(WorkflowHandler):
    @operation("One workflow", answer="Workflow")
    async def get(self, workflow_id: str) -> None:
        self.reply((await self.ask(lambda store: store.workflows.get(int(workflow_id)))).to_json())

    @operation("Save a workflow: each save is a version", body="SavedWorkflow", answer="Workflow", errors=(409,))
    async def put(self, workflow_id: str, body: SavedWorkflow) -> None:
        person = self.person

        def work(store: Store) -> dict[str, Any]:
            changes = body.model_dump(exclude={"version"})
            return store.workflows.update(int(workflow_id), seen_version=body.version, by=person, **changes).to_json()

        self.reply(await self.ask(work))

    @operation("Forget a workflow with its versions and executions", status=204, errors=(409,))
    async def delete(self, workflow_id: str) -> None:
        person = self.person
        await self.ask(lambda store: store.workflows.delete(int(workflow_id), by=person))


class WorkflowVersionList(WorkflowHandler):
    @operation("Every save of a workflow, newest first", answer="WorkflowVersionList")
    async def get(self, workflow_id: str) -> None:
        versions = await self.ask(lambda store: store.workflows.versions(int(workflow_id)))
        self.reply({"items": [version.to_json() for version in versions]})


class WorkflowVersion(WorkflowHandler):
    @operation("One save of a workflow, as an execution names it", answer="WorkflowVersion")
    async def get(self, workflow_id: str, version: str) -> None:
        self.reply((await self.ask(lambda store: store.workflows.version(int(workflow_id), int(version)))).to_json())


class WorkflowRestoration(WorkflowHandler):
    @operation("Save the graph of an earlier version as the newest one", answer="Workflow", errors=(409,))
    async def post(self, workflow_id: str, version: str) -> None:
        person = self.person
        restored = await self.ask(lambda store: store.workflows.restore(int(workflow_id), int(version), by=person))
        self.reply(restored.to_json())


class WorkflowDifference(WorkflowHandler):
    @operation("What differs in the version `after` from the version `before`", answer="WorkflowDiff")
    async def get(self, workflow_id: str, before: str, after: str) -> None:
        def work(store: Store) -> dict[str, Any]:
            from medfusion_jupyter.store import difference

            old, new = (store.workflows.version(int(workflow_id), int(one)) for one in (before, after))
            return difference(old, new).to_json()

        self.reply(await self.ask(work))


class NodeTypeList(WorkflowHandler):
    @operation("The catalogue of node types; the JSON schema of their settings draws a form", answer="NodeTypeList")
    async def get(self) -> None:
        self.reply({"items": await self.in_thread(_node_types)})


class WorkflowTemplateList(WorkflowHandler):
    @operation("Workflows to start from", answer="WorkflowTemplateList")
    async def get(self) -> None:
        self.reply({"items": await self.in_thread(_templates)})


class Validation(WorkflowHandler):
    @operation("What keeps a graph from being executed", body="Graph", answer="IssueList")
    async def post(self, body: Graph) -> None:
        graph = {"nodes": body.nodes, "edges": body.edges}
        self.reply({"issues": await self.in_thread(lambda: _issues(graph))})


def _node_types() -> list[dict[str, Any]]:
    from medfusion_jupyter.workflows.catalogue import catalogue

    return catalogue().to_json()


def _templates() -> list[dict[str, Any]]:
    from medfusion_jupyter.workflows.templates import templates

    return [template.to_json() for template in templates()]


def _issues(graph: dict[str, Any]) -> list[dict[str, Any]]:
    from medfusion_jupyter.workflows.catalogue import catalogue
    from medfusion_jupyter.workflows.validation import validate

    return [issue.to_json() for issue in validate(graph, catalogue())]
