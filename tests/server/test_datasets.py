"""Datasets over REST: a cohort on the server's disk is stored, analysed, changed, deleted; no link leads to other files."""

import json
import os

import pytest
from rows import JOB

from medfusion_jupyter.store import home
from medfusion_jupyter.store.stored_files import TRASH

ROWS = "patient,image,age,sex,outcome\np1,a.png,60,f,yes\np2,b.png,70,m,no\np2,c.png,,f,no\np3,,50,m,yes\n"
ROLES = {"target": "outcome", "patient": "patient", "image": "image", "numeric": ["age"], "image_root": None}


def write_cohort(folder, rows=ROWS, **roles):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.csv").write_text(rows)
    (folder / "cohort.json").write_text(json.dumps({"roles": {**ROLES, **roles}}))
    return folder


@pytest.fixture
def root(store, jp_root_dir):
    """The server's root folder, with a cohort in `cohort`."""
    write_cohort(jp_root_dir / "cohort")
    return jp_root_dir


@pytest.fixture
def made(root, ask):
    async def make(**settings):
        return await ask("datasets", method="POST", body={"name": "cxr", "data_path": "cohort", **settings})

    return make


async def test_a_cohort_is_stored_by_its_path_with_what_its_table_holds(root, made, fetch):
    answer = await fetch(
        "datasets", "POST", {"name": "cxr 🩻", "data_path": "cohort", "tags": ["a"], "description": "<b>"}
    )
    assert answer.code == 201
    dataset = json.loads(answer.body)
    assert (dataset["name"], dataset["tags"], dataset["description"]) == ("cxr 🩻", ["a"], "<b>")
    assert dataset["data_path"] == str((root / "cohort").resolve())
    assert (dataset["num_samples"], dataset["num_patients"], dataset["num_classes"]) == (4, 3, 2)
    assert dataset["class_distribution"] == {"no": 2, "yes": 2}
    assert dataset["fingerprint"]
    # a path as Jupyter's file browser gives it, or absolute
    again = await made(name="absolute", data_path=str(root / "cohort"))
    assert again["fingerprint"] == dataset["fingerprint"]


async def test_a_name_that_is_taken_is_refused_and_the_dataset_stays_as_it_was(root, made, refused, ask):
    first = await made()
    write_cohort(root / "other", ROWS.replace("60", "61"))
    code, told = await refused("datasets", method="POST", body={"name": "cxr", "data_path": "other"})
    assert (code, "named 'cxr' already" in told["message"]) == (409, True)
    assert await ask("datasets", str(first["id"])) == first


async def test_no_path_leads_out_of_the_folders_that_the_server_may_read(root, refused, store, tmp_path):
    outside = write_cohort(tmp_path / "outside")
    (root / "link").symlink_to(outside)
    (root / "loop").symlink_to(root / "loop")
    half = write_cohort(root / "half")
    (half / "table.csv").unlink()
    (half / "table.csv").symlink_to(outside / "table.csv")
    climbs = [str(outside), "../outside", "cohort/../../outside", "../" * 30 + "etc", "/etc", "/", "..", "link", "half"]
    climbs += [
        "loop",
        "~/x",
        "~root",
        "cohort\0",
        "x" * 4000,
        "%2e%2e%2foutside",
        "link/../link",
        "/proc/self/cwd",
        "//etc",
    ]
    for path in climbs:
        code, told = await refused("datasets", method="POST", body={"name": "new", "data_path": path})
        assert code in (400, 422), path
        if path not in (
            "~/x",
            "~root",
            "x" * 4000,
            "%2e%2e%2foutside",
        ):  # names of folders in the root that are not there
            assert (code, told["field"]) == (422, "data_path"), path
    assert store.datasets.list().items == []


class TestWithARootOfItsOwn:
    @pytest.fixture
    def jp_server_config(self, jp_server_config, tmp_path):
        jp_server_config["MedFusionApp"]["data_roots"] = [str(tmp_path / "shared")]
        return jp_server_config

    async def test_a_folder_of_the_configuration_may_be_read(self, root, made, refused, tmp_path):
        shared = write_cohort(tmp_path / "shared" / "cohort")
        assert (await made(data_path=str(shared)))["data_path"] == str(shared.resolve())
        beside = write_cohort(tmp_path / "shared2")
        body = {"name": "b", "data_path": str(beside)}
        assert (await refused("datasets", method="POST", body=body))[0] == 422


