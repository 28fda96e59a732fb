"""What every REST handler shares: the way to the store, and one shape of error."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from jupyter_server.base.handlers import APIHandler
from tornado import web

from medfusion_jupyter.store import StoreError, UnknownId
from medfusion_jupyter.store.errors import BadValue, Conflict, IllegalTransition, InUse, NameTaken

if TYPE_CHECKING:
    from pydantic import BaseModel

    from medfusion_jupyter.store import Page, Store

Answer = TypeVar("Answer")
Shape = TypeVar("Shape", bound="BaseModel")

MAX_BODY_BYTES = 10_000_000


def as_page(page: Page[Any]) -> dict[str, object]:
    """A page of records as JSON."""
    return {"items": [item.to_json() for item in page.items], "next": page.next}


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
        except (Conflict, IllegalTransition, InUse, NameTaken) as error:
            raise ApiError(409, "not-now", str(error)) from None
        except BadValue as error:
            raise ApiError(400, "bad-request", str(error)) from None
        except StoreError as error:
            self.log.error("MedFusion's store: %s", error)
            raise ApiError(503, "store", str(error)) from None

    def reply(self, body: object) -> None:
        """Answer with JSON."""
        self.finish(json.dumps(body))

    def page_arguments(self) -> dict[str, Any]:
        """`limit`, `search` and `cursor` of a list, as its repository takes them."""
        return {
            "limit": self.whole_number("limit", 50),
            "search": self.get_query_argument("search", None),
            "cursor": self.get_query_argument("cursor", None),
        }

    async def body_as(self, shape: type[Shape]) -> Shape:
        """The request's JSON, validated. Raises ApiError 400 where it is no JSON, 413 where it is huge, 422 naming the field."""
        from pydantic import ValidationError

        if len(self.request.body) > MAX_BODY_BYTES:
            raise ApiError(
                413, "too-large", f"The request has {len(self.request.body):,} bytes; {MAX_BODY_BYTES:,} is the most."
            )
        try:
            return shape.model_validate_json(self.request.body)
        except ValidationError as refused:
            first = refused.errors()[0]
            if first["type"] == "json_invalid":
                raise ApiError(400, "bad-request", f"The request is no JSON: {first['msg']}.") from None
            field = ".".join(str(part) for part in first["loc"]) or None
            raise ApiError(422, "invalid", f"{field or 'The request'}: {first['msg']}.", field) from None

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
