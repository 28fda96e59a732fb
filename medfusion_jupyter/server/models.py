"""Models over REST: list, one, changes, versions, aliases, statistics, and their files both ways."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tornado import web

from medfusion_jupyter.server.api import MAX_BODY_BYTES, ApiError, StoreHandler, as_page
from medfusion_jupyter.server.operation import operation

if TYPE_CHECKING:
    from typing import BinaryIO

    from medfusion_jupyter.server.requests import ModelChanges, ModelQuery, ModelUpload
    from medfusion_jupyter.store import Store

CHUNK_BYTES = 1 << 20


class ModelHandler(StoreHandler):
    """Base of the handlers of models."""

    auth_resource = "medfusion:models"


class ModelSearch(ModelHandler):
    """The list under the name that a client may look for."""

    @operation("A page of models, newest first", query="ModelQuery", answer="ModelPage")
    async def get(self, query: ModelQuery) -> None:
        self.reply(await self.ask(lambda store: as_page(store.models.list(**query.model_dump()))))


class ModelList(ModelSearch):
    """The list, and where a model is uploaded: an archive is written to the disk as it comes in, for it may be large."""

    _file: BinaryIO | None = None
    _path: Path | None = None
    _trouble: OSError | None = None

    @property
    def body_limit(self) -> int:
        limit: int = self.settings["medfusion_max_upload_bytes"]
        return limit

    async def prepare(self, *args: Any, **kwargs: Any) -> None:
        """Let nobody in who may not upload, before a byte is kept."""
        await super().prepare(*args, **kwargs)
        if not self.current_user:
            raise web.HTTPError(403)
        if self.request.method == "POST":
            from medfusion_jupyter.store.location import home

            connection: Any = self.request.connection
            connection.set_max_body_size(self.body_limit + MAX_BODY_BYTES)  # who sends a little more is still answered
            self._path = home() / "uploads" / f"{uuid.uuid4().hex}.zip"
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open(self._path, "wb")  # noqa: SIM115 (closed when the request ends)
            except OSError as error:
                raise ApiError(503, "store", f"The upload cannot be kept: {error}.") from None

    def keep(self, chunk: bytes) -> None:
        """To the disk. What went wrong there is told when all has come."""
        if self._file is None or self._trouble is not None:
            return
        try:
            self._file.write(chunk)
        except OSError as error:
            self._trouble = error

    @operation(
        "Store a model from a zip archive of model.safetensors and model.json, as `download` gives it",
        query="ModelUpload",
        body="application/zip",
        answer="Model",
        status=201,
        errors=(404, 413, 422),
    )
    async def post(self, query: ModelUpload) -> None:
        assert self._file is not None
        assert self._path is not None
        self.refuse_long_body()
        path, person, file = self._path, self.person, self._file

        def work(store: Store) -> dict[str, Any]:
            from medfusion_jupyter.store.model_archive import BadArchive, unpack

            if self._trouble is not None:
                raise self._trouble
            file.close()
            try:
                kept = unpack(path)
            except BadArchive as refused:
                raise ApiError(422, "invalid", str(refused)) from None
            try:
                return store.models.register(**query.model_dump(), **kept, by=person).to_json()
            except BaseException:
                shutil.rmtree(kept["path"], ignore_errors=True)
                raise

        self.reply(await self.ask(work))

    def on_finish(self) -> None:
        """Leave nothing of an upload behind."""
        super().on_finish()
        self._clear()

    def on_connection_close(self) -> None:
        """The client has gone in the middle of it."""
        super().on_connection_close()
        self._clear()

    def _clear(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # what is left in its buffer may find the disk full
                self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


class ModelStatistics(ModelHandler):
    @operation("Numbers over all models", answer="ModelStatistics")
    async def get(self) -> None:
        self.reply(await self.ask(lambda store: asdict(store.models.statistics())))


class Model(ModelHandler):
    @operation("One version of a model", answer="Model")
    async def get(self, model_id: str) -> None:
        self.reply((await self.ask(lambda store: store.models.get(int(model_id)))).to_json())

    @operation("Describe or tag a version of a model", body="ModelChanges", answer="Model", errors=(409,))
    async def patch(self, model_id: str, body: ModelChanges) -> None:
        person = self.person

        def work(store: Store) -> dict[str, Any]:
            changes = body.model_dump(exclude={"updated_at"})
            return store.models.update(int(model_id), seen=body.updated_at, by=person, **changes).to_json()

        self.reply(await self.ask(work))

    @operation("Forget a version of a model with its files", status=204, errors=(409,))
    async def delete(self, model_id: str) -> None:
        person = self.person
        await self.ask(lambda store: store.models.delete(int(model_id), by=person))


class ModelDownload(ModelHandler):
    @operation("The model's files as a zip archive", answer="application/zip", errors=(409,))
    async def get(self, model_id: str) -> None:
        def work(store: Store) -> tuple[Path, str]:
            from medfusion_jupyter.store.model_archive import pack

            model = store.models.get(int(model_id))
            return pack(Path(model.model_path)), f"{model.name} v{model.version}.zip"

        archive, name = await self.ask(work)
        plain = "".join(c if c.isascii() and (c.isalnum() or c in " ._-") else "_" for c in name)
        self.set_header("Content-Type", "application/zip")
        self.set_header("Content-Length", str(archive.stat().st_size))
        self.set_header(
            "Content-Disposition", f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
        )
        loop, executor = asyncio.get_running_loop(), self.settings["medfusion_executor"]
        try:
            with open(archive, "rb") as file:
                while chunk := await loop.run_in_executor(executor, file.read, CHUNK_BYTES):
                    self.write(chunk)
                    await self.flush()
        finally:
            archive.unlink(missing_ok=True)
        await self.finish()


class VersionList(ModelHandler):
    @operation("Every version under the name of a model, newest first", answer="ModelList")
    async def get(self, model_id: str) -> None:
        def work(store: Store) -> dict[str, object]:
            name = store.models.get(int(model_id)).name
            return {"items": [model.to_json() for model in store.models.versions(name)]}

        self.reply(await self.ask(work))


class Alias(ModelHandler):
    @operation("Let an alias, such as production, mean this version of the model", answer="Model", errors=(400,))
    async def put(self, model_id: str, alias: str) -> None:
        person = self.person

        def work(store: Store) -> dict[str, object]:
            model = store.models.get(int(model_id))
            return store.models.set_alias(model.name, alias, model.version, by=person).to_json()

        self.reply(await self.ask(work))

    @operation("Forget an alias", answer="Model", errors=(400,))
    async def delete(self, model_id: str, alias: str) -> None:
        person = self.person

        def work(store: Store) -> dict[str, object]:
            name = store.models.get(int(model_id)).name
            store.models.remove_alias(name, alias, by=person)
            return store.models.get(int(model_id)).to_json()

        self.reply(await self.ask(work))
