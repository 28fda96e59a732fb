"""The server's own state over REST: is it alive, can it reach its database, what has its machine, what was done."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from medfusion_jupyter.server.api import StoreHandler, as_page
from medfusion_jupyter.server.operation import operation

if TYPE_CHECKING:
    from medfusion_jupyter.server.requests import AuditQuery
    from medfusion_jupyter.store import Store

API = "/medfusion/api"


class SystemHandler(StoreHandler):
    """Base of the handlers of the server itself."""

    auth_resource = "medfusion:system"


class Live(SystemHandler):
    @operation("The server answers; the database is not asked", answer="Alive")
    async def get(self) -> None:
        self.reply({"status": "live"})


class Ready(SystemHandler):
    @operation("The database answers; 503 where it does not", answer="Ready")
    async def get(self) -> None:
        last = await self.ask(lambda store: store.events.last_id())
        self.reply({"status": "ready", "last_event": last})


class Info(SystemHandler):
    @operation("Versions, which database it is, and who asks", answer="Info")
    async def get(self) -> None:
        from importlib.metadata import version

        person = self.person

        def work(store: Store) -> dict[str, object]:
            from medfusion_jupyter.store.location import home
            from medfusion_jupyter.store.migrate import revision

            return {
                "database": store.engine.url.render_as_string(hide_password=True),
                "schema_revision": revision(store.engine),
                "home": str(home()),
                "is_admin": person in store.admins,
            }

        packages = ("medfusion-jupyter", "jupyter-server", "sqlalchemy")
        told = await self.ask(work)
        self.reply({**told, "person": person, "versions": {name: version(name) for name in packages}})


class Resources(SystemHandler):
    @operation("Processor, memory, disk and each GPU of the server's machine, and its queue", answer="Resources")
    async def get(self) -> None:
        from medfusion_jupyter.server.resources import machine

        executor, launcher = self.settings["medfusion_executor"], self.settings["medfusion_launcher"]
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(executor, machine)
        places = await loop.run_in_executor(executor, launcher.places)
        running, waiting = await self.ask(
            lambda store: (store.queue.at_work(), len(store.queue.waiting()) + store.queue.executions_waiting())
        )
        self.reply({**found, "jobs_at_once": places, "jobs_running": running, "jobs_waiting": waiting})


class Audit(SystemHandler):
    @operation("Who changed what, when: the newest first. It can only be read", query="AuditQuery", answer="EventPage")
    async def get(self, query: AuditQuery) -> None:
        self.reply(await self.ask(lambda store: as_page(store.events.page(**query.model_dump()))))


class Document(SystemHandler):
    @operation("This document", answer="application/json")
    async def get(self) -> None:
        from medfusion_jupyter.server.openapi import document

        self.reply(document(self.settings["medfusion_routes"], self.settings["base_url"].rstrip("/") + API, API))
