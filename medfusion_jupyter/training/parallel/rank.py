"""One of the processes that share a run. torchrun's agent starts it as `python -m medfusion_jupyter.training.parallel.rank`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from medfusion_jupyter.store import home, open_store
from medfusion_jupyter.training.assembly import build_loop, build_state, callbacks_of
from medfusion_jupyter.training.callbacks import Callbacks
from medfusion_jupyter.training.checkpoints import read_checkpoint
from medfusion_jupyter.training.config import TrainingConfig
from medfusion_jupyter.training.control import Abandoned
from medfusion_jupyter.training.devices import computing, is_out_of_memory
from medfusion_jupyter.training.forking import begin_from, input_of
from medfusion_jupyter.training.generators import seed_all
from medfusion_jupyter.training.parallel.launch import RankFailed
from medfusion_jupyter.training.parallel.process import end_with, report, speak
from medfusion_jupyter.training.parallel.ranks import Ranks
from medfusion_jupyter.training.parallel.runs import FirstRank
from medfusion_jupyter.training.parallel.together import SharedControl, Together
from medfusion_jupyter.training.preparation import prepare
from medfusion_jupyter.training.run import reason_in_words, saved_split
from medfusion_jupyter.training.starting import split_of


def main(job_id: str, run_token: str, kind: str, parent: str) -> int:
    """Take part in a run; the answer is the exit code."""
    end_with(int(parent))
    try:
        with Ranks.joined(kind) as ranks:
            if ranks.leads:
                lead(ranks, job_id, run_token)
            else:
                follow(ranks, ranks.agreed())
    except Exception as error:
        report(error)
        return 1
    return 0


def lead(ranks: Ranks, job_id: str, run_token: str) -> None:
    """Go on with the run that a kernel has claimed, and end it in the store; raises where it failed."""
    speak()
    store = open_store()
    record = store.jobs.get(job_id)
    config = TrainingConfig.of(record.training_config)
    FirstRank(store, job_id, split_of(record), config, ranks=ranks, token=run_token).work()


def follow(ranks: Ranks, plan: dict[str, Any]) -> None:
    """Do as the first rank does. plan: what that one's `Run` tells the others."""
    config = TrainingConfig.of(plan["config"])
    checkpoint = None if plan["checkpoint"] is None else read_checkpoint(Path(plan["checkpoint"]))
    with computing(ranks.device, precision=config.precision, deterministic=config.deterministic):
        seed_all(config.seed)
        prepared = prepare(
            saved_split(Path(plan["folder"]), plan["fingerprint"]),
            config,
            device=ranks.device,
            cache_dir=home() / "cache" / "pixels",
            spec=None if checkpoint is None else input_of(checkpoint, config),
        )
        state = build_state(prepared, config, ranks.device, restored=checkpoint is not None)
        control = SharedControl(ranks)
        together = Together(ranks, control)
        callbacks = Callbacks([*callbacks_of(config, state), together])
        loop = build_loop(state, prepared, config, ranks.device, callbacks, control)
        together.take_part_in(loop)
        if checkpoint is not None:
            states = begin_from(checkpoint, state, config, plan["job_id"], completed=plan["completed"])
            callbacks.load_state_dicts(states)
        try:
            loop.run()
        except Abandoned:
            return
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise RankFailed(reason_in_words(error, config)) from error


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    if os.environ["RANK"] != "0":
        # nothing is left to do, and threads of collectives, whose other ends go too, can abort an interpreter that is torn down:
        # the first rank, which has the last word, would be ended with this one
        os._exit(code)
    sys.exit(code)
