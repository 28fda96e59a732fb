"""What a client may send that it should not: refused with a 4xx of the one shape, nothing stored, and the server lives on."""

import itertools
import json
from pathlib import Path

import psutil
import pytest
from jupyter_process import TOKEN, JupyterServer
from rows import DATASET, JOB, MODEL

from medfusion_jupyter.store import home


@pytest.fixture
def filled(store):
    """A store with one row of each kind; the test must leave them as they are."""
    store.jobs.create("kept", **JOB)
    store.models.register("kept", **MODEL)
    store.datasets.save("kept", **DATASET)
    store.workflows.create("kept")

    def rows():
        lists = (store.jobs, store.models, store.datasets, store.workflows)
        return [one.list().items for one in lists], store.events.list()

    before = rows()
    yield store
    assert rows() == before


BODIES = {
    ("POST", "workflows"): {"name": "new"},
    ("PUT", "workflows/1"): {"version": 1},
    ("POST", "training/start"): {"dataset": "kept"},
    ("PATCH", "training/job_0001"): {"seen": {"name": "kept", "description": ""}},
    ("PATCH", "models/1"): {"updated_at": "2026-01-01T00:00:00Z"},
    ("POST", "datasets"): {"name": "new", "data_path": "somewhere"},
    ("PATCH", "datasets/1"): {"updated_at": "2026-01-01T00:00:00Z"},
}


@pytest.mark.parametrize(("verb", "path"), BODIES)
async def test_a_body_that_is_no_json_or_not_of_its_shape_is_refused_by_field(filled, fetch, verb, path):
    sound = BODIES[verb, path]
    malformed = [
        "",
        "{",
        "nonsense",
        '{"name": "a"',
        "\ufeff{}",
        b"\xff\xfe",
        b'{"name": "\xff"}',
        '{"a": NaN',
        "[" * 5000,
    ]
    not_objects = ["[]", "null", "7", '"name"']
    for body in [*malformed, *not_objects]:
        answer = await fetch(path, verb, body)
        assert answer.code in (400, 422), body
        assert json.loads(answer.body)["message"]
    for wrong in ({"colour": 1}, {"Name": "x"}, {"": 1}):
        answer = await fetch(path, verb, {**sound, **wrong})
        assert (answer.code, json.loads(answer.body)["field"]) == (422, next(iter(wrong)) or None)


TEXTS = {
    "name": [*BODIES][:4] + [*BODIES][5:],
    "description": [("POST", "workflows"), ("PATCH", "models/1"), ("PATCH", "datasets/1"), ("PATCH", "training/job_0001")],
    "dataset": [("POST", "training/start")],
    "data_path": [("POST", "datasets")],
    "updated_at": [("PATCH", "models/1"), ("PATCH", "datasets/1")],
}  # fmt: skip


@pytest.mark.parametrize("field", TEXTS)
async def test_a_text_field_takes_no_other_type_and_nothing_too_long_and_no_half_character(filled, fetch, field):
    wrong = [7, 1.5, True, [], ["x"], {}, "x" * 100_000, "half \ud800"]
    for (verb, path), value in itertools.product(TEXTS[field], wrong):
        answer = await fetch(path, verb, {**BODIES[verb, path], field: value})
        assert (answer.code, json.loads(answer.body)["code"]) in ((422, "invalid"), (400, "bad-request")), (path, value)


@pytest.mark.parametrize(
    ("name", "said"),
    [("x" * 300, "give at most 200 characters; it has 300"), ("", "at least 1 character."), ("  ", "more than blanks")],
)
async def test_a_name_that_is_refused_is_refused_in_words(filled, fetch, name, said):
    for verb, path in TEXTS["name"]:
        answer = await fetch(path, verb, {**BODIES[verb, path], "name": name})
        assert (answer.code, json.loads(answer.body)["field"]) == (422, "name")
        assert said in json.loads(answer.body)["message"]


NUMBERS = {
    "priority": [("POST", "training/start"), ("PATCH", "training/job_0001")],
    "version": [("PUT", "workflows/1")],
    "lr": [("PATCH", "training/job_0001")],
    "epochs": [("PATCH", "training/job_0001")],
    "patience": [("PATCH", "training/job_0001")],
}


@pytest.mark.parametrize("field", NUMBERS)
async def test_a_number_field_takes_no_text_and_no_number_out_of_range(filled, fetch, field):
    wrong = ["7", True, [], {}, -(2**31), 2**63, 2**70, 1e308]
    for (verb, path), value in itertools.product(NUMBERS[field], wrong):
        answer = await fetch(path, verb, {**BODIES[verb, path], field: value})
        assert (answer.code, json.loads(answer.body)["field"]) == (422, field), (path, value)


