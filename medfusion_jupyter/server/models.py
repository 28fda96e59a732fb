"""Models over REST: list and one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_server.auth.decorator import authorized
from tornado import web

from medfusion_jupyter.server.api import StoreHandler, as_page

if TYPE_CHECKING:
    from medfusion_jupyter.store import Store


class ModelList(StoreHandler):
    """GET: a page of models, newest first."""

    auth_resource = "medfusion:models"

    @web.authenticated
    @authorized
    async def get(self) -> None:
        arguments = self.page_arguments()
        self.reply(await self.ask(lambda store: as_page(store.models.list(**arguments))))


class Model(StoreHandler):
    """GET: one model. DELETE: forget it with its files; 409 while an alias means it."""

    auth_resource = "medfusion:models"

    @web.authenticated
    @authorized
    async def get(self, model_id: str) -> None:
        model = await self.ask(lambda store: store.models.get(int(model_id)))
        self.reply(model.to_json())

    @web.authenticated
    @authorized
    async def delete(self, model_id: str) -> None:
        user = self.current_user.username
        await self.ask(lambda store: store.models.delete(int(model_id), deleted_by=user))
        self.set_status(204)


class VersionList(StoreHandler):
    """GET: every version under the name of a model, newest first."""

    auth_resource = "medfusion:models"

    @web.authenticated
    @authorized
    async def get(self, model_id: str) -> None:
        def work(store: Store) -> dict[str, object]:
            name = store.models.get(int(model_id)).name
            return {"items": [model.to_json() for model in store.models.versions(name)]}

        self.reply(await self.ask(work))


class Alias(StoreHandler):
    """PUT: let an alias, such as `production`, mean this version of the model. DELETE: forget it."""

    auth_resource = "medfusion:models"

    @web.authenticated
    @authorized
    async def put(self, model_id: str, alias: str) -> None:
        user = self.current_user.username

        def work(store: Store) -> dict[str, object]:
            model = store.models.get(int(model_id))
            return store.models.set_alias(model.name, alias, model.version, set_by=user).to_json()

        self.reply(await self.ask(work))

    @web.authenticated
    @authorized
    async def delete(self, model_id: str, alias: str) -> None:
        user = self.current_user.username

        def work(store: Store) -> dict[str, object]:
            name = store.models.get(int(model_id)).name
            store.models.remove_alias(name, alias, removed_by=user)
            return store.models.get(int(model_id)).to_json()

        self.reply(await self.ask(work))
