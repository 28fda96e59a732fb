"""What each process of a shared run does about its parent, and what it says when it fails."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
import warnings
from typing import TextIO

from torch import distributed

from medfusion_jupyter.training.parallel.launch import SAID

log = logging.getLogger("medfusion")

PARENT_SECONDS = 0.5


def end_with(parent: int) -> None:
    """End this process, as by SIGTERM, when `parent` is gone: a killed kernel leaves none of its processes behind."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="medfusion-parent", daemon=True).start()


def speak() -> None:
    """Have the warnings of this process said in that of the run, which reads what is written here."""

    def say(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if "medfusion_jupyter" in filename:
            log.warning("%s", message)

    lines = logging.StreamHandler(sys.stdout)
    lines.setLevel(logging.WARNING)
    lines.setFormatter(_OneLine(f"{SAID}%(message)s"))
    log.addHandler(lines)
    warnings.showwarning = say


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", " ")


def report(error: BaseException) -> None:
    """Write what went wrong to the file that torchrun's agent reads. lost: only that another rank is gone."""
    said = str(error) or type(error).__name__
    lost = isinstance(error, distributed.DistError) or "gloo" in said
    with open(os.environ["TORCHELASTIC_ERROR_FILE"], "w", encoding="utf-8") as file:
        json.dump({"message": said, "timestamp": time.time(), "lost": lost}, file)
