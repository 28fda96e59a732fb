"""What every REST handler shares: the way to the store, and one shape of error."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from jupyter_server.base.handlers import APIHandler
from tornado import web

from medfusion_jupyter.store import StoreError, UnknownId
from medfusion_jupyter.store.errors import BadValue, IllegalTransition, InUse

if TYPE_CHECKING:
    from medfusion_jupyter.store import Store

Answer = TypeVar("Answer")


class ApiError(web.HTTPError):
    """An error for the client. code: a word for programs; message: for people; field: what it is about, if anything."""

    def __init__(self, status: int, code: str, message: str, field: str | None = None) -> None:
        super().__init__(status, "%s", message)
        self.body = {"code": code, "message": message, "field": field}


class StoreHandler(APIHandler):
    """Base of the REST handlers."""

    async def ask(self, work: Callable[[Store], Answer]) -> Answer:
        """Do `work` with the store in a thread. What the store refuses becomes the client's error."""

        def in_thread() -> Answer:
            from medfusion_jupyter.store import open_store  # loads SQLAlchemy, at the first request only

            return work(open_store())

        try:
            return await asyncio.get_running_loop().run_in_executor(self.settings["medfusion_executor"], in_thread)
        except UnknownId as error:
            raise ApiError(404, "not-found", str(error)) from None
        except (IllegalTransition, InUse) as error:
            raise ApiError(409, "not-now", str(error)) from None
        except BadValue as error:
            raise ApiError(400, "bad-request", str(error)) from None
        except StoreError as error:
            self.log.error("MedFusion's store: %s", error)
            raise ApiError(503, "store", str(error)) from None

    def whole_number(self, name: str, default: int | None) -> int | None:
        """The query argument as a whole number. Raises ApiError 400."""
        text = self.get_query_argument(name, None)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise ApiError(400, "bad-request", f"{name}={text[:40]!r} is no whole number of 0 or more.", name)
        return int(text)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """One JSON shape for every error; no traceback leaves the server."""
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        body = {"code": "error", "message": self._reason, "field": None}
        if isinstance(error, ApiError):
            body = error.body
        elif isinstance(error, web.HTTPError):
            body["code"] = {401: "unauthenticated", 403: "forbidden", 404: "not-found", 405: "no-such-method"}.get(
                error.status_code, "error"
            )
            if error.log_message:
                body["message"] = error.log_message % error.args if error.args else error.log_message
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(body))
