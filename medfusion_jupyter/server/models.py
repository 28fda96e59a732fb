"""Models over REST: list and one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jupyter_server.auth.decorator import authorized
from tornado import web

from medfusion_jupyter.server.api import StoreHandler

if TYPE_CHECKING:
    from medfusion_jupyter.store import Store


class ModelList(StoreHandler):
    """GET: a page of models, newest first."""

    auth_resource = "medfusion:models"

    @web.authenticated
    @authorized
    async def get(self) -> None:
        limit = self.whole_number("limit", 50) or 0
        search, cursor = self.get_query_argument("search", None), self.get_query_argument("cursor", None)

        def work(store: Store) -> dict[str, object]:
            page = store.models.list(search=search, limit=limit, cursor=cursor)
            return {"items": [model.to_json() for model in page.items], "next": page.next}

        self.finish(json.dumps(await self.ask(work)))


class Model(StoreHandler):
    """GET: one model."""

    auth_resource = "medfusion:models"

    @web.authenticated
    @authorized
    async def get(self, model_id: str) -> None:
        model = await self.ask(lambda store: store.models.get(int(model_id)))
        self.finish(json.dumps(model.to_json()))