BROKEN = {
    "no such folder": lambda folder: None,
    "no table": lambda folder: (write_cohort(folder) / "table.csv").unlink(),
    "empty table": lambda folder: write_cohort(folder, ""),
    "header alone": lambda folder: write_cohort(folder, "outcome\n"),
    "no such target": lambda folder: write_cohort(folder, target="death"),
    "target missing in a row": lambda folder: write_cohort(folder, ROWS + "p4,,1,f,\n"),
    "target is a list": lambda folder: write_cohort(folder, target=["outcome"]),
    "patient is a list": lambda folder: write_cohort(folder, patient=["patient"]),
    "numeric is a number": lambda folder: write_cohort(folder, numeric=7),
    "numeric holds lists": lambda folder: write_cohort(folder, numeric=[["age"]]),
    "nul in a class": lambda folder: write_cohort(folder, ROWS.replace("yes", "y\0s")),
    "table is no utf-8": lambda folder: (write_cohort(folder) / "table.csv").write_bytes(b"outcome\n\xff\xfe\n"),
    "cell of 1 MB": lambda folder: write_cohort(folder, f'outcome\n"{"x" * 1_000_000}"\n'),
    "table is a folder": lambda folder: [(write_cohort(folder) / "table.csv").unlink(), (folder / "table.csv").mkdir()],
    "table is a pipe": lambda folder: [(write_cohort(folder) / "table.csv").unlink(), os.mkfifo(folder / "table.csv")],
    "card is a list": lambda folder: (write_cohort(folder) / "cohort.json").write_text("[]"),
    "card is no json": lambda folder: (write_cohort(folder) / "cohort.json").write_text("{"),
    "card is nested": lambda folder: (write_cohort(folder) / "cohort.json").write_text("[" * 100_000),
    "roles are text": lambda folder: (write_cohort(folder) / "cohort.json").write_text('{"roles": "outcome"}'),
    "fingerprint is a number": lambda folder: (write_cohort(folder) / "cohort.json").write_text(
        json.dumps({"roles": ROLES, "fingerprint": 7})
    ),
    "fingerprint is long": lambda folder: (write_cohort(folder) / "cohort.json").write_text(
        json.dumps({"roles": ROLES, "fingerprint": "f" * 65})
    ),
}


async def test_a_folder_without_a_sound_cohort_is_refused_in_words_and_nothing_is_stored(root, refused, store):
    for what, break_it in BROKEN.items():
        folder = what.replace(" ", "-")
        break_it(root / folder)
        code, told = await refused("datasets", method="POST", body={"name": "new", "data_path": folder})
        assert (code, folder in told["message"] or "fingerprint" in told["message"] or "NUL" in told["message"]) == (
            400, True
        ), what  # fmt: skip
    assert store.datasets.list().items == store.events.list() == []


async def test_an_analysis_says_what_each_column_holds_and_no_identifier(root, made, ask, store):
    images = root / "images"
    images.mkdir()
    (images / "a.png").touch()
    write_cohort(root / "cohort", image_root=str(images))
    dataset = await made()
    assert dataset["analysis"] is None
    found = (await ask("datasets", str(dataset["id"]), "analyze", method="POST"))["analysis"]
    assert found["rows"] == 4
    columns = {column["name"]: column for column in found["columns"]}
    assert {name: column["role"] for name, column in columns.items()} == {
        "patient": "patient", "image": "image", "age": "numeric", "sex": "categorical", "outcome": "target"
    }  # fmt: skip
    assert columns["age"] == {
        "name": "age", "role": "numeric", "missing": 1, "distinct": 3, "count": 3, "min": 50.0, "max": 70.0,
        "quartiles": [55.0, 60.0, 65.0], "mean": 60.0, "standard_deviation": 10.0,
    }  # fmt: skip
    assert columns["sex"]["values"] == {"f": 2, "m": 2}
    assert found["images"] == {"named": 3, "found": 1, "absent": 2}
    assert not {"p1", "p2", "p3", "a.png"} & set(json.dumps(found).split('"'))
    assert (await ask("datasets", str(dataset["id"])))["analysis"] == found
    assert store.events.list()[-1].kind == "analyzed"


