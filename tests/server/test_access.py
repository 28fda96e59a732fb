"""Nobody gets in without a token, and what is not authorised is refused, on every verb of every route."""

import re

import pytest
from jupyter_server.auth import Authorizer
from jupyter_server.utils import url_path_join
from tornado.httpclient import HTTPClientError
from tornado.web import RequestHandler
from tornado.websocket import websocket_connect

from medfusion_jupyter.server.app import ROUTES

VERBS = [verb for verb in RequestHandler.SUPPORTED_METHODS if verb not in ("OPTIONS", "HEAD")]


def _offered():
    """(route, handler, verb) of every verb that one of our handlers defines."""
    for route, handler in ROUTES:
        for verb in VERBS:
            method = getattr(handler, verb.lower())
            if method is not getattr(RequestHandler, verb.lower()):
                yield route, handler, verb


SAMPLES = {
    "job_id": "job_0001",
    "command": "pause",
    "model_id": "1",
    "alias": "production",
    "dataset_id": "1",
    "workflow_id": "1",
    "version": "1",
    "before": "1",
    "after": "2",
    "execution_id": "1",
}


def _path(route):
    return re.sub(r"\(\?P<(\w+)>.*?\)(?=/|$)", lambda group: SAMPLES[group[1]], route).replace("\\", "")


def test_every_handler_is_tried_here():
    assert len({handler for _, handler, _ in _offered()}) == len(ROUTES)


@pytest.mark.parametrize(("route", "verb"), [(route, verb) for route, _, verb in _offered()])
async def test_without_a_token_every_verb_is_refused(jp_serverapp, jp_base_url, http_server_client, route, verb):
    url = url_path_join(jp_base_url, _path(route))
    for headers in ({}, {"Authorization": "token wrong"}):
        with pytest.raises(HTTPClientError) as caught:
            await http_server_client.fetch(
                url,
                method=verb,
                body="" if verb in ("POST", "PUT", "PATCH") else None,
                headers=headers,
                follow_redirects=False,
            )
        assert caught.value.code in (302, 403)


class DeniesAll(Authorizer):
    asked = []

    def is_authorized(self, handler, user, action, resource):
        self.asked.append((action, resource))
        return False


@pytest.fixture
def denied(jp_web_app):
    DeniesAll.asked = []
    jp_web_app.settings["authorizer"] = DeniesAll(parent=jp_web_app.settings["serverapp"])
    return DeniesAll.asked


@pytest.mark.parametrize(("route", "verb"), [(r, v) for r, h, v in _offered() if h.__name__ != "Feed"])
async def test_who_is_not_authorised_is_refused_and_the_resource_is_named(jp_fetch, denied, route, verb):
    with pytest.raises(HTTPClientError) as caught:
        await jp_fetch(
            *_path(route).strip("/").split("/"), method=verb, body="" if verb in ("POST", "PUT", "PATCH") else None
        )
    assert caught.value.code == 403
    handler = dict(ROUTES)[route]
    assert denied == [("read" if verb == "GET" else "write", handler.auth_resource)]


async def test_the_feed_is_refused_without_a_token(jp_serverapp, jp_base_url, http_server, jp_http_port):
    url = f"ws://127.0.0.1:{jp_http_port}" + url_path_join(jp_base_url, "medfusion/api/feed")
    with pytest.raises(HTTPClientError) as caught:
        await websocket_connect(url)
    assert caught.value.code == 403


async def test_the_feed_is_refused_to_who_is_not_authorised(jp_ws_fetch, denied):
    with pytest.raises(HTTPClientError) as caught:
        await jp_ws_fetch("medfusion", "api", "feed")
    assert caught.value.code == 403
    assert denied == [("read", "medfusion:events")]