async def test_a_nul_or_half_a_character_anywhere_in_json_is_refused_and_nothing_is_stored(filled, fetch):
    for text in ("a\0b", "half \ud800"):
        for body in (
            {"name": text},
            {"name": "new", "description": text},
            {"name": "new", "nodes": [{"id": {"deep": [text]}}]},
            {"name": "new", "edges": [{text: 1}]},
        ):
            assert (await fetch("workflows", "POST", body)).code in (400, 422)
        assert (await fetch("training/job_0001", "PATCH", {"name": text, "seen": {"name": "kept"}})).code in (400, 422)
        changes = {"updated_at": filled.models.get(1).updated_at.isoformat()}
        assert (await fetch("models/1", "PATCH", {**changes, "tags": [text]})).code in (400, 422)
        assert (await fetch("training/start", "POST", {"dataset": text})).code in (400, 404, 422)
        assert (await fetch("training/start", "POST", {"dataset": "kept", "config": {"name": text}})).code in (400, 422)


async def test_of_a_change_of_a_job_that_is_refused_nothing_is_done(filled, fetch):
    filled_job = "training/job_0001"
    seen = {"seen": {"name": filled.jobs.get("job_0001").name, "description": ""}}
    for body in (
        {"priority": 3, "name": "a\0b"},
        {"priority": 3, "lr": 0.1},
        {"name": "new", "epochs": 7},  # it does not run
        {"description": "new", "priority": 3},  # it does not wait in a queue
    ):
        assert (await fetch(filled_job, "PATCH", {**seen, **body})).code in (409, 422)


UNKNOWN = [
    *[("GET", f"training/status/{job}") for job in ("job_0999", "job_999999999999999999")],
    *[("POST", f"training/{command}/job_0999") for command in ("pause", "resume", "stop", "checkpoint")],
    *[("GET", f"training/job_0999/{what}") for what in ("metrics?name=m", "checkpoints", "events")],
    ("DELETE", "training/job_0999"),
    *[("GET", f"{kind}/{id}") for kind in ("models", "datasets", "workflows") for id in (0, 999, 10**18 - 1)],
    *[("DELETE", f"{kind}/999") for kind in ("models", "datasets", "workflows")],
    *[("GET", f"models/999/{what}") for what in ("download", "versions")],
    ("PUT", "models/999/aliases/production"),
    ("DELETE", "models/999/aliases/production"),
    ("DELETE", "models/1/aliases/production"),
    ("POST", "datasets/999/analyze"),
    ("GET", "workflows/999/versions"),
    ("POST", "workflows/999/versions/1/restore"),
    ("POST", "workflows/1/versions/999/restore"),
]


async def test_what_is_not_there_is_404_and_the_message_names_it(filled, fetch):
    for verb, path in UNKNOWN:
        answer = await fetch(path, verb)
        told = json.loads(answer.body)
        assert (answer.code, told["code"]) == (404, "not-found"), path
        assert "There is no" in told["message"]


ODD_PATHS = ["models/x", "models/-1", "models/1.0", "models/1%00", "training/status/1", "training/status/job_1"]
ODD_PATHS += [
    "models/9999999999999999999999",
    "workflows/1/versions/-1/restore",
    "nothing",
    "training/fly/job_0001",
    "",
]


async def test_an_id_that_cannot_be_one_is_no_route(filled, fetch):
    for path in ODD_PATHS:
        answer = await fetch(path)
        assert (answer.code, json.loads(answer.body)["code"]) == (404, "not-found"), path


LISTS = ["training/list", "models", "models/search", "datasets", "datasets/search", "workflows", "system/audit"]


@pytest.mark.parametrize("path", LISTS)
async def test_a_page_that_cannot_be_is_refused_by_its_argument(filled, fetch, path):
    wrong = {
        "limit": ["-1", "0", "501", "x", "1.5", "1e3", "9" * 30, "٣٣"],
        "cursor": ["x", "-1", "9" * 30, "../..", "W10=", "\0", "1 OR 1=1"],
        "colour": ["1"],
    }
    for argument, values in wrong.items():
        for value in values:
            answer = await fetch(path, params={argument: value})
            told = json.loads(answer.body)
            assert (answer.code, told["code"]) == (400, "bad-request"), (argument, value)
            assert argument in told["message"]
    assert (await fetch(path + "?limit=%ff")).code == 400
    # what a form leaves empty is not given
    assert (await fetch(path, params={"limit": "", "cursor": ""})).code == 200


CLIMBS = ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd"]
CLIMBS += ["..", "%2e%2e", "..%5c..%5cx", "....//x", "%252e%252e%252f", "/etc/passwd", "%2fetc%2fpasswd", "1/../../x"]


async def test_no_path_parameter_climbs_out_of_its_place(filled, fetch, medfusion_home):
    parameters = ["models/{}", "models/{}/download", "datasets/{}", "workflows/{}", "training/status/{}", "training/{}"]
    parameters += [
        "training/{}/metrics?name=m",
        "training/{}/checkpoints",
        "models/{}/versions",
        "workflows/{}/versions",
    ]
    before = sorted(str(path) for path in Path(home()).rglob("*"))
    for parameter, climb in itertools.product(parameters, CLIMBS):
        for verb in ("GET", "DELETE"):
            answer = await fetch(parameter.format(climb), verb)
            assert answer.code in (400, 404, 405), (verb, parameter, climb)
            assert b"root:" not in answer.body
    assert sorted(str(path) for path in Path(home()).rglob("*")) == before