async def test_an_analysis_of_files_that_are_gone_or_lead_elsewhere_is_refused(root, made, refused, tmp_path):
    dataset = await made()
    path = ("datasets", str(dataset["id"]), "analyze")
    table = root / "cohort" / "table.csv"
    table.rename(tmp_path / "table.csv")
    code, told = await refused(*path, method="POST")
    assert (code, "cannot be read" in told["message"]) == (400, True)
    table.symlink_to(tmp_path / "table.csv")
    assert (await refused(*path, method="POST"))[0] == 422


async def test_changes_keep_the_rest_and_are_found_by_word_tag_person_and_contents(root, made, ask, refused):
    first = await made(description="Hannover Ärzte")
    write_cohort(root / "other", ROWS.replace("60", "61"))
    second = await made(name="other", data_path="other", tags=["Kinder"])
    seen = {"updated_at": first["updated_at"]}
    changed = await ask("datasets", str(first["id"]), method="PATCH", body={**seen, "name": "renamed", "tags": ["Alt"]})
    assert (changed["name"], changed["tags"], changed["description"]) == ("renamed", ["Alt"], "Hannover Ärzte")
    seen = {"updated_at": changed["updated_at"]}
    code, _ = await refused("datasets", str(first["id"]), method="PATCH", body={**seen, "name": "other"})
    assert code == 409
    searches = {
        "search": {"RENAM": [first], "ÄRZTE": [first], "xx": []},
        "tag": {"kinder": [second], "kind": []},
        "created_by": {first["created_by"]: [second, first], "nobody": []},
        "fingerprint": {second["fingerprint"]: [second]},
    }
    for argument, cases in searches.items():
        for value, expected in cases.items():
            for path in (("datasets",), ("datasets", "search")):
                page = await ask(*path, **{argument: value})
                assert [one["id"] for one in page["items"]] == [one["id"] for one in expected], (argument, value)
    assert await ask("datasets", "statistics") == {"total": 2, "contents": 2, "samples": 8, "by_classes": {"2": 2}}


async def test_a_dataset_that_something_stands_on_says_what_and_stays(root, made, ask, refused, store):
    dataset = await made()
    contents = {"dataset_fingerprint": dataset["fingerprint"]}
    job = store.jobs.create("job", **JOB, **contents)
    what = {
        "path": str(home() / "models" / "m"),
        "file_size": 1,
        "format": "f",
        "backbone": "b",
        "num_classes": 2,
        "input_shape": [],
    }
    model = store.models.register("icu", **what, metrics={}, **contents)
    path = ("datasets", str(dataset["id"]))
    code, told = await refused(*path, method="DELETE")
    assert code == 409
    assert "job job_0001, model icu v1 depend on it" in told["message"]
    store.models.delete(model.id)
    assert "job job_0001 depend" in (await refused(*path, method="DELETE"))[1]["message"]
    store.jobs.request(job.job_id, "stop")
    store.jobs.delete(job.job_id)
    assert await ask(*path, method="DELETE") is None
    assert (await refused(*path))[0] == 404
    assert (root / "cohort" / "table.csv").exists()  # a folder that is the user's own stays


async def test_a_copy_that_the_store_keeps_goes_with_its_last_dataset(root, ask, store):
    kept = write_cohort(home() / "datasets" / "abc")
    first, second = [
        (await ask("datasets", method="POST", body={"name": name, "data_path": str(kept)}))["id"] for name in "ab"
    ]
    await ask("datasets", str(first), method="DELETE")
    assert kept.exists()
    await ask("datasets", str(second), method="DELETE")
    assert not kept.exists()
    assert not list((home() / TRASH).iterdir())
