"""One verb of a route: who may call it, what it takes and gives. The checks and the OpenAPI document come from the same words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import authorized
from tornado import web

if TYPE_CHECKING:
    from pydantic import BaseModel

    from medfusion_jupyter.server.api import StoreHandler

Verb = Callable[..., Awaitable[None]]


@dataclass(frozen=True)
class Operation:
    """What a verb is, for people and for the OpenAPI document.

    query, body: names of classes in `requests.py`; a body may be a media type, which the verb reads itself. answer: name of a
    class in `answers.py`, or a media type; status: of success; errors: the refusals beyond those that every verb has.
    """

    summary: str
    query: str = ""
    body: str = ""
    answer: str = ""
    status: int = 200
    errors: tuple[int, ...] = ()


def operation(
    summary: str,
    *,
    query: str = "",
    body: str = "",
    answer: str = "",
    status: int = 200,
    errors: tuple[int, ...] = (),
) -> Callable[[Verb], Any]:
    """Authenticate and authorize a verb, and hand it `query` and `body` as the classes of those names, validated."""

    def decorate(verb: Verb) -> Any:
        @web.authenticated
        @authorized
        @wraps(verb)
        async def call(self: StoreHandler, **path: str) -> None:
            given: dict[str, Any] = dict(path)
            if query:
                given["query"] = self.query_as(shape(query))
            if body and "/" not in body:
                given["body"] = self.body_as(shape(body))
            self.set_status(status)
            await verb(self, **given)

        call.operation = Operation(summary, query, body, answer, status, errors)  # type: ignore[attr-defined]
        return call

    return decorate


def shape(name: str) -> type[BaseModel]:
    """The class of that name in `requests.py`; pydantic is loaded now, at the first request, and not with the server."""
    found: type[BaseModel] = getattr(import_module("medfusion_jupyter.server.requests"), name)
    return found
