"""Waiting for what goes on in the background, in whatever kind of handle."""

import asyncio
import threading

import pytest

from medfusion_jupyter.evaluation.ablation import Ablation
from medfusion_jupyter.training import Job
from medfusion_jupyter.training.waiting import Awaited, Progress
from medfusion_jupyter.workflows.workflow_run import WorkflowRun


class Thing(Awaited):
    """Ends after so many looks."""

    def __init__(self, looks, failed=None, end=None):
        self.left, self.failed, self.end = looks, failed, end

    def _progress(self):
        self.left -= 1
        return Progress(0.5, f"{self.left} left", "thing is running", self.left == 0, self.failed)

    def _end(self):
        return self.end


def test_it_shows_the_progress_and_gives_the_handle_itself(capsys):
    thing = Thing(3)
    assert thing.wait() is thing
    shown = capsys.readouterr().out
    assert "50%" in shown
    assert "0 left" in shown

    async def awaited():
        return await again

    again = Thing(2)
    assert asyncio.run(awaited()) is again


def test_a_failure_is_raised_when_it_has_ended():
    with pytest.raises(KeyError, match="why"):
        Thing(2, KeyError("why")).wait()


def test_after_the_time_it_says_that_it_goes_on():
    with pytest.raises(TimeoutError, match="thing is running after 0.1 s; it goes on in the background"):
        Thing(10**6).wait(timeout=0.1)


def test_an_interrupt_ends_the_waiting_and_its_line_and_nothing_else(capsys):
    class Interrupted(threading.Event):
        def wait(self, timeout=None):
            raise KeyboardInterrupt

    thing = Thing(5, end=Interrupted())
    with pytest.raises(KeyboardInterrupt):
        thing.wait()
    assert capsys.readouterr().out.endswith("\n")
    thing.end = None
    assert thing.wait() is thing


@pytest.mark.parametrize("handle", [Job, WorkflowRun, Ablation])
def test_every_handle_is_waited_for_alike(handle):
    assert (handle.wait, handle.__await__) == (Awaited.wait, Awaited.__await__)
