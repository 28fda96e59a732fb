"""The OpenAPI 3.1 document, made from the routes, the operations on them and the classes that validate the requests."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from medfusion_jupyter.server import answers, requests
from medfusion_jupyter.server.operation import Operation

REF = "#/components/schemas/{model}"
BINARY = {"type": "string", "format": "binary"}
VERBS = ("get", "post", "put", "patch", "delete")
GROUP = re.compile(r"\(\?P<(?P<name>\w+)>(?P<pattern>.*?)\)(?=/|$)")


@functools.lru_cache(maxsize=1)
def document(routes: tuple[tuple[str, type], ...], url: str, api: str) -> dict[str, Any]:
    """The document of `routes`, whose paths begin with `api`; url: where a client finds that."""
    _, definitions = models_json_schema([(model, _mode(model)) for model in _models()], ref_template=REF)
    paths: dict[str, Any] = {}
    for route, handler in routes:
        offered = dict(_operations(handler))
        if not offered:
            continue
        path = GROUP.sub(lambda group: f"{{{group['name']}}}", route.removeprefix(api)).replace(r"\.", ".")
        paths[path] = {
            "parameters": [_in_path(group) for group in GROUP.finditer(route)],
            **{verb: _verb(handler, verb, told, "{" in path) for verb, told in offered.items()},
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "MedFusion for Jupyter", "version": version("medfusion-jupyter")},
        "servers": [{"url": url}],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "Authorization"}},
        },
        "security": [{"token": []}],
    }


def _operations(handler: type) -> Iterator[tuple[str, Operation]]:
    for verb in VERBS:
        told = getattr(getattr(handler, verb, None), "operation", None)
        if told is not None:
            yield verb, told


def _verb(handler: type, verb: str, told: Operation, has_parameters: bool) -> dict[str, Any]:
    tag = getattr(handler, "auth_resource", "").removeprefix("medfusion:")
    # 403: without a token, without the authorization, or not the owner; 503: the database does not answer
    refusals = {403, 503, *told.errors}
    refusals |= {404} if has_parameters else set()
    refusals |= {400} if told.query else set()
    refusals |= {400, 413, 422} if told.body else set()
    out: dict[str, Any] = {
        "operationId": f"{handler.__name__}.{verb}",
        "tags": [tag],
        "summary": told.summary,
        "responses": {
            str(told.status): _success(told),
            **({"304": {"description": "It is as If-None-Match says"}} if verb == "get" else {}),
            **{str(status): _refusal(status) for status in sorted(refusals)},
        },
    }
    if told.query:
        out["parameters"] = list(_in_query(getattr(requests, told.query)))
    if "/" in told.body:
        out["requestBody"] = {"required": True, "content": {told.body: {"schema": BINARY}}}
    elif told.body:
        out["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(told.body)}}}
    return out


def _success(told: Operation) -> dict[str, Any]:
    out: dict[str, Any] = {"description": HTTPStatus(told.status).phrase}
    if "/" in told.answer:
        out["content"] = {told.answer: {} if told.answer == "application/json" else {"schema": BINARY}}
    elif told.answer:
        out["content"] = {"application/json": {"schema": _ref(told.answer)}}
    return out


def _refusal(status: int) -> dict[str, Any]:
    return {"description": HTTPStatus(status).phrase, "content": {"application/json": {"schema": _ref("Error")}}}


def _in_path(group: re.Match[str]) -> dict[str, Any]:
    pattern = group["pattern"]
    schema = {"type": "string", "pattern": f"^({pattern})$"}
    return {"name": group["name"], "in": "path", "required": True, "schema": schema}


def _in_query(model: type[BaseModel]) -> Iterator[dict[str, Any]]:
    schema = model.model_json_schema(ref_template=REF)
    for name, told in schema["properties"].items():
        required = name in schema.get("required", ())
        text = {"description": told["description"]} if "description" in told else {}
        shape = _without_null(told) if required else {"anyOf": [_without_null(told), {"const": ""}]}
        yield {"name": name, "in": "query", "required": required, "schema": shape, **text}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    # a query says nothing, or an empty text, rather than null
    if "anyOf" not in schema:
        return schema
    kept = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return {**rest, **kept[0]} if len(kept) == 1 else {**rest, "anyOf": kept}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": REF.format(model=name)}


def _models() -> Sequence[type[BaseModel]]:
    named = {**vars(requests), **vars(answers)}
    return [
        value
        for name, value in named.items()
        if isinstance(value, type)
        and issubclass(value, BaseModel)
        and name not in ("BaseModel", "Query", "Body", "Answer")
    ]


def _mode(model: type[BaseModel]) -> Any:
    return "validation" if model.__module__ == requests.__name__ else "serialization"
