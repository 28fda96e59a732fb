"""A callback that acts on a run from within."""

from medfusion_jupyter.training import Callback


class At(Callback):
    """Calls `act(state)` once, after so many steps."""

    def __init__(self, step, act):
        self.step = step
        self.act = act

    def step_end(self, state):
        if state.step == self.step:
            self.act(state)
