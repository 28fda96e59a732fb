"""MedMNIST's files become cohorts with their official split, and files that are something else are refused."""

import numpy as np
import pytest

import medfusion as mf
from medfusion_jupyter.data import CohortError

COUNTS = {"train": 30, "val": 10, "test": 12}


@pytest.fixture
def write(tmp_path):
    """Write a file as MedMNIST's are; `change(arrays)` alters them first."""

    def make(change=lambda arrays: None, shape=(28, 28)):
        rng = np.random.default_rng(0)
        arrays = {}
        for part, count in COUNTS.items():
            arrays[f"{part}_images"] = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
            arrays[f"{part}_labels"] = (np.arange(count) % 3).astype(np.uint8)[:, None]
        change(arrays)
        np.savez_compressed(tmp_path / "somemnist.npz", **arrays)
        return tmp_path / "somemnist.npz", arrays

    return make


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3)])
def test_images_labels_and_split_are_those_of_the_file(write, shape):
    path, arrays = write(shape=shape)
    cohort = mf.read_medmnist(path, labels=["a", "b", "c"])
    assert cohort.classes == ("a", "b", "c")
    assert cohort.class_counts == {"a": 18, "b": 17, "c": 17}
    split = cohort.split_by("split")
    assert {part: len(rows) for part, rows in split.rows.items()} == COUNTS
    row = split.rows["val"][7]
    seen = mf.read_image(cohort.image_paths[row]).pixels
    stored = arrays["val_images"][7]
    assert np.array_equal(seen, stored[None] if len(shape) == 2 else stored.transpose(2, 0, 1))
    assert cohort.target_codes[row] == arrays["val_labels"][7, 0]


def test_volumes_are_those_of_the_file(write):
    path, arrays = write(shape=(28, 28, 28))
    cohort = mf.read_medmnist(path)
    assert np.array_equal(mf.read_image(cohort.image_paths[3]).pixels[0], arrays["train_images"][3])
    how = {"image_encoder": "light_cnn_3d", "image_size": (16, 16, 16), "epochs": 1, "device": "cpu"}
    assert mf.train(cohort.split_by("split"), **how).wait().status == "completed"


def findings(arrays):
    for part, count in COUNTS.items():
        arrays[f"{part}_labels"] = (np.arange(count)[:, None] % [2, 3] == 0).astype(np.uint8)


def test_several_labels_an_image_are_findings_and_classes_may_be_grades(write):
    path, arrays = write(findings)
    cohort = mf.read_medmnist(path, labels=["mass", "nodule"])
    assert cohort.target.task == "multilabel"
    assert np.array_equal(cohort.targets[:30], arrays["train_labels"])
    assert mf.read_medmnist(path).classes == ("label_0", "label_1")
    for wrong in ({"ordinal": True}, {"labels": ["mass"]}, {"labels": ["mass", "split"]}):
        with pytest.raises(CohortError, match="2 labels an image"):
            mf.read_medmnist(path, **wrong)
    path, _ = write()
    assert mf.read_medmnist(path, ordinal=True).target == mf.Ordinal("label", classes=("0", "1", "2"))


def test_the_images_are_written_once(write):
    path, _ = write()
    times = [image.stat().st_mtime_ns for image in mf.read_medmnist(path).image_paths]
    assert [image.stat().st_mtime_ns for image in mf.read_medmnist(path).image_paths] == times


def test_its_official_split_trains(write):
    path, _ = write()
    job = mf.train(
        mf.read_medmnist(path).split_by("split"), image_encoder="light_cnn", image_size=28, epochs=1, device="cpu"
    ).wait()
    assert job.status == "completed", job.record.error
    assert mf.evaluate(job.model, split="test").rows == 12


@pytest.mark.parametrize(
    ("change", "shape", "words"),
    [
        (lambda a: a.pop("val_labels"), (28, 28), "no val_labels"),
        (lambda a: a.update(train_labels=np.zeros((30, 14), np.uint8)), (28, 28), "1 and 14 labels an image"),
        (lambda a: a.update(val_labels=np.full((10, 1), -1)), (28, 28), "has the class -1"),
        (lambda a: a.update(test_images=a["test_images"][:5]), (28, 28), "5 images and 12 labels in its part 'test'"),
        (lambda a: a.update(test_images=a["test_images"].astype(float)), (28, 28), "holds float64"),
    ],
)
def test_other_files_are_refused_and_leave_nothing_half(write, medfusion_home, change, shape, words):
    path, _ = write(change, shape)
    with pytest.raises(CohortError, match=words):
        mf.read_medmnist(path)
    assert not list(medfusion_home.glob("cache/medmnist/*"))


def test_a_damaged_file_is_refused(write, medfusion_home):
    path, _ = write()
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[2000:2100] = bytes(100)
    for content in (whole[:3000], bytes(damaged), b""):
        path.write_bytes(content)
        with pytest.raises(CohortError, match="Download it again"):
            mf.read_medmnist(path)
    assert not list(medfusion_home.glob("cache/medmnist/*"))
    path.unlink()
    with pytest.raises(CohortError, match="There is no file"):
        mf.read_medmnist(path)


def test_a_column_must_name_the_parts(frame):
    split = [*["train"] * 5, "val", "test", None]
    cohort = mf.Cohort(frame.assign(part=split), target="icu", patient="who")
    assert {name: rows.tolist() for name, rows in cohort.split_by("part").rows.items()} == {
        "train": [0, 1, 2, 3, 4],
        "val": [5],
        "test": [6],
    }
    with pytest.raises(CohortError, match=r"no column 'prt'. Did you mean 'part'"):
        cohort.split_by("prt")
    with pytest.raises(CohortError, match="has the values 'f', 'm'; the parts"):
        cohort.split_by("sex")
    shared = frame.assign(part=split, who=["a"] * 8)
    with pytest.raises(CohortError, match="1 patients on two sides"):
        mf.Cohort(shared, target="icu", patient="who").split_by("part")
