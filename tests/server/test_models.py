"""Models over REST: files in and out, versions, aliases. Of an archive nothing is believed before it is looked at."""

import asyncio
import io
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save

from medfusion_jupyter.store import home

WEIGHTS = {"encoder.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "head.bias": np.zeros(2, np.float32)}
CARD = {
    "architecture": {"image_encoder": "light_cnn", "table_encoder": "mlp", "num_classes": 2, "channels": 1, "image_size": 16},
    "input": {"columns": ["age"]},
    "metrics": {"val/auroc": 0.9, "val/accuracy": 0.8, "val/loss": 0.3},
    "epoch": 7,
}  # fmt: skip


def archive(members=None, compression=zipfile.ZIP_STORED, **changes):
    """A zip of a sound model; `members` replaces its files, None leaves one out."""
    files = {"model.safetensors": save(WEIGHTS), "model.json": json.dumps({**CARD, **changes}).encode()}
    files |= members or {}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as opened:
        for name, content in files.items():
            if content is not None:
                opened.writestr(name, content)
    return out.getvalue()


@pytest.fixture
def upload(fetch):
    async def send(body, **params):
        return await fetch("models", "POST", body, {"name": "icu", **params})

    return send


def files_under(folder):
    return sorted(str(path.relative_to(home())) for path in (home() / folder).rglob("*") if path.is_file())


async def test_a_model_that_was_uploaded_comes_back_bit_by_bit_and_says_what_it_is(store, upload, fetch):
    answer = await upload(archive(), description="from afar 🩻")
    assert answer.code == 201
    model = json.loads(answer.body)
    assert (model["name"], model["version"], model["description"]) == ("icu", 1, "from afar 🩻")
    assert (model["backbone"], model["num_classes"], model["input_shape"]) == ("light_cnn", 2, [1, 16, 16])
    assert (model["accuracy"], model["loss"], model["trained_epochs"]) == (0.8, 0.3, 7)
    assert model["created_by"]
    back = await fetch(f"models/{model['id']}/download")
    assert back.headers["Content-Type"] == "application/zip"
    assert 'filename="icu v1.zip"' in back.headers["Content-Disposition"]
    assert int(back.headers["Content-Length"]) == len(back.body)
    with zipfile.ZipFile(io.BytesIO(back.body)) as opened:
        assert opened.testzip() is None
        assert opened.read("model.safetensors") == save(WEIGHTS)
        assert json.loads(opened.read("model.json")) == CARD
    again = json.loads((await upload(back.body, parent_id=str(model["id"]))).body)
    assert (again["version"], again["parent_id"]) == (2, model["id"])
    assert again["model_path"] != model["model_path"]
    assert files_under("uploads") == []
    assert [event.kind for event in store.events.list()] == ["registered", "registered"]


async def test_the_name_of_a_download_is_safe_in_its_header(store, upload, fetch):
    name = 'a"; filename="x.exe\r\nX: 1/../🩻'
    model = json.loads((await upload(archive(), name=name)).body)
    answer = await fetch(f"models/{model['id']}/download")
    assert answer.code == 200
    assert "X" not in answer.headers
    disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith('attachment; filename="a__ filename__x.exe__X_ 1_..__ v1.zip"; filename*=UTF-8')
    assert "🩻".encode().hex().upper() in disposition.replace("%", "")


class Evil:
    def __reduce__(self):
        return (open, (str(home() / "executed"), "w"))


def long_header():
    return struct.pack("<Q", 2**60) + b"{}"


REFUSED = {
    "no zip": b"not a zip at all",
    "empty": b"",
    "cut short": archive()[:200],
    "end of a zip alone": archive()[-30:],
    "no weights": archive({"model.safetensors": None}),
    "no card": archive({"model.json": None}),
    "more than that": archive({"setup.py": b"import os"}),
    "climbs up": archive({"model.json": None, "../model.json": json.dumps(CARD).encode()}),
    "climbs up beside": archive({"../../../escaped": b"x"}),
    "absolute": archive({"/tmp/medfusion-escaped": b"x"}),
    "pickle as weights": archive({"model.safetensors": pickle.dumps(Evil())}),
    "pickle beside": archive({"model.pkl": pickle.dumps(Evil())}),
    "torch file": archive({"model.safetensors": archive({"data.pkl": pickle.dumps(Evil())})}),
    "no tensor": archive({"model.safetensors": save({})}),
    "cut weights": archive({"model.safetensors": save(WEIGHTS)[:-8]}),
    "header without end": archive({"model.safetensors": long_header()}),
    "zip bomb": archive({"model.safetensors": save({"w": np.zeros(12_000_000, np.float32)})}, zipfile.ZIP_DEFLATED),
    "card of 11 MB": archive({"model.json": b'{"a": "' + b"x" * 11_000_000 + b'"}'}),
    "card is no json": archive({"model.json": b"{"}),
    "card is no utf-8": archive({"model.json": b"\xff\xfe"}),
    "card is nested": archive({"model.json": b"[" * 100_000}),
    "card is a list": archive({"model.json": b"[]"}),
    "metrics are text": archive(metrics={"val/auroc": "high"}),
    "classes are text": archive(architecture={**CARD["architecture"], "num_classes": "two"}),
    "classes are negative": archive(architecture={**CARD["architecture"], "num_classes": -1}),
    "backbone is a list": archive(architecture={**CARD["architecture"], "image_encoder": ["x"]}),
    "epoch is huge": archive(epoch=2**70),
    "nul in a metric": archive(metrics={"a\0b": 1.0}),
}


@pytest.mark.parametrize("either_database", ["sqlite"], indirect=True)
async def test_an_archive_that_is_not_one_of_a_model_is_refused_and_leaves_nothing(store, upload, tmp_path):
    for what, body in REFUSED.items():
        answer = await upload(body)
        assert answer.code in (400, 422), what
        assert json.loads(answer.body)["message"]
        assert files_under("models") == files_under("uploads") == [], what
    assert store.models.list().items == []
    assert store.events.list() == []
    assert not (home() / "executed").exists()
    assert not list(tmp_path.rglob("escaped"))


async def test_two_members_of_one_name_are_refused(store, upload):
    out = io.BytesIO(archive())
    with zipfile.ZipFile(out, "a") as opened, pytest.warns(UserWarning, match="Duplicate"):
        opened.writestr("model.json", b"{}")
    answer = await upload(out.getvalue())
    assert answer.code == 422
    assert files_under("models") == []


async def test_what_an_upload_is_to_be_called_is_checked_and_nothing_is_left_of_a_refused_one(store, upload):
    for params in (
        {"name": ""},
        {"name": "x" * 10_000},
        {"name": "a\0b"},
        {"description": "x" * 10_001},
        {"parent_id": "0"},
        {"parent_id": "7"},
        {"parent_id": "9" * 30},
        {"colour": "red"},
    ):
        answer = await upload(archive(), **params)
        assert answer.code in (400, 404), params
    for name in ("../../escaped", "/etc/passwd", "..", "a\\b"):
        model = json.loads((await upload(archive(), name=name)).body)
        assert model["name"] == name
        assert model["model_path"].startswith(str(home() / "models" / "uploaded"))
    assert len(files_under("models")) == 8
    assert files_under("uploads") == []
    assert not list(home().parent.rglob("escaped*"))


class TestUploadsThatAreTooLarge:
    @pytest.fixture
    def jp_server_config(self, jp_server_config):
        jp_server_config["MedFusionApp"]["max_upload_bytes"] = 5_000
        return jp_server_config

    async def test_are_refused_with_their_size_and_leave_nothing(self, store, upload):
        assert (await upload(archive())).code == 201
        large = archive({"model.safetensors": save({"w": np.random.default_rng(0).random(10_000)})})
        answer = await upload(large)
        told = json.loads(answer.body)
        assert (answer.code, told["code"]) == (413, "too-large")
        assert f"{len(large):,} bytes; 5,000 is the most" in told["message"]
        assert len(store.models.list().items) == 1
        assert files_under("uploads") == []


async def test_an_upload_that_its_client_breaks_off_leaves_nothing(
    store, jp_serverapp, http_server, jp_http_port, jp_base_url
):
    token, body = jp_serverapp.identity_provider.token, archive()
    _, writer = await asyncio.open_connection("127.0.0.1", jp_http_port)
    writer.write(
        f"POST {jp_base_url}medfusion/api/models?name=icu HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: token {token}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body[:300]
    )
    await writer.drain()
    await _until(lambda: files_under("uploads"))
    writer.close()
    await _until(lambda: not files_under("uploads"))
    assert store.models.list().items == []


async def _until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_versions_and_aliases_follow_the_name(store, upload, ask, refused):
    first, second = [json.loads((await upload(archive())).body)["id"] for _ in range(2)]
    assert [one["version"] for one in (await ask("models", str(first), "versions"))["items"]] == [2, 1]
    await ask("models", str(first), "aliases", "production", method="PUT")
    moved = await ask("models", str(second), "aliases", "production", method="PUT")
    assert moved["aliases"] == ["production"]
    assert (await ask("models", str(first)))["aliases"] == []
    code, told = await refused("models", str(second), method="DELETE")
    assert (code, "alias production depends on it" in told["message"]) == (409, True)
    await ask("models", str(second), "aliases", "production", method="DELETE")
    await ask("models", str(second), method="DELETE")
    assert [one["version"] for one in (await ask("models", str(first), "versions"))["items"]] == [1]


async def test_a_deleted_model_takes_its_files_along_or_neither_goes(store, upload, ask, fetch, monkeypatch):
    model = json.loads((await upload(archive())).body)
    child = json.loads((await upload(archive(), name="child", parent_id=str(model["id"]))).body)
    before = files_under("models")
    answer = await fetch(f"models/{model['id']}", "DELETE")
    assert (answer.code, "model child v1 depends on it" in json.loads(answer.body)["message"]) == (409, True)
    assert files_under("models") == before
    await ask("models", str(child["id"]), method="DELETE")
    # the database fails when the files are aside already
    from sqlalchemy import event
    from sqlalchemy.exc import OperationalError

    def fail(*_):
        raise OperationalError("DELETE", {}, Exception("disk I/O error"))

    event.listen(store.engine, "commit", fail)
    assert (await fetch(f"models/{model['id']}", "DELETE")).code == 503
    event.remove(store.engine, "commit", fail)
    assert len(files_under("models")) == 2
    assert (await ask("models", str(model["id"])))["name"] == "icu"
    assert (await fetch(f"models/{model['id']}/download")).code == 200
    await ask("models", str(model["id"]), method="DELETE")
    assert files_under("models") == files_under("trash") == []
    assert (await fetch(f"models/{model['id']}")).code == 404


async def test_a_download_whose_files_are_gone_or_lie_elsewhere_says_so(store, upload, fetch, tmp_path):
    model = json.loads((await upload(archive())).body)
    for file in (home() / "models").rglob("model.json"):
        file.unlink()
    answer = await fetch(f"models/{model['id']}/download")
    assert answer.code == 503
    assert "cannot be read" in json.loads(answer.body)["message"]
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "model.safetensors").write_text("secret")
    (tmp_path / "secret" / "model.json").write_text("secret")
    link = home() / "models" / "link"
    link.symlink_to(tmp_path / "secret")
    what = {"file_size": 1, "format": "f", "backbone": "b", "num_classes": 2, "input_shape": [], "metrics": {}}
    for path in (tmp_path / "secret", link, home() / "models" / ".." / ".." / "secret"):
        elsewhere = store.models.register("elsewhere", path=str(path), **what)
        answer = await fetch(f"models/{elsewhere.id}/download")
        assert (answer.code, json.loads(answer.body)["code"]) == (409, "not-now")
        answer = await fetch(f"models/{elsewhere.id}", "DELETE")
        assert answer.code == 409
        assert "nothing outside MEDFUSION_HOME is deleted" in json.loads(answer.body)["message"]
    assert files_under("uploads") == []
    assert len(list((tmp_path / "secret").iterdir())) == 2


async def test_a_changed_model_keeps_the_rest_and_statistics_count_what_there_is(store, upload, ask):
    model = json.loads((await upload(archive(), description="old")).body)
    seen = {"updated_at": model["updated_at"]}
    changed = await ask("models", str(model["id"]), method="PATCH", body={**seen, "tags": ["a", "b", "a"]})
    assert (changed["tags"], changed["description"]) == (["a", "b"], "old")
    await upload(archive())
    assert await ask("models", "statistics") == {
        "total": 2,
        "names": 1,
        "total_size": 2 * model["file_size"],
        "by_backbone": {"light_cnn": 2},
        "by_format": {"safetensors": 2},
    }
