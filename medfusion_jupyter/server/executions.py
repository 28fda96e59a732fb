"""Executions of workflows over REST: start, list, one with the runs of its nodes, stop, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medfusion_jupyter.server.api import ApiError, as_page
from medfusion_jupyter.server.operation import operation
from medfusion_jupyter.server.workflows import WorkflowHandler

if TYPE_CHECKING:
    from medfusion_jupyter.server.requests import ExecutionQuery, WhichVersion
    from medfusion_jupyter.store import Store

ISSUES_TOLD = 20


class Execute(WorkflowHandler):
    @operation(
        "Queue an execution of a workflow: a kernel of its own runs it when its turn has come. 422 where its graph has issues",
        query="WhichVersion",
        answer="Execution",
        status=201,
        errors=(422,),
    )
    async def post(self, workflow_id: str, query: WhichVersion) -> None:
        person = self.person

        def work(store: Store) -> dict[str, Any]:
            from medfusion_jupyter.workflows.catalogue import catalogue
            from medfusion_jupyter.workflows.validation import validate

            pk = int(workflow_id)
            version = query.version or store.workflows.get(pk).version
            saved = store.workflows.version(pk, version)
            issues = validate({"nodes": saved.nodes, "edges": saved.edges}, catalogue())
            if issues:
                more = f"\n… and {len(issues) - ISSUES_TOLD} more" if len(issues) > ISSUES_TOLD else ""
                raise ApiError(422, "invalid", "\n".join(map(str, issues[:ISSUES_TOLD])) + more, "nodes")
            return store.executions.create(pk, version=version, queued=True, by=person).to_json()

        made = await self.ask(work)
        self.settings["medfusion_launcher"].wake()
        self.reply(made)


class ExecutionList(WorkflowHandler):
    @operation("A page of a workflow's executions, newest first", query="ExecutionQuery", answer="ExecutionPage")
    async def get(self, workflow_id: str, query: ExecutionQuery) -> None:
        def work(store: Store) -> dict[str, object]:
            store.workflows.get(int(workflow_id))  # raises where there is no such workflow
            return as_page(store.executions.list(workflow_id=int(workflow_id), **query.model_dump()))

        self.reply(await self.ask(work))


class Execution(WorkflowHandler):
    @operation("One execution with the runs of its nodes, in the order of the graph", answer="ExecutionWithNodes")
    async def get(self, execution_id: str) -> None:
        def work(store: Store) -> dict[str, Any]:
            execution = store.executions.get(int(execution_id))
            nodes = [node.to_json() for node in store.executions.node_runs(execution.id)]
            return {**execution.to_json(), "nodes": nodes}

        self.reply(await self.ask(work))

    @operation("Forget an execution that has ended; its jobs must be deleted before", status=204, errors=(409,))
    async def delete(self, execution_id: str) -> None:
        person = self.person
        await self.ask(lambda store: store.executions.delete(int(execution_id), by=person))


class ExecutionStop(WorkflowHandler):
    @operation("Stop the node at work of an execution; those after it do not begin", answer="Execution", errors=(409,))
    async def post(self, execution_id: str) -> None:
        person = self.person
        answer = await self.ask(lambda store: store.executions.request_stop(int(execution_id), by=person).to_json())
        self.settings["medfusion_launcher"].wake()
        self.reply(answer)
