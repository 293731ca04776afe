"""Waiting for what is to happen, rather than for a time."""

import time

# Long enough for a machine that is busy with other things: a test that waits
# this long has failed.
PATIENCE = 60.0
PAUSE = 0.02


def wait_for(happened, what, timeout=PATIENCE):
    """Calls happened() until it answers something true, and returns that."""
    deadline = time.monotonic() + timeout
    while True:
        answer = happened()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(PAUSE)
