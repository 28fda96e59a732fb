"""`%medfusion` in a real shell: lists, commands, completion, and words instead of tracebacks."""

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

import medfusion as mf
from medfusion_jupyter.magics import SUBCOMMANDS
from medfusion_jupyter.store import open_store
from medfusion_jupyter.store.job_folds import FoldPlan


@pytest.fixture
def shell(medfusion_home):
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "medfusion")
    yield shell
    shell.run_line_magic("unload_ext", "medfusion")
    InteractiveShell.clear_instance()


@pytest.fixture
def job(medfusion_home):
    return open_store().jobs.create(
        "first", model_config={}, data_config={}, training_config={}, total_epochs=3, watched_metric="val/auroc"
    )


def test_help_names_every_subcommand(shell, capsys):
    for line in ("help", ""):
        shell.run_line_magic("medfusion", line)
        shown = capsys.readouterr().out
        assert all(name in shown for name in SUBCOMMANDS)


def test_lists_are_tables(shell, job):
    assert list(shell.run_line_magic("medfusion", "jobs").index) == [job.job_id]
    for name in ("models", "datasets", "workflows"):
        assert len(shell.run_line_magic("medfusion", name)) == 0


def test_status_and_monitor_take_the_newest_job_or_the_one_named(shell, job, capsys):
    shell.run_line_magic("medfusion", "status")
    assert "job_0001 first: pending, epoch 0/3" in capsys.readouterr().out
    assert shell.run_line_magic("medfusion", "monitor job_0001").job_id == "job_0001"


def test_commands_reach_the_store(shell, job, capsys):
    shell.run_line_magic("medfusion", "stop job_0001")
    assert "stop is asked for" in capsys.readouterr().out
    assert open_store().jobs.get(job.job_id).status == "stopped"


def test_a_job_that_runs_is_changed_and_saved(shell, job, here, capsys):
    store = open_store()
    store.jobs.claim(job.job_id, run_token="t", **here)
    for status in ("initializing", "running"):
        store.jobs.update_status(job.job_id, status, run_token="t")
    shell.run_line_magic("medfusion", "set lr=1e-4 patience=none")
    shell.run_line_magic("medfusion", "set job_0001 epochs=9")
    shell.run_line_magic("medfusion", "checkpoint")
    assert "job_0001: lr=0.0001, patience=None is asked for" in capsys.readouterr().out
    with store.writing() as session:
        taken = [(one.command, one.arguments) for one in store.jobs.take_commands_in(session, job.pk, "t")]
    assert taken == [("set", {"lr": 1e-4, "patience": None}), ("set", {"epochs": 9}), ("checkpoint", None)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("jbos", "no %medfusion jbos. Did you mean 'jobs'"),
        ("stop job_0999", "no job 'job_0999'. The newest: job_0001"),
        ("resume job_0001", "'resume' is possible when it is paused"),
        ("stop a b", "takes one job"),
        ("jobs all", "takes nothing"),
        ("fork job_0001 lr=1e-3", "job_0001 has no checkpoint to begin from. It has: none yet"),
        ("fork job_0001 epoch=last", "epoch='last': give the whole number of a checkpoint's epoch"),
        ("set job_0001", "Nothing to change is given"),
        ("set job_0001 momentum=0.1", "momentum cannot be changed in a run"),
    ],
)
def test_what_cannot_be_is_said_in_words(shell, job, line, words):
    with pytest.raises(UsageError, match=words):
        shell.run_line_magic("medfusion", line)


def test_without_an_active_job_it_asks_for_one(shell):
    with pytest.raises(UsageError, match="No job is active. Name one: %medfusion pause JOB"):
        shell.run_line_magic("medfusion", "pause")


def test_completion_offers_subcommands_and_then_jobs(shell, job):
    shell.user_ns["mo_variable"] = 1
    assert shell.complete("mo", "%medfusion mo", 13)[1] == ["models", "monitor"]
    assert shell.complete("", "%medfusion ", 11)[1] == sorted(SUBCOMMANDS)
    assert shell.complete("", "%medfusion monitor ", 19)[1] == ["job_0001"]
    assert shell.complete("jo", "%medfusion stop jo", 18)[1] == ["job_0001"]
    assert shell.complete("pa", "%medfusion set job_0001 pa", 26)[1] == ["patience="]
    assert shell.complete("mix", "%medfusion fork job_0001 mix", 28)[1] == ["mixup="]
    assert "fusion=" not in shell.complete("", "%medfusion fork job_0001 ", 25)[1]
    assert "lr=" not in shell.complete("", "%medfusion set job_0001 lr=1e-3 ", 32)[1]


