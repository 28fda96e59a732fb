"""Step time of a tiny image + table model with recording on, against a plain PyTorch loop and other trainers over a DataLoader.

Peers train the same model over the same DataLoader in a process of their own, all in one; the plain loop is run there too.
"""

import os
import tempfile
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MEDFUSION_HOME"] = tempfile.mkdtemp()
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from peer import Peer, interpreter_of, said, versions
from rounds import environment, interleave, report
from tiny_model import BATCH, NUMERIC, PIXELS, ROWS, SIDE, TARGET, arrays, model
from torch.utils.data import DataLoader, TensorDataset

from medfusion_jupyter.data.batches import BatchSource
from medfusion_jupyter.data.table_encoding import TableArrays
from medfusion_jupyter.store import open_store
from medfusion_jupyter.training.assembly import build_loop, build_state
from medfusion_jupyter.training.callbacks import Callbacks
from medfusion_jupyter.training.config import TrainingConfig
from medfusion_jupyter.training.control import Control
from medfusion_jupyter.training.input_spec import InputSpec
from medfusion_jupyter.training.optimizers import build_optimizer
from medfusion_jupyter.training.preparation import Prepared
from medfusion_jupyter.training.recorder import Recorder


class Pixels:
    """Decoded pixels in memory, as a pixel cache hands them out."""

    pixels = PIXELS
    slots = np.arange(ROWS)
    channels, size, max_value = 1, SIDE, 255


TABLE = TableArrays(
    numeric=NUMERIC,
    codes=np.zeros((ROWS, 0), dtype=np.int64),
    present=np.ones(ROWS, dtype=bool),
)


def plain(fused: bool):
    net = model()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=fused or None)
    present, codes = torch.ones(BATCH, 2, dtype=torch.bool), torch.zeros(BATCH, 0, dtype=torch.long)
    loader = DataLoader(TensorDataset(*arrays()), batch_size=BATCH, shuffle=True)

    def epoch() -> float:
        began = time.perf_counter()
        for x, t, y in loader:
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(net(x, t, codes, present, True), y).backward()
            optimizer.step()
        return time.perf_counter() - began

    return epoch


def source() -> BatchSource:
    return BatchSource(
        Pixels(),
        TABLE,
        TARGET,
        rows=np.arange(ROWS),
        batch_size=BATCH,
        device="cpu",
        mean=(0.5,),
        std=(0.25,),
        modalities=("image", "table"),
    )


CONFIG = TrainingConfig(image_encoder="tiny", fusion="concat", lr=1e-3, epochs=10**4, augment=False, precision="fp32")


def same_loop_by_hand():
    """The same batches and optimiser, which does not decay norms and biases, with nothing around them."""
    net, batches, epochs = model(), source(), iter(range(10**6))
    optimizer = build_optimizer(net, CONFIG)

    def epoch() -> float:
        began = time.perf_counter()
        for batch in batches.epoch((0, next(epochs)), None, None):
            optimizer.zero_grad(set_to_none=True)
            out = net(batch.images[0], batch.numeric, batch.codes, batch.present, True)
            F.cross_entropy(out, batch.target).backward()
            optimizer.step()
        return time.perf_counter() - began

    return epoch


def ours():
    store = open_store()
    record = store.jobs.create(
        name="benchmark",
        model_config={},
        data_config={},
        training_config={},
        total_epochs=10**4,
        watched_metric="val/loss",
    )
    store.jobs.claim(record.job_id, run_token="t", host="here", pid=os.getpid(), process_started=0.0, kernel_id=None)
    torch.manual_seed(1)
    spec = InputSpec({}, ("no", "yes"), ("image", "table"), SIDE, 1, (0.5,), (0.25,), None)
    prepared = Prepared(spec, model().architecture, source(), source(), TARGET, {})
    state = build_state(prepared, CONFIG, "cpu")
    recorder = Recorder(store, record.pk, record.job_id, "t", "cpu")
    store.writer.attach(lambda session: store.jobs.beat_in(session, record.pk, "t", recorder.progress()))
    loop = build_loop(state, prepared, CONFIG, "cpu", Callbacks([recorder]), Control())
    state.model.train()
    recorder.fit_start(state)

    def epoch() -> float:
        began = time.perf_counter()
        loop._lay_out_batches()
        for _ in range(len(loop.train)):
            loop._step()
        loop._read()
        state.finished_epochs += 1
        state.batch = 0
        return time.perf_counter() - began

    return epoch


PLAIN_THERE = "plain loop, in the process of the peers"
PEERS = {
    "lightning": {"Lightning, nothing but the trainer": "lightning_bare", "Lightning, as it comes": "lightning"},
    "pytorch-ignite": {"Ignite": "ignite"},
    "monai": {"MONAI": "monai"},
    "fastai": {"fastai, without its progress bar": "fastai"},
    "skorch": {"skorch": "skorch"},
}


def peers(found: dict[str, str | None]):
    """The trainers that are installed, by environment: one process each, with a plain loop in the first."""
    processes: dict[str, Peer] = {}
    contenders = {}
    here = Path(__file__).parent
    for package in filter(found.get, PEERS):
        if (interpreter := interpreter_of(package)) not in processes:
            process = processes[interpreter] = Peer("trainers.py", str(here), str(here.parent), package=package)
            contenders.setdefault(PLAIN_THERE, lambda process=process: process.ask(trainer="plain")["seconds"])
        for name, trainer in PEERS[package].items():
            contenders[name] = lambda process=processes[interpreter], trainer=trainer: process.ask(trainer=trainer)[
                "seconds"
            ]
    return contenders


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = versions(*PEERS)
    if found["pytorch-ignite"] is None:
        found["monai"] = None  # its trainer is one of Ignite's
    print(environment("torch"))
    print(f"\n{said(found)}", flush=True)
    contenders = {
        "plain loop, DataLoader, default AdamW": plain(fused=False),
        "plain loop, DataLoader, fused AdamW": plain(fused=True),
        "plain loop, our batches and AdamW": same_loop_by_hand(),
        "MedFusion, recording": ours(),
        **peers(found),
    }
    figures = interleave(contenders, rounds=25)
    report(
        f"An epoch of {ROWS // BATCH} steps",
        figures,
        against="plain loop, DataLoader, default AdamW",
        unit="ms",
        scale=1000,
    )
    if PLAIN_THERE in figures:
        there = {name for trainers in PEERS.values() for name in trainers} | {PLAIN_THERE}
        report(
            "The trainers, within their process",
            {name: values for name, values in figures.items() if name in there},
            against=PLAIN_THERE,
            unit="ms",
            scale=1000,
        )
    report(
        "The same loop by hand",
        {k: v for k, v in figures.items() if "our batches" in k or "MedFusion" in k},
        against="plain loop, our batches and AdamW",
        unit="ms",
        scale=1000,
    )
    open_store().close()
