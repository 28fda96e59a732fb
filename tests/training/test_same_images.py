"""A run learns from the images that it was started with, or says in which rows they are others."""

import shutil

import numpy as np
import pytest
from acting import At
from PIL import Image

import medfusion as mf
from medfusion_jupyter.data import PixelCache
from medfusion_jupyter.store import home, open_store
from medfusion_jupyter.training.same_images import changed_rows

STEPS = 6


@pytest.fixture
def own(cohort):
    """A cohort whose images this test may change; those of the fixture may be others' too."""
    assert all(home() in path.parents for path in cohort.image_paths)
    return cohort


def spoil(cohort, rows=None):
    """Write other images under the same names, and delete every second of them."""
    for row in range(len(cohort)) if rows is None else rows:
        path = cohort.image_paths[row]
        if row % 2:
            path.unlink()
        else:
            Image.fromarray(255 - np.asarray(Image.open(path))).save(path)


def told(job, kind="images_changed"):
    return [event.data["error"] for event in open_store().events.list(entity_id=job.job_id) if event.kind == kind]


@pytest.mark.parametrize("memory", ["1GB", "0"], ids=["in memory", "mapped"])
def test_images_that_change_while_a_run_trains_make_no_difference_to_it(own, train, monkeypatch, memory):
    monkeypatch.setenv("MEDFUSION_CACHE_MEMORY", memory)
    whole = train(own).wait()

    def change(state):
        spoil(own)
        shutil.rmtree(home() / "cache")  # which may be deleted at any time

    spoiled = train(own, callbacks=[At(STEPS, change)]).wait()
    assert not own.image_paths[1].exists()
    assert spoiled.history["train/loss"].tolist() == whole.history["train/loss"].tolist()
    assert spoiled.history["val/loss"].tolist() == whole.history["val/loss"].tolist()
    assert not told(spoiled)


def test_a_run_that_goes_on_and_a_fork_say_which_rows_have_other_images(own, train, caplog):
    job = train(own, epochs=1).wait()
    assert not told(mf.resume(job.job_id, epochs=2).wait())
    path = own.image_paths[7]
    size = path.stat().st_size
    turned = Image.open(path).transpose(Image.Transpose.ROTATE_180)
    turned.save(path)
    with path.open("ab") as file:  # as large as before, so that its name and size tell nothing
        file.write(bytes(max(0, size - path.stat().st_size)))
    assert not told(train(own, epochs=1).wait())  # a new one begins with what is there
    fork = job.fork(epochs=3).wait()
    again = mf.resume(job.job_id, epochs=3).wait()
    for one in (fork, again):
        (said,) = told(one)
        assert said == "1 of 120 rows have other images than the run was started with (row 7, from 0)."
        assert path.name not in said
        assert f"{one.job_id}: {said}" in caplog.text


def test_files_that_are_copied_or_touched_are_the_same_images(own, train):
    job = train(own, epochs=1).wait()
    for path in own.image_paths:
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    assert not told(mf.resume(job.job_id, epochs=2).wait())


def test_the_folds_of_a_cross_validation_say_when_images_change_between_them(own):
    class Spoils(mf.Callback):
        def fit_end(self, state):
            spoil(own, rows=[4])

    settings = {"image_encoder": "light_cnn", "image_size": 16, "epochs": 1, "batch_size": 16, "device": "cpu"}
    cv = mf.cross_validate(own, folds=3, callbacks=[Spoils()], **settings).wait()
    assert [len(told(job)) for job in cv.jobs][:2] == [0, 1]
    assert "row 4" in told(cv.jobs[1])[0]


def test_images_that_cannot_be_read_are_an_event_of_the_job(own, train):
    own.image_paths[3].write_bytes(b"no image")
    with pytest.warns(UserWarning, match="count as absent"):
        job = train(own, epochs=1).wait()
    (said,) = told(job, "images_unreadable")
    assert "1 of 120 image files cannot be decoded and count as absent (row 3, from 0)" in said
    assert own.image_paths[3].name not in said


def test_every_image_of_a_row_counts_in_its_view(tmp_path):
    def seen(slots):
        checksums = np.asarray([11, 4_000_000_000, 7], dtype=np.uint32)
        return PixelCache(np.zeros((3, 1, 8, 8), np.uint8), np.asarray(slots), "k", checksums)

    before = [[[0, 1], [2, -1], [-1, -1]], [[2, -1], [-1, -1], [0, -1]]]  # two views of three bags
    assert changed_rows([tmp_path], seen(before)) == []
    assert changed_rows([tmp_path], seen([[[1, 0], [2, -1], [-1, -1]], before[1]])) == []  # a bag has no order
    assert changed_rows([tmp_path], seen([[[0], [2], [-1]], [[2], [-1], [0]]])) == [0]  # one is gone
    assert changed_rows([tmp_path], seen([before[1], before[0]])) == [0, 1, 2]  # views that changed places
    assert changed_rows([tmp_path], seen(before)) == []
