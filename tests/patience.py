"""Waiting for what other threads and processes do: for as long as it takes, within reason."""

import time


def wait_for(condition, what, seconds=90):
    """What `condition()` gives as soon as it is true; what: the words, or a function that gives them, where it stays false."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, what() if callable(what) else what
        time.sleep(0.02)
    return found
