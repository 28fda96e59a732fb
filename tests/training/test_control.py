"""Commands reach the training thread between batches."""

import threading

import pytest

from medfusion_jupyter.training.control import Abandoned, Control, Stopped


def obey(control, log):
    control.obey(lambda: log.append("paused"), lambda: log.append("resumed"))


def test_nothing_asked_nothing_done():
    control, log = Control(), []
    assert not control.attention
    obey(control, log)
    assert log == []


def test_stop_ends_it():
    control = Control()
    control.deliver("stop")
    assert control.attention
    with pytest.raises(Stopped):
        obey(control, [])


def test_pause_holds_until_resume():
    control, log = Control(), []
    control.deliver("pause")
    resting = threading.Event()
    thread = threading.Thread(target=lambda: control.obey(resting.set, lambda: log.append("resumed")))
    thread.start()
    assert resting.wait(10)
    assert log == []
    control.deliver("resume")
    thread.join(10)
    assert log == ["resumed"]
    assert not control.attention


def test_a_pause_taken_back_before_it_was_heard_is_no_pause():
    control, log = Control(), []
    control.deliver("pause")
    control.deliver("resume")
    obey(control, log)
    assert log == []


def test_a_stop_ends_a_pause():
    control = Control()
    control.deliver("pause")
    control.deliver("stop")
    with pytest.raises(Stopped):
        obey(control, [])


def test_a_run_that_was_replaced_does_not_count_as_stopped():
    control = Control()
    control.deliver("stop")
    control.abandon()
    with pytest.raises(Abandoned):
        obey(control, [])


def test_an_unknown_command_is_refused():
    with pytest.raises(ValueError, match="knows no command 'halt'"):
        Control().deliver("halt")
