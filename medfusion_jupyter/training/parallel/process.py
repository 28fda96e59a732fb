"""What each process of a shared run does about its parent, and what it says when it fails."""

from __future__ import annotations

import json
import os
import signal
import threading
import time

from torch import distributed

PARENT_SECONDS = 0.5


def end_with(parent: int) -> None:
    """End this process, as by SIGTERM, when `parent` is gone: a killed kernel leaves none of its processes behind."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="medfusion-parent", daemon=True).start()


def report(error: BaseException) -> None:
    """Write what went wrong to the file that torchrun's agent reads. lost: only that another rank is gone."""
    said = str(error) or type(error).__name__
    lost = isinstance(error, distributed.DistError) or "gloo" in said
    with open(os.environ["TORCHELASTIC_ERROR_FILE"], "w", encoding="utf-8") as file:
        json.dump({"message": said, "timestamp": time.time(), "lost": lost}, file)
