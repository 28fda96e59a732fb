"""The command `medfusion`, run as a person does."""

import subprocess
import sys

import medfusion_jupyter.cli as cli
from medfusion_jupyter.store import open_store


def test_help_names_the_commands():
    out = subprocess.run(
        [sys.executable, "-c", "from medfusion_jupyter.cli import main; main(['-h'])"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.returncode == 0
    for command in ("lab", "demo", "jobs"):
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
