"""Workflows over REST: list, create, one, save, delete, versions, restore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from medfusion_jupyter.server.api import StoreHandler, as_page

if TYPE_CHECKING:
    from medfusion_jupyter.store import Store


class WorkflowList(StoreHandler):
    """GET: a page of workflows, newest first. POST: store one, `{"name", "description", "nodes", "edges"}`."""

    auth_resource = "medfusion:workflows"

    @web.authenticated
    @authorized
    async def get(self) -> None:
        arguments = self.page_arguments()
        self.reply(await self.ask(lambda store: as_page(store.workflows.list(**arguments))))

    @web.authenticated
    @authorized
    async def post(self) -> None:
        from medfusion_jupyter.server.workflow_bodies import NewWorkflow

        body = await self.body_as(NewWorkflow)
        user = self.current_user.username
        made = await self.ask(lambda store: store.workflows.create(**body.model_dump(), created_by=user))
        self.set_status(201)
        self.reply(made.to_json())


class Workflow(StoreHandler):
    """GET: one workflow. PUT: save it, with `version` as it was seen; 409 where it was changed meanwhile. DELETE: forget it."""

    auth_resource = "medfusion:workflows"

    @web.authenticated
    @authorized
    async def get(self, workflow_id: str) -> None:
        self.reply((await self.ask(lambda store: store.workflows.get(int(workflow_id)))).to_json())

    @web.authenticated
    @authorized
    async def put(self, workflow_id: str) -> None:
        from medfusion_jupyter.server.workflow_bodies import SavedWorkflow

        body = await self.body_as(SavedWorkflow)
        changes = body.model_dump(exclude={"version"})
        user = self.current_user.username

        def work(store: Store) -> dict[str, Any]:
            saved = store.workflows.update(int(workflow_id), seen_version=body.version, updated_by=user, **changes)
            return saved.to_json()

        self.reply(await self.ask(work))

    @web.authenticated
    @authorized
    async def delete(self, workflow_id: str) -> None:
        user = self.current_user.username
        await self.ask(lambda store: store.workflows.delete(int(workflow_id), deleted_by=user))
        self.set_status(204)


class WorkflowVersionList(StoreHandler):
    """GET: every save of a workflow, newest first."""

    auth_resource = "medfusion:workflows"

    @web.authenticated
    @authorized
    async def get(self, workflow_id: str) -> None:
        versions = await self.ask(lambda store: store.workflows.versions(int(workflow_id)))
        self.reply({"items": [version.to_json() for version in versions]})


class WorkflowRestoration(StoreHandler):
    """POST: save the graph of an earlier version as the newest one."""

    auth_resource = "medfusion:workflows"

    @web.authenticated
    @authorized
    async def post(self, workflow_id: str, version: str) -> None:
        user = self.current_user.username

        def work(store: Store) -> dict[str, Any]:
            return store.workflows.restore(int(workflow_id), int(version), restored_by=user).to_json()

        self.reply(await self.ask(work))
