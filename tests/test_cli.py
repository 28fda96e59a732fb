"""The command `medfusion`, run as a person does."""

import subprocess
import sys

import pytest

import medfusion_jupyter.cli as cli
from medfusion_jupyter.store import open_store
from medfusion_jupyter.store.migrate import HEAD


def test_help_names_the_commands():
    out = subprocess.run(
        [sys.executable, "-c", "from medfusion_jupyter.cli import main; main(['-h'])"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.returncode == 0
    for command in ("lab", "demo", "jobs", "worker", "set", "checkpoint", "db"):
        assert command in out.stdout


def test_jobs_of_an_empty_store(capsys):
    assert cli.main(["jobs"]) == 0
    assert capsys.readouterr().out == "No jobs.\n"


def test_jobs_lists_what_the_store_has(capsys):
    open_store().jobs.create(
        name="first", model_config={}, data_config={}, training_config={}, total_epochs=5, watched_metric="val/auroc"
    )
    assert cli.main(["jobs"]) == 0
    out = capsys.readouterr().out
    assert "job_0001" in out
    assert "pending" in out
    assert "0/5" in out
    assert cli.main(["jobs", "--status", "running"]) == 0
    assert capsys.readouterr().out == "No jobs.\n"


def test_an_unknown_status_is_answered_with_the_known_ones(capsys):
    assert cli.main(["jobs", "--status", "runing"]) == 2
    assert "running" in capsys.readouterr().err


@pytest.fixture
def running(store, here):
    """A job whose run has begun, in this process."""
    job = store.jobs.create(
        "first", model_config={}, data_config={}, training_config={}, total_epochs=5, watched_metric="val/auroc"
    )
    store.jobs.claim(job.job_id, run_token="t", **here)
    for status in ("initializing", "running"):
        store.jobs.update_status(job.job_id, status, run_token="t")
    return store.jobs.get(job.job_id)


def test_a_job_is_steered_from_the_terminal(running, store, capsys):
    for words in (["pause"], ["checkpoint"], ["stop"], ["set", "lr=1e-4", "epochs=40"]):
        assert cli.main([words[0], running.job_id, *words[1:]]) == 0
    assert "lr=0.0001, epochs=40 is asked for; it obeys" in capsys.readouterr().out
    with store.writing() as session:
        taken = [(one.command, one.arguments) for one in store.jobs.take_commands_in(session, running.pk, "t")]
    assert taken == [("pause", None), ("checkpoint", None), ("stop", None), ("set", {"lr": 1e-4, "epochs": 40})]
    assert cli.main(["status", running.job_id]) == 0
    assert "job_0001 first: running, epoch 0/5" in capsys.readouterr().out


def test_what_cannot_be_asked_of_a_job_is_said_in_words(running, store, capsys):
    for words, said in (
        (["set", "job_0001", "batch_size=8"], "medfusion set: batch_size cannot be changed in a run; lr, "),
        (["set", "job_0001", "lr=99"], "lr=99: give a number above 0 and at most 10."),
        (["resume", "job_0001"], "'resume' is possible when it is paused"),
        (["pause", "job_0999"], "no job 'job_0999'"),
        (["status", "job_0999"], "no job 'job_0999'"),
    ):
        assert cli.main(words) == 1
        assert said in capsys.readouterr().err
    assert cli.main(["worker", "--jobs-at-once", "-1"]) == 2


def test_resuming_an_ended_job_queues_it(running, store, capsys):
    store.jobs.update_status(running.job_id, "interrupted", run_token="t")
    assert cli.main(["resume", running.job_id]) == 0
    assert "job_0001 is queued" in capsys.readouterr().out
    assert [job.job_id for job in store.queue.waiting()] == ["job_0001"]


def test_lab_refuses_a_folder_that_is_not_there(capsys):
    assert cli.main(["lab", "/no/such/folder"]) == 2
    assert "/no/such/folder is not a folder" in capsys.readouterr().err


def test_demo_trains_and_prints_the_auroc():
    out = subprocess.run(
        [
            sys.executable,
            "-c",
            "from medfusion_jupyter.cli import main; main(['demo', '--rows', '150', '--epochs', '1'])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "test AUROC 0." in out.stdout
    assert "best possible 0.856" in out.stdout
    assert "100%" in out.stdout


def test_db_saves_and_restores_the_store(tmp_path, monkeypatch, capsys, either_database, request):
    store = open_store()
    store.workflows.create("flow")
    assert cli.main(["db", "current"]) == 0
    assert f"its schema    {HEAD} (up to date)" in capsys.readouterr().out
    assert cli.main(["db", "upgrade"]) == 0
    assert f"at {HEAD} already" in capsys.readouterr().out
    assert cli.main(["db", "backup", str(tmp_path / "b.tar")]) == 0
    assert "3 rows and 0 files" in capsys.readouterr().out
    monkeypatch.setenv("MEDFUSION_HOME", str(tmp_path / "new"))
    if either_database == "postgresql":
        monkeypatch.setenv("MEDFUSION_DATABASE_URL", request.getfixturevalue("postgresql_server")())
    assert cli.main(["db", "restore", str(tmp_path / "b.tar")]) == 0
    assert "3 rows in" in capsys.readouterr().out
    assert [flow.name for flow in open_store().workflows.list().items] == ["flow"]
    assert cli.main(["db", "restore", str(tmp_path / "b.tar")]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("medfusion db restore: The database ")
    assert said.err.count("\n") == 1
    assert cli.main(["db", "downgrade", "base"]) == 0
    out = capsys.readouterr().out
    assert f"Its rows were saved before: {tmp_path / 'new' / 'backups'}" in out
    assert "at base" in out


def test_db_says_what_is_wrong_in_one_line(tmp_path, monkeypatch, capsys):
    assert cli.main(["db", "current"]) == 1
    assert "There is no database at" in capsys.readouterr().err
    assert cli.main(["db", "restore", str(tmp_path / "none.tar")]) == 1
    assert "none.tar cannot be read: No such file" in capsys.readouterr().err
    monkeypatch.setenv("MEDFUSION_DATABASE_URL", "postgresql+psycopg://me:secret@127.0.0.1:1/none")
    assert cli.main(["db", "current"]) == 1
    said = capsys.readouterr().err
    assert "me:***@127.0.0.1" in said
    assert "secret" not in said
    assert said.count("\n") == 1
