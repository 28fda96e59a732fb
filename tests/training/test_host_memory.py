"""What a run has freed on the host goes back to the system, at its start and ever more rarely in it."""

import sys

import psutil
import pytest
import torch

from medfusion_jupyter.training import host_memory
from medfusion_jupyter.training.callbacks import Callback

MB = 1_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="the system's allocator has no such function")
def test_what_lies_free_between_what_is_held_goes_back():
    process = psutil.Process()
    # too small to be mapped one by one, and freed in the midst of others
    blocks = [torch.ones(15_000) for _ in range(4000)]
    held = blocks[::50]
    del blocks
    before = process.memory_info().rss

    host_memory.give_back_freed()

    assert process.memory_info().rss < before - 150 * MB
    assert all(bool((one == 1).all()) for one in held)


def test_it_is_given_back_at_the_start_and_after_steps_ever_further_apart(train, monkeypatch):
    class Clock(Callback):
        step = 0

        def step_end(self, state):
            self.step = state.step

    clock, given = Clock(), []
    monkeypatch.setattr(host_memory, "give_back_freed", lambda: given.append(clock.step))

    job = train(callbacks=[clock], epochs=3).wait()

    # asked before the user's callback has heard of the step
    assert job.record.current_step >= 12
    assert given[:5] == [0, 0, 1, 3, 7]
    assert len(given) <= 6
