"""Datasets over REST: list and one."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from medfusion_jupyter.server.api import StoreHandler, as_page


class DatasetList(StoreHandler):
    """GET: a page of datasets, newest first."""

    auth_resource = "medfusion:datasets"

    @web.authenticated
    @authorized
    async def get(self) -> None:
        arguments = self.page_arguments()
        self.reply(await self.ask(lambda store: as_page(store.datasets.list(**arguments))))


class Dataset(StoreHandler):
    """GET: one dataset."""

    auth_resource = "medfusion:datasets"

    @web.authenticated
    @authorized
    async def get(self, dataset_id: str) -> None:
        dataset = await self.ask(lambda store: store.datasets.get(int(dataset_id)))
        self.reply(dataset.to_json())
