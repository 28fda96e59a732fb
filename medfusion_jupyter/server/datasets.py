"""Datasets over REST: list, one, create, changes, analysis, statistics."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medfusion_jupyter.server.api import ApiError, StoreHandler, as_page
from medfusion_jupyter.server.operation import operation

if TYPE_CHECKING:
    from medfusion_jupyter.server.requests import DatasetChanges, DatasetQuery, NewDataset
    from medfusion_jupyter.store import Store


class DatasetHandler(StoreHandler):
    """Base of the handlers of datasets."""

    auth_resource = "medfusion:datasets"

    def readable(self, given: str) -> Path:
        """The folder `given`, relative to the server's root, where it and its files lie in a folder that the server may read."""
        from medfusion_jupyter.store.dataset_files import CARD, TABLE
        from medfusion_jupyter.store.location import home

        server_root = Path(self.settings["server_root_dir"]).expanduser().resolve()
        roots = [
            server_root,
            home().resolve(),
            *(Path(root).resolve() for root in self.settings["medfusion_data_roots"]),
        ]
        try:
            folder = (server_root / given).resolve()
            files = [(folder / name).resolve() for name in (CARD, TABLE)]  # a link may lead elsewhere
        except (OSError, ValueError, RuntimeError):  # NUL, a loop of links
            files = [Path("/")]
        if not all(any(file.is_relative_to(root) for root in roots) for file in files):
            raise ApiError(
                422,
                "invalid",
                f"data_path={given[:200]!r} is in none of the folders that this server may read: its root folder, "
                "MEDFUSION_HOME and MedFusionApp.data_roots.",
                "data_path",
            )
        return folder


class DatasetSearch(DatasetHandler):
    """The list under the name that a client may look for."""

    @operation("A page of datasets, newest first", query="DatasetQuery", answer="DatasetPage")
    async def get(self, query: DatasetQuery) -> None:
        self.reply(await self.ask(lambda store: as_page(store.datasets.list(**query.model_dump()))))


class DatasetList(DatasetSearch):
    """The list, and where a dataset is created."""

    @operation(
        "Store a cohort that lies on the server's disk", body="NewDataset", answer="Dataset", status=201, errors=(409,)
    )
    async def post(self, body: NewDataset) -> None:
        person, folder = self.person, self.readable(body.data_path)

        def work(store: Store) -> dict[str, Any]:
            rest = body.model_dump(exclude={"data_path"})
            return store.datasets.create(**rest, data_path=str(folder), by=person).to_json()

        self.reply(await self.ask(work))


class DatasetStatistics(DatasetHandler):
    @operation("Numbers over all datasets", answer="DatasetStatistics")
    async def get(self) -> None:
        self.reply(await self.ask(lambda store: asdict(store.datasets.statistics())))


class Dataset(DatasetHandler):
    @operation("One dataset", answer="Dataset")
    async def get(self, dataset_id: str) -> None:
        self.reply((await self.ask(lambda store: store.datasets.get(int(dataset_id)))).to_json())

    @operation("Rename, describe or tag a dataset", body="DatasetChanges", answer="Dataset", errors=(409,))
    async def patch(self, dataset_id: str, body: DatasetChanges) -> None:
        person = self.person

        def work(store: Store) -> dict[str, Any]:
            changes = body.model_dump(exclude={"updated_at"})
            return store.datasets.update(int(dataset_id), seen=body.updated_at, by=person, **changes).to_json()

        self.reply(await self.ask(work))

    @operation("Forget a dataset, with its folder where nothing else needs it", status=204, errors=(409,))
    async def delete(self, dataset_id: str) -> None:
        person = self.person
        await self.ask(lambda store: store.datasets.delete(int(dataset_id), by=person))


class Analysis(DatasetHandler):
    @operation("Read the dataset's table and keep what each column holds", answer="Dataset", errors=(400, 422))
    async def post(self, dataset_id: str) -> None:
        person = self.person

        def work(store: Store) -> dict[str, Any]:
            self.readable(store.datasets.get(int(dataset_id)).data_path)
            return store.datasets.analyze(int(dataset_id), by=person).to_json()

        self.reply(await self.ask(work))
