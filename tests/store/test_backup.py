"""A backup is of one moment, whole or not there; what is restored from it reads as what was saved."""

import json
import os
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from medfusion_jupyter.store import StoreError, UnknownId, open_store
from medfusion_jupyter.store import backup as backup_module
from medfusion_jupyter.store.archive import Archive, ArchiveWriter
from medfusion_jupyter.store.backup import back_up
from medfusion_jupyter.store.restore import restore

MODEL = {"file_size": 7, "format": "f", "backbone": "b", "num_classes": 2, "input_shape": [1, 8, 8]}
DATABASES = ("sqlite", "postgresql")


@pytest.fixture
def place(request, tmp_path, monkeypatch):
    """Open the store of a home and database of its own: place("sqlite", "new")."""
    opened = []

    def open_place(kind, name):
        monkeypatch.setenv("MEDFUSION_HOME", str(tmp_path / name))
        if kind == "postgresql":
            monkeypatch.setenv("MEDFUSION_DATABASE_URL", request.getfixturevalue("postgresql_server")())
        else:
            monkeypatch.delenv("MEDFUSION_DATABASE_URL", raising=False)
        opened.append(open_store())
        return opened[-1]

    yield open_place
    for store in opened:
        store.close()


def write(path, text="weights"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def make_job(store, here, name, **settings):
    job = store.jobs.create(
        name,
        model_config={"fusion": "film", "null": None},
        data_config={"umlaut": "ä\u2028", "number": 0.1},
        training_config={"epochs": 3},
        total_epochs=3,
        watched_metric="val/auroc",
        **settings,
    )
    store.jobs.claim(job.job_id, run_token="t", **here)
    for status in ("initializing", "running"):
        store.jobs.update_status(job.job_id, status, run_token="t")
    return job


def fill(store, here, home):
    """Something in every table, and ids whose rows are deleted at the end of each."""
    first = make_job(store, here, "first", dataset_fingerprint="abc")
    for step in range(30):
        store.writer.append(first.pk, "loss", step, float("nan") if step == 3 else 1 / (step + 1))
    store.writer.flush()
    store.jobs.finish_epoch(first.job_id, run_token="t", epoch=1, row={"epoch": 1, "val/auroc": 0.75})
    store.jobs.request(first.job_id, "pause")
    path = write(home / "jobs" / first.job_id / "epoch-0001.safetensors")
    write(home / "jobs" / first.job_id / ".split.json.0123456789abcdef0123456789abcdef.tmp")
    store.checkpoints.add(
        first.job_id, run_token="t", epoch=1, step=9, metrics={"a": 1}, path=str(path), file_size=7, is_best=True
    )
    write(home / "jobs" / first.job_id / "split.json", "{}")
    folder = write(home / "models" / first.job_id / "epoch-0001-t" / "model.safetensors").parent
    store.jobs.update_status(first.job_id, "completed", run_token="t", model_path=str(folder))
    store.models.register("icu", path=str(folder), job_id=first.job_id, metrics={"auroc": 0.5}, loss=0.25, **MODEL)
    store.models.register("far", path="/mnt/share/model", metrics={}, **MODEL)
    store.models.set_alias("icu", "production", 1)
    data = write(home / "datasets" / "abc" / "table.csv").parent
    store.datasets.save(
        "cohort", data_path=str(data), fingerprint="abc", num_samples=3, num_classes=2, class_distribution={"0": 3}
    )
    flow = store.workflows.create("flow", nodes=[{"id": "1"}])
    store.workflows.update(flow.id, seen_version=1, nodes=[{"id": "1"}, {"id": "2"}])
    execution = store.executions.create(flow.id)
    store.executions.claim(execution.id, run_token="t", **here)
    store.executions.move_node(execution.id, "1", "running", run_token="t")
    store.executions.note_node(execution.id, "1", {"rows": 3, "umlaut": "ä"}, run_token="t")
    store.executions.finish(execution.id, "stopped", run_token="t")
    second = make_job(store, here, "second", parent_job_id=first.job_id, workflow_execution_id=execution.id)
    store.jobs.update_status(second.job_id, "failed", run_token="t", error="no space")
    write(home / "cache" / "pixels" / "a.npy")
    gone = make_job(store, here, "gone")
    store.jobs.update_status(gone.job_id, "stopped", run_token="t")
    store.jobs.delete(gone.job_id)
    store.models.delete(store.models.register("gone", path=str(home / "models" / "gone"), metrics={}, **MODEL).id)


def everything(store, home):
    """All that the repositories tell, and the files, with the home's own name taken out."""
    jobs = [store.jobs.get(job.job_id) for job in store.jobs.list().items]
    flows = store.workflows.list().items
    rows = [
        jobs,
        [store.jobs.history(job.job_id) for job in jobs],
        [store.metrics.series(job.job_id, name) for job in jobs for name in store.metrics.names(job.job_id)],
        [store.checkpoints.list(job.job_id) for job in jobs],
        store.models.list().items,
        store.datasets.list().items,
        [store.workflows.versions(flow.id) for flow in flows],
        flows,
        store.executions.list().items,
        [store.executions.node_runs(one.id) for one in store.executions.list().items],
        store.events.list(),
    ]
    names = ("jobs", "models", "datasets")
    files = {str(p.relative_to(home)): p.read_text() for n in names for p in (home / n).rglob("*") if p.is_file()}
    files = {name: text for name, text in files.items() if not name.endswith(".tmp")}
    return repr(rows).replace(str(home), "HOME"), files


@pytest.mark.parametrize("target", DATABASES)
@pytest.mark.parametrize("source", DATABASES)
def test_what_comes_back_reads_as_what_was_saved(place, tmp_path, here, source, target):
    old = place(source, "old")
    fill(old, here, tmp_path / "old")
    made = back_up(old.engine, tmp_path / "b.tar")
    assert made.left_out == []
    assert made.rows["training_jobs"] == 2
    before = everything(old, tmp_path / "old")
    assert set(before[1]) == {
        "jobs/job_0001/epoch-0001.safetensors",
        "jobs/job_0001/split.json",
        "models/job_0001/epoch-0001-t/model.safetensors",
        "datasets/abc/table.csv",
    }
    new = place(target, "new")
    restored = restore(new.engine, tmp_path / "b.tar")
    assert (restored.rows, restored.files) == (made.rows, made.files)
    assert everything(new, tmp_path / "new") == before
    assert not (tmp_path / "new" / "cache").exists()
    assert new.models.get(1).model_path == str(tmp_path / "new" / "models" / "job_0001" / "epoch-0001-t")
    assert new.models.get(2).model_path == "/mnt/share/model"
    # what was given is not given again, also where its row is gone
    assert make_job(new, here, "next").job_id == "job_0004"
    assert new.models.register("next", path="p", metrics={}, **MODEL).id == 4
    # and back again
    back_up(new.engine, tmp_path / "c.tar")
    third = place(source, "third")
    expected = everything(new, tmp_path / "new")
    restore(third.engine, tmp_path / "c.tar")
    assert everything(third, tmp_path / "third") == expected


@pytest.mark.parametrize("gone", [False, True])
def test_it_says_which_cohorts_have_no_images_where_they_are_brought_back(place, tmp_path, gone):
    old = place("sqlite", "old")
    images = tmp_path / "old" / "cache" / "synthetic" / "k"
    images.mkdir(parents=True)
    card = {"name": "hips", "roles": {"target": "y", "image": "file", "image_root": str(images)}}
    write(tmp_path / "old" / "datasets" / "abc" / "cohort.json", json.dumps(card))
    of_table = {"name": "table", "roles": {"target": "y", "image": None, "image_root": None}}
    write(tmp_path / "old" / "datasets" / "def" / "cohort.json", json.dumps(of_table))
    back_up(old.engine, tmp_path / "b.tar")
    if gone:
        images.rmdir()
    restored = restore(place("sqlite", "new").engine, tmp_path / "b.tar")
    assert restored.without_images == ({"hips": str(images)} if gone else {})


def test_json_null_and_no_value_stay_apart(place, tmp_path):
    old = place("sqlite", "old")
    flow = old.workflows.create("flow")
    with old.writing() as session:
        insert = (
            "INSERT INTO workflow_executions (workflow_id, version, status, result) VALUES (:flow, 1, :status, :result)"
        )
        for status, result in (("null", "null"), ("none", None)):
            session.execute(text(insert), {"flow": flow.id, "status": status, "result": result})
    back_up(old.engine, tmp_path / "b.tar")
    new = place("postgresql", "new")
    restore(new.engine, tmp_path / "b.tar")
    with new.reading() as session:
        found = session.execute(text("SELECT status, result IS NULL FROM workflow_executions ORDER BY id")).all()
    assert [tuple(row) for row in found] == [("null", False), ("none", True)]


WRITER = textwrap.dedent(
    """
    import sys, threading
    from medfusion_jupyter.store import home, open_store
    from medfusion_jupyter.store.durable_files import write_text
    from medfusion_jupyter.store.metrics import write_samples
    store, end = open_store(), threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), end.set()), daemon=True).start()
    count = 0
    while not end.is_set():
        count += 1
        job = store.jobs.create(f"job {count}", model_config={}, data_config={}, training_config={}, total_epochs=1,
                                watched_metric="m")
        store.jobs.claim(job.job_id, run_token="t", host="h", pid=1, process_started=1.0, kernel_id=None)
        for epoch in range(1, 4):  # as a run does: a new checkpoint, then the one before goes
            path = home() / "jobs" / job.job_id / f"epoch-{epoch:04d}.safetensors"
            write_text(path, f"{job.job_id} {epoch}")
            store.checkpoints.add(job.job_id, run_token="t", epoch=epoch, step=epoch, metrics={}, path=str(path),
                                  file_size=1, is_best=False)
            for other in store.checkpoints.list(job.job_id)[:-1]:
                store.checkpoints.remove(other.id)
                (path.parent / f"epoch-{other.epoch:04d}.safetensors").unlink()
            with store.writing() as session:
                write_samples(session, [(job.pk, name, epoch, float(count)) for name in "ab"])
        print(count, flush=True)
    """
)


def test_a_backup_under_a_writer_is_of_one_moment(either_database, place, tmp_path, monkeypatch):
    old = place(either_database, "old")
    writer = subprocess.Popen([sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(5):
            assert writer.stdout.readline()
        spool, to_carry = backup_module._spool, backup_module._to_carry

        def spool_and_wait(*args):
            spooled = spool(*args)
            assert writer.stdout.readline()  # writing goes on between one table and the next
            return spooled

        def wait_for_the_writer(named):
            while int(writer.stdout.readline()) < len(named.jobs) + 3:  # and before the files are copied
                pass
            yield from to_carry(named)

        monkeypatch.setattr(backup_module, "_spool", spool_and_wait)
        monkeypatch.setattr(backup_module, "_to_carry", wait_for_the_writer)
        made = back_up(old.engine, tmp_path / "b.tar")
    finally:
        writer.stdin.close()
        writer.stdout.read()
        assert writer.wait(60) == 0
    assert made.rows["training_jobs"] < len(old.jobs.list(limit=500).items)
    new = place(either_database, "new")
    restore(new.engine, tmp_path / "b.tar")
    jobs = new.jobs.list(limit=500).items
    assert len(jobs) == made.rows["training_jobs"] >= 5
    created = {event.entity_id for event in new.events.list(limit=5000) if event.kind == "created"}
    assert created == {job.job_id for job in jobs}
    for job in jobs:
        assert new.metrics.series(job.job_id, "a").steps == new.metrics.series(job.job_id, "b").steps
        for one in new.checkpoints.list(job.job_id):
            assert Path(one.checkpoint_path).read_text() == f"{job.job_id} {one.epoch}"
        path = new.jobs.get(job.job_id).checkpoint_path
        assert path is None or Path(path).exists()
    carried = {path.name for path in (tmp_path / "new" / "jobs").iterdir()}
    assert carried <= {job.job_id for job in jobs}  # none of a job whose id will be given again


def test_a_row_whose_file_is_gone_is_left_out_with_what_stands_on_it(place, tmp_path, here, monkeypatch):
    old = place("sqlite", "old")
    fill(old, here, tmp_path / "old")
    carry_file = backup_module._carry_file

    def delete_first(archive, relative, kept):
        if relative.endswith(("epoch-0001.safetensors", "model.safetensors")):
            (tmp_path / "old" / relative).unlink(missing_ok=True)
        carry_file(archive, relative, kept)

    monkeypatch.setattr(backup_module, "_carry_file", delete_first)
    made = back_up(old.engine, tmp_path / "b.tar")
    assert sorted(row.split(":")[0] for row in made.left_out) == [
        "model_aliases icu/production",
        "models 1",
        "training_checkpoints 1",
    ]
    new = place("sqlite", "new")
    restore(new.engine, tmp_path / "b.tar")
    assert new.checkpoints.list("job_0001") == []
    with pytest.raises(UnknownId):
        new.models.get(1)
    job = new.jobs.get("job_0001")
    assert (job.model_path, job.checkpoint_path) == (None, None)


def killed_when(script, point):
    """Run `script` in a process that SIGKILLs itself at `point`: module, attribute and the how manieth call."""
    module, owner, name, call = point
    program = textwrap.dedent(
        f"""
        import os, signal, pathlib
        import medfusion_jupyter.store.{module} as module
        from medfusion_jupyter.store.database import make_engine
        from medfusion_jupyter.store.location import database_url
        owner = getattr(module, {owner!r}) if {owner!r} else module
        whole, calls = getattr(owner, {name!r}), []
        def dying(*args, **kwargs):
            calls.append(1)
            if len(calls) == {call}:
                os.kill(os.getpid(), signal.SIGKILL)
            return whole(*args, **kwargs)
        setattr(owner, {name!r}, dying)
        """
    )
    out = subprocess.run([sys.executable, "-c", program + script], capture_output=True, text=True, check=False)
    assert out.returncode == -9, out.stderr


@pytest.mark.parametrize(
    "point",
    [
        ("backup", "ArchiveWriter", "add_file", 2),
        ("backup", "ArchiveWriter", "add_table", 5),
        ("durable_files", "os", "replace", 1),
    ],
    ids=["among files", "among tables", "before the rename"],
)
def test_a_backup_that_is_killed_leaves_no_file_and_a_sound_store(either_database, place, tmp_path, here, point):
    old = place(either_database, "old")
    fill(old, here, tmp_path / "old")
    before = everything(old, tmp_path / "old")
    path = tmp_path / "b.tar"
    killed_when(
        f"from medfusion_jupyter.store.backup import back_up\n"
        f"back_up(make_engine(database_url()), pathlib.Path({str(path)!r}))",
        point,
    )
    assert not path.exists()
    assert everything(old, tmp_path / "old") == before
    make_job(old, here, "goes on")
    (left,) = tmp_path.glob(".*.tmp")
    others = write(tmp_path / f".notes.{'0' * 32}.tmp")
    under_way = tmp_path / f".c.tar.{'1' * 32}.tmp"
    with closing(ArchiveWriter(under_way)):
        back_up(old.engine, path)
    Archive(path).close()
    assert not left.exists()
    assert others.exists()
    assert under_way.exists()


@pytest.mark.parametrize(
    "point",
    [
        ("archive", "Archive", "extract", 2),
        ("durable_files", "os", "replace", 3),
        ("restore", "", "write_rows", 6),
        ("sequences", "", "raise_to", 1),
    ],
    ids=["among files", "before a rename", "among tables", "before the end"],
)
def test_a_restore_that_is_killed_leaves_an_empty_database_and_can_be_run_again(
    either_database, place, tmp_path, here, point
):
    old = place(either_database, "old")
    fill(old, here, tmp_path / "old")
    before = everything(old, tmp_path / "old")
    back_up(old.engine, tmp_path / "b.tar")
    new = place(either_database, "new")
    killed_when(
        f"from medfusion_jupyter.store.restore import restore\n"
        f"restore(make_engine(database_url()), pathlib.Path({str(tmp_path / 'b.tar')!r}))",
        point,
    )
    assert (new.jobs.list().items, new.events.list(), new.models.list().items) == ([], [], [])
    restore(new.engine, tmp_path / "b.tar")
    assert everything(new, tmp_path / "new") == before


def test_nothing_is_restored_over_rows_or_other_files(either_database, place, tmp_path, here):
    old = place(either_database, "old")
    fill(old, here, tmp_path / "old")
    back_up(old.engine, tmp_path / "b.tar")
    before = everything(old, tmp_path / "old")
    with pytest.raises(StoreError, match=r"not empty.*MEDFUSION_HOME"):
        restore(old.engine, tmp_path / "b.tar")
    assert everything(old, tmp_path / "old") == before
    new = place(either_database, "new")
    other = write(tmp_path / "new" / "datasets" / "abc" / "table.csv", "another")
    with pytest.raises(StoreError, match=r"table\.csv is there already.*MEDFUSION_HOME"):
        restore(new.engine, tmp_path / "b.tar")
    assert other.read_text() == "another"
    assert not (tmp_path / "new" / "jobs").exists()
    assert new.events.list() == []


def test_a_backup_is_not_written_over_or_where_it_cannot_be(place, tmp_path):
    store = place("sqlite", "old")
    write(tmp_path / "there.tar", "precious")
    with pytest.raises(StoreError, match=r"there\.tar is there already"):
        back_up(store.engine, tmp_path / "there.tar")
    assert (tmp_path / "there.tar").read_text() == "precious"
    with pytest.raises(StoreError, match=r"cannot be written"):
        back_up(store.engine, tmp_path / "there.tar" / "in.tar")
    assert set(os.listdir(tmp_path)) == {"there.tar", "old"}


def test_many_rows_of_a_table_come_back(place, tmp_path, here):
    old = place("sqlite", "old")
    job = make_job(old, here, "long")
    for step in range(5000):  # more than are read and written at once
        old.writer.append(job.pk, "m", step, step)
    old.writer.flush()
    back_up(old.engine, tmp_path / "b.tar")
    new = place("sqlite", "new")
    restore(new.engine, tmp_path / "b.tar")
    assert new.metrics.series(job.job_id, "m").values == [float(step) for step in range(5000)]
