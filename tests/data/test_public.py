"""Public cohorts arrive whole, go on where they stopped, and say their licence. The server is the test's own."""

import hashlib
import io
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import medfusion as mf
from medfusion_jupyter.data import CohortError
from medfusion_jupyter.data.public import catalogue
from medfusion_jupyter.data.public import hannover as hannover_module
from medfusion_jupyter.data.public.download import download


class Files(BaseHTTPRequestHandler):
    """Serves `server.files`; breaks off after `server.break_after` bytes once; knows ranges."""

    def do_GET(self):
        content = self.server.files.get(self.path.partition("?")[0])
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked.group(1)) if asked and self.server.ranges else 0
        self.server.asked.append((self.path, start))
        if content is None:
            self.send_error(404)
        elif start >= len(content) and start:
            self.send_error(416)
        else:
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = len(content)
            if self.server.break_after is not None:
                end, self.server.break_after = start + self.server.break_after, None
            self.wfile.write(content[start:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        server.files, server.asked, server.break_after, server.ranges = {}, [], None, True
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


CONTENT = np.random.default_rng(0).bytes(300_000)
CHECKSUM = f"md5:{hashlib.md5(CONTENT).hexdigest()}"


def test_a_file_arrives_whole_and_once(server, tmp_path):
    server.files["/a.bin"] = CONTENT
    for _ in range(2):
        download(f"{server.url}/a.bin", tmp_path / "in" / "a.bin", checksum=CHECKSUM)
    assert (tmp_path / "in" / "a.bin").read_bytes() == CONTENT
    assert len(server.asked) == 1
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["a.bin"]


@pytest.mark.parametrize("ranges", [True, False])
def test_what_was_broken_off_goes_on(server, tmp_path, ranges):
    server.files["/a.bin"], server.break_after, server.ranges = CONTENT, 200_000, ranges
    with pytest.raises(CohortError, match="Ask again to go on where it stopped"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", checksum=CHECKSUM)
    assert not (tmp_path / "a.bin").exists()
    kept = (tmp_path / "a.bin.part").stat().st_size
    assert 0 < kept <= 200_000
    download(f"{server.url}/a.bin", tmp_path / "a.bin", checksum=CHECKSUM)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked[-1][1] == (kept if ranges else 0)


def test_a_part_that_is_already_whole_is_taken(server, tmp_path):
    server.files["/a.bin"] = CONTENT
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    download(f"{server.url}/a.bin", tmp_path / "a.bin", checksum=CHECKSUM)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_something_else_is_thrown_away_and_comes_anew(server, tmp_path):
    server.files["/a.bin"] = b"an error page"
    with pytest.raises(CohortError, match="not what its authors published"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", checksum=CHECKSUM)
    assert list(tmp_path.glob("a.bin*")) == []
    # a part of another version is no better, and does not stay in the way
    server.files["/a.bin"] = CONTENT
    (tmp_path / "a.bin.part").write_bytes(b"other")
    with pytest.raises(CohortError, match="thrown away"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", checksum=CHECKSUM)
    download(f"{server.url}/a.bin", tmp_path / "a.bin", checksum=CHECKSUM)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_offline_and_refused_are_told_apart(server, tmp_path):
    with pytest.raises(CohortError, match="was refused by its server: 404"):
        download(f"{server.url}/none.bin", tmp_path / "a.bin", checksum=CHECKSUM)
    with pytest.raises(CohortError, match=r"cannot be reached; is there a connection .* put it at .*a\.bin"):
        download("http://127.0.0.1:9/a.bin", tmp_path / "a.bin", checksum=CHECKSUM)


def test_the_catalogue_has_every_set_of_medmnist_with_its_target_size_licence_and_checksum():
    listed = mf.public_cohorts().set_index("name")
    assert listed["licence"].str.startswith("CC BY").all()
    assert listed.loc["dermamnist", "licence"] == "CC BY-NC 4.0"
    of_medmnist = listed.drop("hannover-cxr")
    sides = of_medmnist.groupby(of_medmnist.index.str.partition("_").get_level_values(0)).size()
    assert sides.value_counts().to_dict() == {4: 12, 2: 6}
    assert set(sides[sides == 2].index) == {f"{of}mnist3d" for of in VOLUMES}
    assert listed.loc["chestmnist", ["rows", "images", "task", "target"]].tolist() == [
        *(112_120, "28 × 28, grey", "multilabel", "14 labels"),
    ]
    assert listed.loc["retinamnist_224", ["rows", "images", "task", "target"]].tolist() == [
        *(1600, "224 × 224, colour", "ordinal", "5 grades"),
    ]
    assert listed.loc["organmnist3d_64", ["rows", "images", "task", "target"]].tolist() == [
        *(1742, "64 × 64 × 64, grey", "classification", "11 classes"),
    ]


VOLUMES = ("organ", "nodule", "adrenal", "fracture", "vessel", "synapse")


def test_a_name_that_is_not_there_offers_the_closest():
    with pytest.raises(CohortError, match=r"no public cohort 'pneumonia_mnist'. Did you mean 'pneumoniamnist"):
        mf.public_cohort("pneumonia_mnist")


@pytest.mark.parametrize(
    ("name", "shape", "outputs", "task"),
    [
        ("pneumoniamnist", (28, 28), 2, "classification"),
        ("chestmnist_64", (64, 64), 14, "multilabel"),
        ("retinamnist", (28, 28, 3), 5, "ordinal"),
        ("organmnist3d", (28, 28, 28), 11, "classification"),
    ],
)
def test_a_medmnist_set_arrives_and_trains(server, monkeypatch, capsys, name, shape, outputs, task):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in {"train": 2 * outputs + 8, "val": 2 * outputs, "test": 2 * outputs}.items():
        classes = np.arange(count)[:, None] % outputs
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
        several = classes == np.arange(outputs)
        arrays[f"{part}_labels"] = (several if task == "multilabel" else classes).astype(np.uint8)
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    server.files[f"/{name}.npz"] = file.getvalue()
    monkeypatch.setattr(catalogue, "ZENODO", server.url)
    # the published checksum is that of the published file
    with pytest.raises(CohortError, match="not what its authors published"):
        mf.public_cohort(name)
    monkeypatch.setattr(
        catalogue,
        "download",
        lambda url, path, *, checksum: download(url, path, checksum=f"md5:{hashlib.md5(file.getvalue()).hexdigest()}"),
    )
    cohort = mf.public_cohort(name)
    assert (cohort.name, cohort.target.task, len(cohort.classes)) == (name, task, outputs)
    assert "licence CC BY 4.0. Cite Yang" in capsys.readouterr().out
    volumes = len(shape) == 3 and shape[2] != 3
    how = {"image_encoder": "light_cnn_3d", "image_size": (16, 16, 16)} if volumes else {"image_encoder": "light_cnn"}
    split = cohort.split_by("split")
    job = mf.train(split, **{"image_size": 16, **how}, epochs=1, device="cpu").wait()
    assert job.status == "completed", job.record.error
    assert len(job.model.predict(split.test)) == 2 * outputs


@pytest.fixture
def films(server, monkeypatch):
    """The Hannover repository in small: 6 films of 3 patients."""
    table = pd.DataFrame(
        {
            "patient_id": ["a", "a", "b", "b", "c", "c"],
            "image_id": [f"00{k}" for k in range(6)],
            "sex": ["m", "m", "f", "f", "m", "m"],
            "icu_admission_offset": [0, 1, None, None, None, None],
            "crp_val": [1.0, 2, 3, 4, 5, 6],
        }
    )
    content = table.to_csv(index=False).encode()
    server.files["/data.csv"] = content
    for k in range(6):
        film = io.BytesIO()
        Image.fromarray(np.full((8, 8), 30 * k, np.uint8)).save(film, "PNG")
        server.files[f"/png/00{k}.png"] = film.getvalue()
    monkeypatch.setattr(hannover_module, "SOURCE", server.url)
    monkeypatch.setattr(hannover_module, "TABLE", f"sha256:{hashlib.sha256(content).hexdigest()}")
    return server


def test_the_hannover_films_become_a_cohort(films):
    cohort = mf.public_cohort("hannover-cxr")
    assert (len(cohort), cohort.num_patients, cohort.class_counts) == (6, 3, {"no": 4, "yes": 2})
    assert all(path is not None for path in cohort.image_paths)
    asked = len(films.asked)
    mf.public_cohort("hannover-cxr")
    assert len(films.asked) == asked


def test_a_film_that_arrives_damaged_is_refused_and_comes_anew(films):
    whole = films.files["/png/003.png"]
    films.files["/png/003.png"] = whole[:40] + bytes(8) + whole[48:]
    with pytest.raises(CohortError, match=r"003\.png arrived damaged"):
        mf.public_cohort("hannover-cxr")
    films.files["/png/003.png"] = whole
    assert len(mf.public_cohort("hannover-cxr")) == 6


def test_the_checksum_of_the_hannover_table_is_that_of_the_published_one(hannover):
    from medfusion_jupyter.data.public.hannover import TABLE

    assert hashlib.sha256((hannover / "data.csv").read_bytes()).hexdigest() == TABLE.removeprefix("sha256:")
