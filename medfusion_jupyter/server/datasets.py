"""Datasets over REST: list and one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jupyter_server.auth.decorator import authorized
from tornado import web

from medfusion_jupyter.server.api import StoreHandler

if TYPE_CHECKING:
    from medfusion_jupyter.store import Store


class DatasetList(StoreHandler):
    """GET: a page of datasets, newest first."""

    auth_resource = "medfusion:datasets"

    @web.authenticated
    @authorized
    async def get(self) -> None:
        limit = self.whole_number("limit", 50) or 0
        search, cursor = self.get_query_argument("search", None), self.get_query_argument("cursor", None)

        def work(store: Store) -> dict[str, object]:
            page = store.datasets.list(search=search, limit=limit, cursor=cursor)
            return {"items": [dataset.to_json() for dataset in page.items], "next": page.next}

        self.finish(json.dumps(await self.ask(work)))


class Dataset(StoreHandler):
    """GET: one dataset."""

    auth_resource = "medfusion:datasets"

    @web.authenticated
    @authorized
    async def get(self, dataset_id: str) -> None:
        dataset = await self.ask(lambda store: store.datasets.get(int(dataset_id)))
        self.finish(json.dumps(dataset.to_json()))
