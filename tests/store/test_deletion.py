"""A deleted job or model goes with its files, or neither goes; nothing outside the home is touched."""

import os

import pytest

from medfusion_jupyter.store import StoreError, UnknownId, open_store
from medfusion_jupyter.store.errors import InUse
from medfusion_jupyter.store.stored_files import LEFT_BEHIND_SECONDS

MODEL = {"file_size": 1, "format": "f", "backbone": "b", "num_classes": 2, "input_shape": [], "metrics": {}}


@pytest.fixture
def job(new_job, medfusion_home):
    """A stopped job with a checkpoint's file."""
    job = new_job(status="stopped")
    folder = medfusion_home / "jobs" / job.job_id
    folder.mkdir(parents=True)
    (folder / "epoch-0001.safetensors").write_text("weights")
    return job


@pytest.fixture
def model(store, job, medfusion_home):
    """A model with its files."""
    folder = medfusion_home / "models" / job.job_id / "epoch-0001"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text("{}")
    return store.models.register("icu", path=str(folder), job_id=job.job_id, **MODEL)


def test_a_job_goes_with_its_rows_and_files(store, job, medfusion_home):
    store.writer.append(job.pk, "m", 1, 1.0)
    store.writer.flush()
    store.jobs.delete(job.job_id, by="ada")
    with pytest.raises(UnknownId):
        store.jobs.get(job.job_id)
    assert not (medfusion_home / "jobs" / job.job_id).exists()
    assert store.metrics.names(job.job_id) == []
    assert not list((medfusion_home / "trash").glob("*"))
    assert (store.events.list()[-1].kind, store.events.list()[-1].actor) == ("deleted", "ada")


def test_where_the_database_fails_the_files_are_back(store, job, medfusion_home, monkeypatch):
    seen = []

    def fail(*args, **kwargs):
        seen.append((medfusion_home / "jobs" / job.job_id).exists())
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("medfusion_jupyter.store.jobs.events.record", fail)
        with pytest.raises(OSError, match="the disk is full"):
            store.jobs.delete(job.job_id)
    assert seen == [False]
    assert (medfusion_home / "jobs" / job.job_id / "epoch-0001.safetensors").read_text() == "weights"
    assert store.jobs.get(job.job_id).status == "stopped"
    assert not list((medfusion_home / "trash").glob("*"))


def test_what_stands_on_it_keeps_it_and_its_files(store, job, model, medfusion_home):
    store.models.set_alias("icu", "production", 1)
    with pytest.raises(InUse, match="model icu v1 depend"):
        store.jobs.delete(job.job_id)
    with pytest.raises(InUse, match="alias production depend"):
        store.models.delete(model.id)
    assert (medfusion_home / "jobs" / job.job_id / "epoch-0001.safetensors").read_text() == "weights"
    assert os.listdir(model.model_path) == ["model.json"]
    store.models.remove_alias("icu", "production")
    store.models.delete(model.id)
    assert not os.path.exists(model.model_path)
    store.jobs.delete(job.job_id)


def test_nothing_outside_the_home_is_deleted(store, tmp_path):
    (tmp_path / "precious").mkdir()
    for path in (tmp_path / "precious", tmp_path / "medfusion-home" / ".." / "precious"):
        model = store.models.register("theirs", path=str(path), **MODEL)
        with pytest.raises(StoreError, match="nothing outside MEDFUSION_HOME is deleted"):
            store.models.delete(model.id)
        assert store.models.get(model.id) == model
    assert (tmp_path / "precious").exists()


def test_a_deletion_that_was_killed_is_undone_at_the_next_start(store, job, model, medfusion_home):
    for name, aside in ((f"jobs/{job.job_id}", "a"), (f"models/{job.job_id}/epoch-0001", "a"), ("jobs/job_0999", "b")):
        target = medfusion_home / "trash" / aside / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (medfusion_home / name).exists():
            os.replace(medfusion_home / name, target)
        else:
            target.mkdir()
    for folder in (medfusion_home / "trash").iterdir():
        os.utime(folder, (0, folder.stat().st_mtime - LEFT_BEHIND_SECONDS - 1))
    type(store)(store.url).close()
    assert (medfusion_home / "jobs" / job.job_id / "epoch-0001.safetensors").read_text() == "weights"
    assert os.listdir(model.model_path) == ["model.json"]
    assert not (medfusion_home / "jobs" / "job_0999").exists()
    assert not list((medfusion_home / "trash").iterdir())
    assert open_store().jobs.get(job.job_id).status == "stopped"