async def test_an_alias_is_a_name_and_never_a_path(store, fetch):
    made = store.models.register("kept", **MODEL)
    for climb in ("..%2f..%2fx", "%2e%2e", "%2fetc%2fpasswd"):
        answer = await fetch(f"models/{made.id}/aliases/{climb}", "PUT")
        assert answer.code in (200, 404)
        if answer.code == 200:
            (alias,) = json.loads(answer.body)["aliases"]
            assert (await fetch(f"models/{made.id}/aliases/{climb}", "DELETE")).code == 200
            assert alias in ("../../x", "..", "/etc/passwd")
    for unkept in ("%00", "a%ed%a0%80", "%ff", "x" * 101, "7", "v7"):
        assert (await fetch(f"models/{made.id}/aliases/{unkept}", "PUT")).code == 400
    assert not [path for path in Path(home()).rglob("*") if not path.name.startswith("medfusion.db")]


HTML = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&amp;"
WORDS = ["👩🏽‍⚕️🩻", "عمر ولד", "患者 七", "Ünïcödé é", "\u202eright to left", "a\tb\nc", HTML]


@pytest.mark.parametrize("text", WORDS, ids=range(len(WORDS)))
async def test_words_of_every_alphabet_and_html_come_back_as_data(store, fetch, text):
    job = store.jobs.create(text, **JOB, description=text)
    model = store.models.register(text, **MODEL, description=text, tags=[text])
    dataset = store.datasets.save(text, **DATASET, description=text, tags=[text])
    body = {"name": text, "description": text, "nodes": [{text: text}], "edges": [{"a": [text]}]}
    workflow = json.loads((await fetch("workflows", "POST", body)).body)
    assert {key: workflow[key] for key in body} == body
    for path, fields in {
        f"training/status/{job.job_id}": ["name", "description"],
        f"models/{model.id}": ["name", "description", "tags"],
        f"datasets/{dataset.id}": ["name", "description", "tags"],
        f"workflows/{workflow['id']}": ["name", "description"],
    }.items():
        answer = await fetch(path)
        told = json.loads(answer.body)
        assert all(told[field] == ([text] if field == "tags" else text) for field in fields)
        _is_data(answer)
    for path in ("training/list", "models", "datasets", "workflows"):
        answer = await fetch(path, params={"search": text})
        assert [one["name"] for one in json.loads(answer.body)["items"]] == [text]
        _is_data(answer)
    changed = await fetch(f"training/{job.job_id}", "PATCH", {"name": f"{text}2", "seen": {"name": text}})
    assert json.loads(changed.body)["name"] == f"{text}2"


async def test_html_in_a_request_comes_back_in_a_refusal_as_data_too(filled, fetch):
    for answer in (
        await fetch("models/" + "%3Cscript%3Ealert(1)%3C%2Fscript%3E"),
        await fetch("models", params={"cursor": HTML}),
        await fetch("models", params={HTML: "1"}),
        await fetch("workflows", "POST", {"name": 7, HTML: 1}),
        await fetch("training/start", "POST", {"dataset": HTML}),
    ):
        assert answer.code in (400, 404, 422)
        _is_data(answer)


def _is_data(answer):
    # with these a browser shows it as text, and runs nothing of it
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


async def test_a_verb_that_a_path_does_not_have_is_405_and_says_which_it_has(filled, fetch):
    answer = await fetch("models/1", "POST")
    assert (answer.code, json.loads(answer.body)["code"]) == (405, "no-such-method")
    assert answer.headers["Allow"] == "GET, DELETE, PATCH"


@pytest.mark.parametrize("either_database", ["sqlite"], indirect=True)
def test_fifty_megabytes_are_refused_without_being_held_and_the_server_lives_on(either_database, tmp_path):
    server = JupyterServer(tmp_path / "jupyter")
    try:
        server.ask("GET", "medfusion/api/workflows")
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        most = 0

        def parts(length):
            nonlocal most
            yield b'{"name": "a", "description": "'
            for _ in range(length // 100_000):
                yield b"x" * 100_000
                most = max(most, process.memory_info().rss - before)
            yield b'"}'

        import http.client

        for declared in (True, False):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            headers = {"Authorization": f"token {TOKEN}"} | ({"Content-Length": "50000032"} if declared else {})
            body = parts(50_000_000)
            connection.request(
                "POST", "/medfusion/api/workflows", body=body, headers=headers, encode_chunked=not declared
            )
            answer = connection.getresponse()
            told = json.loads(answer.read())
            assert (answer.status, told["code"]) == (413, "too-large")
            assert "10,000,000 is the most" in told["message"]
            connection.close()
        assert most < 35_000_000
        assert server.ask("GET", "medfusion/api/workflows")["items"] == []
        assert server.process.poll() is None
    finally:
        server.close()
