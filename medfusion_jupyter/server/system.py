"""The server's own state over REST: is it alive, can it reach its database."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from medfusion_jupyter.server.api import StoreHandler


class Live(StoreHandler):
    """GET: the server answers. The database is not asked."""

    auth_resource = "medfusion:system"

    @web.authenticated
    @authorized
    async def get(self) -> None:
        self.reply({"status": "live"})


class Ready(StoreHandler):
    """GET: the database answers; 503 where it does not."""

    auth_resource = "medfusion:system"

    @web.authenticated
    @authorized
    async def get(self) -> None:
        last = await self.ask(lambda store: store.events.last_id())
        self.reply({"status": "ready", "last_event": last})


class Info(StoreHandler):
    """GET: versions, and which database it is; a password in its URL is not shown."""

    auth_resource = "medfusion:system"

    @web.authenticated
    @authorized
    async def get(self) -> None:
        from importlib.metadata import version

        database = await self.ask(lambda store: store.engine.url.render_as_string(hide_password=True))
        packages = ("medfusion-jupyter", "jupyter-server", "sqlalchemy")
        self.reply({"database": database, "versions": {name: version(name) for name in packages}})