def test_a_cross_validation_is_one_job(shell, job, capsys):
    plans = [FoldPlan(f"cv fold {k}", {}, {}, 3, "val/auroc") for k in (1, 2)]
    whole = open_store().jobs.create(
        "cv",
        model_config={},
        data_config={},
        training_config={},
        total_epochs=6,
        watched_metric="test/auroc",
        folds=plans,
    )
    assert list(shell.run_line_magic("medfusion", "jobs").index) == [whole.job_id, job.job_id]
    shell.run_line_magic("medfusion", "status")
    assert f"{whole.job_id} cv: pending, 0 of 2 folds done" in capsys.readouterr().out
    shell.run_line_magic("medfusion", f"stop {whole.job_id}")
    assert [str(fold.status) for fold in open_store().jobs.folds(whole.job_id)] == ["stopped", "stopped"]


CELL = """\
name: small
nodes:
- {id: patients, type: source.synthetic, settings: {n: 40, image_size: 16}}
- {id: parts, type: cohort.split}
edges:
- patients.cohort -> parts.cohort
"""


def test_a_cell_in_yaml_is_a_workflow_that_runs_and_runs_again_by_its_name(shell):
    run = shell.run_cell_magic("medfusion", "workflow", CELL).wait(60)
    assert (run.status, len(run.output("parts").train)) == ("completed", 24)
    again = shell.run_line_magic("medfusion", "run small").wait(60)
    assert set(again.nodes["status"]) == {"cached"}
    assert list(shell.run_line_magic("medfusion", "workflows")["runs"]) == [2]


TRAINING = """
image_encoder: light_cnn
image_size: 16
epochs: 1
device: cpu
lr: 1e-3
augment: {flip: 0.5}
"""


def test_a_cell_in_yaml_trains_a_cohort_of_the_notebook_of_the_store_or_of_a_file(shell, tmp_path):
    patients = mf.synthetic_cohort(n=60, image_size=16)
    patients.save("kept")
    table = tmp_path / "table.csv"
    patients.frame.assign(image=[str(path) for path in patients.image_paths]).to_csv(table, index=False)
    shell.push({"patients": patients, "parts": patients.split(test=0.3, val=0.3, seed=1)})
    file = f"{{table: {table}, image: image, target: lesion, patient: patient, numeric: [marker]}}"
    for cohort, rows in (("patients", 36), ("kept", 36), (file, 36), ("parts", 24)):
        job = shell.run_cell_magic("medfusion", "train", f"cohort: {cohort}\n{TRAINING}").wait(60)
        record = job.record
        assert (record.status, record.training_config["lr"]) == ("completed", 1e-3)
        assert record.data_config["rows"]["train"] == rows
        assert record.training_config["augment"]["flip"] == 0.5


@pytest.mark.parametrize(
    ("line", "cell", "words"),
    [
        ("workflow", CELL.replace("cohort.split", "cohort.spilt"), "Did you mean 'cohort.split'"),
        ("workflow", "nodes: [", "no YAML"),
        ("workflows", CELL, "%%medfusion workflow runs"),
        ("train", "epochs: 1", "and the cohort: a variable of the notebook"),
        ("train", "cohort: [a]", "and the cohort: a variable of the notebook"),
        ("train", "cohort: never_saved", "There is no dataset 'never_saved'"),
        ("train", "cohort: number", "number is of type int here: name a Cohort or a Split"),
        ("train", "cohort: {table: a.csv, target: y, imge: x}", "cohort: imge='x': .*did you mean 'image'"),
        ("train", "cohort: patients\nepoch: 3", "Did you mean 'epochs'"),
        ("train", "cohort: patients\ndetach: true\nnot_before: 2030-01-01", "no time zone"),
        ("train", "cohort: patients\nnot_before: soon", "soon"),
        ("train", "cohort: patients\nlr: fast", "lr='fast': give a number"),
    ],
)
def test_a_cell_that_cannot_be_run_is_refused_in_words(shell, line, cell, words):
    shell.push({"number": 3, "patients": mf.synthetic_cohort(n=40, image_size=16)})
    with pytest.raises(UsageError, match=words):
        shell.run_cell_magic("medfusion", line, cell)


def test_a_run_needs_the_name_of_a_workflow(shell):
    with pytest.raises(UsageError, match="name of one workflow"):
        shell.run_line_magic("medfusion", "run")
    with pytest.raises(UsageError, match="no workflow 'none'"):
        shell.run_line_magic("medfusion", "run none")
