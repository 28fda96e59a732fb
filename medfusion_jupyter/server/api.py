"""What every REST handler shares: the way to the store, who asks, and one shape of error."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from jupyter_server.auth.identity import IdentityProvider
from jupyter_server.base.handlers import APIHandler
from tornado import web
from tornado.web import stream_request_body

from medfusion_jupyter.store.errors import (
    BadValue,
    Conflict,
    Elsewhere,
    IllegalTransition,
    InUse,
    NameTaken,
    NotYours,
    StoreError,
    UnknownId,
)

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

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


@stream_request_body
class StoreHandler(APIHandler):
    """Base of the REST handlers. A body is taken in as it comes, and what is longer than `body_limit` is not kept."""

    def initialize(self) -> None:
        """Nothing has come in yet."""
        self._body = bytearray()
        self._received = 0

    @property
    def body_limit(self) -> int:
        """Bytes of the longest body that is read."""
        return MAX_BODY_BYTES

    def data_received(self, chunk: bytes) -> None:
        """Count what has come in, and keep it while it may still be read; the rest passes, so that its sender is answered."""
        self._received += len(chunk)
        if self._received <= self.body_limit:
            self.keep(chunk)

    def keep(self, chunk: bytes) -> None:
        """Hold part of a body."""
        self._body += chunk

    def refuse_long_body(self) -> None:
        """Raise ApiError 413 where the body was too long to be kept."""
        if self._received > self.body_limit:
            raise ApiError(
                413, "too-large", f"The request has {self._received:,} bytes; {self.body_limit:,} is the most."
            )

    async def ask(self, work: Callable[[Store], Answer]) -> Answer:
        """Do `work` with the store in a thread. What the store refuses becomes the client's error."""
        in_thread, executor = self.settings["medfusion_store"], self.settings["medfusion_executor"]
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, lambda: work(in_thread()))
        except UnknownId as error:
            raise ApiError(404, "not-found", str(error)) from None
        except NotYours as error:
            raise ApiError(403, "not-yours", str(error)) from None
        except (Conflict, Elsewhere, IllegalTransition, InUse, NameTaken) as error:
            raise ApiError(409, "not-now", str(error)) from None
        except BadValue as error:
            raise ApiError(400, "bad-request", str(error)) from None
        except (StoreError, OSError) as error:  # DatabaseTrouble above all: it may be tried again
            self.log.error("MedFusion's store: %s", error)
            raise ApiError(503, "store", str(error)) from None

    async def in_thread(self, work: Callable[[], Answer]) -> Answer:
        """Do `work` that takes a while, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.settings["medfusion_executor"], work)

    @property
    def person(self) -> str:
        """Who asks: the user that the identity provider tells apart from others, else the owner of the server's process.

        Jupyter's own providers let in whoever has the token or password, under a name made up for the browser.
        """
        provider = type(self.identity_provider)
        if provider.__module__ == IdentityProvider.__module__ or (
            provider.generate_anonymous_user is IdentityProvider.generate_anonymous_user
            and provider.get_user is IdentityProvider.get_user
        ):
            from medfusion_jupyter.store.people import current_person

            return current_person()
        name: str = self.current_user.username
        return name

    def reply(self, body: object) -> None:
        """Answer with JSON; moments, in UTC, become what `moment` makes of them, and NaN, which no browser reads, null."""
        from pydantic_core import to_json

        self.finish(to_json(body, inf_nan_mode="null"))  # in a third of the time of json.dumps, while all else waits

    def query_as(self, shape: type[Shape]) -> Shape:
        """The query's arguments, validated. Raises ApiError 400 naming the argument."""
        from pydantic import ValidationError

        # Jupyter's own arguments: the token, and the time against a browser's cache
        ours = {
            # not by get_query_argument, which puts blanks for control characters
            name: self.decode_argument(values[-1], name)
            for name, values in self.request.query_arguments.items()
            if name != "token" and not name.isdigit() and values[-1]  # an empty one is not given
        }
        try:
            # in JSON's way: a query is text, and text stands for numbers
            return shape.model_validate_strings(ours)
        except ValidationError as refused:
            field, message = _first(refused, shape)
            raise ApiError(400, "bad-request", message, field) from None

    def body_as(self, shape: type[Shape]) -> Shape:
        """The request's JSON, validated. Raises ApiError 400 where it is no JSON, 413 where it is huge, 422 naming the field."""
        from pydantic import ValidationError

        self.refuse_long_body()
        try:
            return shape.model_validate_json(self._body)
        except ValidationError as refused:
            first = refused.errors()[0]
            if first["type"] == "json_invalid":
                raise ApiError(400, "bad-request", f"The request is no JSON: {first['msg']}.") from None
            field, message = _first(refused, shape)
            raise ApiError(422, "invalid", message, field) from None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """One JSON shape for every error; no traceback leaves the server."""
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        body = {"code": "error", "message": self._reason, "field": None}
        if isinstance(error, ApiError):
            body = error.body
        elif isinstance(error, web.HTTPError):
            body["code"] = {
                400: "bad-request",
                401: "unauthenticated",
                403: "forbidden",
                404: "not-found",
                405: "no-such-method",
            }.get(error.status_code, "error")
            if error.log_message:
                body["message"] = error.log_message % error.args if error.args else error.log_message
        if status_code == 405:
            self.set_header("Allow", ", ".join(self.verbs()))
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(body))

    @classmethod
    def verbs(cls) -> list[str]:
        """The verbs that the handler has an operation for."""
        return [verb for verb in cls.SUPPORTED_METHODS if hasattr(getattr(cls, verb.lower()), "operation")]


class NotFound(StoreHandler):
    """Every verb of a path under the API that is no route."""

    auth_resource = "medfusion:system"

    async def prepare(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: who is not let in does not learn what is there."""
        await super().prepare(*args, **kwargs)
        if not self.current_user:
            raise web.HTTPError(403)
        raise ApiError(
            404, "not-found", f"There is nothing at {self.request.path[:200]}; openapi.json lists what there is."
        )


def _first(refused: ValidationError, shape: type[BaseModel]) -> tuple[str | None, str]:
    from medfusion_jupyter.settings.refusals import in_words

    first = refused.errors()[0]
    return ".".join(str(part) for part in first["loc"]) or None, in_words(first, shape)
