"""The process between a run and its ranks: torchrun's agent, which starts them, and ends all of them when one has failed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from medfusion_jupyter.training.parallel.launch import FAILURES
from medfusion_jupyter.training.parallel.process import end_with


def main(job_id: str, run_token: str, kind: str, devices: str, parent: str, folder: str) -> int:
    """Work off a run; the answer is the exit code, and where it is not 0, FAILURES in `folder` says what became of whom."""
    end_with(int(parent))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=int(devices),
        run_id=run_token,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=folder),
    )
    rank = ["-m", "medfusion_jupyter.training.parallel.rank", job_id, run_token, kind, str(os.getpid())]
    try:
        elastic_launch(config, sys.executable)(*rank)
    except ChildFailedError as failed:
        said = [_in_json(rank, failure) for rank, failure in failed.failures.items()]
        (Path(folder) / FAILURES).write_text(json.dumps(said), encoding="utf-8")
        return 1
    return 0


def _in_json(rank: int, failure: ProcessFailure) -> dict[str, Any]:
    # a process that could say nothing has no file
    said = failure.error_file_data if Path(failure.error_file).is_file() else {}
    return {
        "rank": rank,
        "exit_code": failure.exitcode,
        "said": said.get("message"),
        "at": said.get("timestamp", failure.timestamp),
        "lost": said.get("lost", False),
    }


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
