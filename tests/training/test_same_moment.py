"""What several people, or a person and the end of a run, do in the same moment."""

import json
import subprocess
import sys
import textwrap
from contextlib import ExitStack

import pytest
import torch
from acting import At
from patience import wait_for
from sqlalchemy import select

import medfusion as mf
from medfusion_jupyter.store import IllegalTransition, open_store
from medfusion_jupyter.store.tables import JobCommandRow
from medfusion_jupyter.training import Callback
from medfusion_jupyter.training.starting import RUNS

TABLE = {"image_encoder": None, "patience": None}

ASK = {
    "stop": lambda job: job.stop(),
    "pause": lambda job: job.pause(),
    "checkpoint": lambda job: job.checkpoint(),
    "set": lambda job: job.set(lr=1e-5),
}


def events(job, kind):
    return [one.data for one in open_store().events.list(entity_id=job.job_id, limit=500) if one.kind == kind]


def control_of(job_id):
    """Also for a callback that is called before `mf.train` has returned."""
    wait_for(lambda: job_id in RUNS, "it did not begin")
    return RUNS[job_id].control


def waiting_commands():
    with open_store().reading() as session:
        return session.scalars(select(JobCommandRow).where(JobCommandRow.taken_at.is_(None))).all()


class AfterTheLastStep(Callback):
    """The last look for commands is over, and the job is still called running."""

    def __init__(self, act):
        self.act = act

    def fit_end(self, state):
        self.act()


@pytest.mark.parametrize("command", ASK)
@pytest.mark.parametrize("heard", [True, False], ids=["heard by the run", "not heard by it"])
def test_what_is_asked_after_the_last_step_is_answered_and_the_job_is_what_it_became(
    train, command, heard, monkeypatch
):
    jobs = type(open_store().jobs)
    update_status, take = jobs.update_status, jobs.take_commands_in
    deaf = [False]

    def ended(self, *given, **more):
        job = update_status(self, *given, **more)
        deaf[0] = False
        return job

    monkeypatch.setattr(jobs, "update_status", ended)
    monkeypatch.setattr(jobs, "take_commands_in", lambda *given: [] if deaf[0] else take(*given))

    def ask():
        deaf[0] = not heard
        ASK[command](mf.load_job("job_0001"))
        open_store().writer.flush()

    job = train(**TABLE, callbacks=[AfterTheLastStep(ask)]).wait()
    assert job.status == "completed"
    (late,) = events(job, "command_late")
    assert late["command"] == command
    assert late["error"].startswith("lr=1e-05 came" if command == "set" else f"{command} came")
    assert "the job is completed without it" in late["error"]
    if command == "set":
        assert "mf.load_job('job_0001').fork(lr=1e-05) begins a new one" in late["error"]
    assert events(job, "changed") == []
    assert job.record.training_config["lr"] == 2e-3
    assert waiting_commands() == []
    with pytest.raises(IllegalTransition):
        ASK[command](job)


def test_changes_that_came_with_a_stop_are_not_lost_without_a_word(train):
    def both(state):
        control = control_of("job_0001")
        control.deliver("set", {"epochs": 9})
        control.deliver("stop")

    job = train(**TABLE, epochs=50, callbacks=[At(3, both)]).wait()
    assert (job.status, job.record.total_epochs) == ("stopped", 50)
    (late,) = events(job, "command_late")
    assert "epochs=9 came" in late["error"]
    assert "mf.resume('job_0001', epochs=9) goes on" in late["error"]


@pytest.mark.parametrize("last_of", ["a step", "an epoch"])
def test_a_pause_in_the_last_batch_is_one_and_changes_no_bit(train, last_of):
    straight = train(**TABLE).wait()
    rested = []

    def pause():
        mf.load_job("job_0002").pause()
        wait_for(lambda: control_of("job_0002").attention, "the pause was not heard")

    class InTheLast(Callback):
        def step_end(self, state):
            if last_of == "a step" and state.step == state.total_steps:
                pause()

        def epoch_end(self, state):
            if last_of == "an epoch" and state.epoch == state.epochs:
                pause()

        def paused(self, state):
            rested.append(mf.load_job("job_0002").status)
            mf.load_job("job_0002").resume()

    job = train(**TABLE, callbacks=[InTheLast()]).wait()
    assert (job.status, len(rested)) == ("completed", 1)
    theirs = straight.model.module.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in job.model.module.state_dict().items())
    assert events(job, "command_late") == []


TWO = textwrap.dedent(
    """
    import json, sys
    import medfusion as mf
    from medfusion_jupyter.training.starting import RUNS
    job_id = sys.argv[1]
    job = mf.load_job(job_id)
    print("ready", flush=True)
    sys.stdin.readline()
    fork = job.fork(epoch=1, lr=float(sys.argv[2]), detach=True)
    try:
        mf.resume(job_id)
        said = "mine"
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    print(json.dumps({"fork": fork.job_id, "said": said}), flush=True)
    sys.stdin.readline()  # the run is not over before both have tried
    if said == "mine":
        RUNS[job_id].control.deliver("stop")
        RUNS[job_id].ended.wait(60)
    """
)


def test_two_processes_resume_a_job_and_fork_its_checkpoint_at_once(stopped_at):
    job = stopped_at(8, **TABLE, epochs=5000)
    assert job.status == "stopped"
    with ExitStack() as stack:
        two = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", TWO, job.job_id, lr],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for lr in ("1e-4", "1e-5")
        ]
        assert [one.stdout.readline() for one in two] == ["ready\n"] * 2
        for word in ("both at once", "and end"):
            for one in two:
                one.stdin.write(f"{word}\n")
                one.stdin.flush()
            if word == "both at once":
                answers = [json.loads(one.stdout.readline()) for one in two]
        assert [one.wait(90) for one in two] == [0, 0]
    mine, refused = sorted((answer["said"] for answer in answers), key=lambda said: said != "mine")
    assert mine == "mine"
    assert refused.startswith(f"IllegalTransition: {job.job_id} is ")
    assert "possible when it is" in refused
    assert job.status == "stopped"
    forks = [mf.load_job(answer["fork"]) for answer in answers]
    assert len({fork.job_id for fork in forks} | {job.job_id}) == 3
    assert [fork.record.training_config["lr"] for fork in forks] == [1e-4, 1e-5]
    for fork in forks:
        assert (fork.record.name, fork.record.parent_job_id, fork.record.fork["epoch"]) == (
            job.record.name,
            job.job_id,
            1,
        )
        (checkpoint,) = open_store().checkpoints.list(fork.job_id)
        assert f"/{fork.job_id}/" in checkpoint.checkpoint_path


def test_a_process_that_ends_as_its_run_has_ended_complains_of_nothing(train, caplog):
    job = train(**TABLE, epochs=1).wait()
    RUNS[job.job_id].leave_at_exit()
    assert job.status == "completed"
    assert caplog.records == []
