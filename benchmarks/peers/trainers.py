"""Trainers over the model and the data of `step_time.py`. Arguments: folders to import from: the model's and the project's.

Each trains over the same DataLoader with PyTorch's default AdamW; nothing is validated, and an epoch's seconds are answered.
"""

import functools
import logging
import statistics
import sys
import tempfile
import time
import warnings

sys.path.extend(sys.argv[1:])
import torch
import torch.nn.functional as F
from answering import answer_all
from tiny_model import BATCH, ROWS, arrays, model
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
torch.set_num_threads(1)
STEPS = ROWS // BATCH
SCRATCH = tempfile.mkdtemp()


class Net(nn.Module):
    """The tiny model as a module of image and table alone."""

    def __init__(self):
        super().__init__()
        self.body = model()
        self.present, self.codes = torch.ones(BATCH, 2, dtype=torch.bool), torch.zeros(BATCH, 0, dtype=torch.long)

    def forward(self, image, table):
        return self.body(image, table, self.codes, self.present, True)


def batches():
    return DataLoader(TensorDataset(*arrays()), batch_size=BATCH, shuffle=True)


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=1e-3)


def timed(run):
    def measure():
        began = time.perf_counter()
        run()
        return time.perf_counter() - began

    return measure


def plain():
    net, loader = Net(), batches()
    optimizer = adamw(net.parameters())

    @timed
    def epoch():
        for x, t, y in loader:
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(net(x, t), y).backward()
            optimizer.step()

    return epoch


def lightning(**settings):
    import lightning as L

    class Module(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = Net()

        def training_step(self, batch, _):
            x, t, y = batch
            loss = F.cross_entropy(self.net(x, t), y)
            if not settings:
                self.log("train_loss", loss, prog_bar=True)
            return loss

        def configure_optimizers(self):
            return adamw(self.parameters())

    class Clock(L.Callback):
        def __init__(self):
            self.starts = []

        def on_train_epoch_start(self, trainer, module):
            self.starts.append(time.perf_counter())

    def epoch():
        clock = Clock()
        trainer = L.Trainer(
            max_epochs=4,
            accelerator="cpu",
            default_root_dir=SCRATCH,
            callbacks=[clock],
            enable_model_summary=False,
            **settings,
        )
        trainer.fit(Module(), batches())
        # from the start of an epoch to that of the next: what it does between epochs counts
        return statistics.median(b - a for a, b in zip(clock.starts[1:], clock.starts[2:], strict=False))

    return epoch


def ignite():
    from ignite.engine import create_supervised_trainer

    net, loader = Net(), batches()
    trainer = create_supervised_trainer(
        net, adamw(net.parameters()), F.cross_entropy,
        prepare_batch=lambda batch, device=None, non_blocking=False: ((batch[0], batch[1]), batch[2]),
        model_fn=lambda net, inputs: net(*inputs),
    )  # fmt: skip
    return timed(lambda: trainer.run(loader, max_epochs=1))


def monai():
    from monai.engines import SupervisedTrainer
    from monai.inferers import SimpleInferer

    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Net()

        def forward(self, inputs):
            return self.net(*inputs)

    net = Joined()
    trainer = SupervisedTrainer(
        device="cpu", max_epochs=1, train_data_loader=batches(), network=net, optimizer=adamw(net.parameters()),
        loss_function=F.cross_entropy, decollate=False, inferer=SimpleInferer(),
        prepare_batch=lambda batch, device=None, non_blocking=False, **more: ((batch[0], batch[1]), batch[2]),
    )  # fmt: skip

    @timed
    def epoch():
        trainer.state.max_epochs = trainer.state.epoch + 1
        trainer.run()

    return epoch


def fastai():
    from contextlib import ExitStack

    from fastai.callback.progress import ProgressCallback  # noqa: F401 (gives Learner its no_bar)
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper

    loaders = DataLoaders(batches(), batches(), device="cpu")
    learner = Learner(
        loaders, Net(), loss_func=F.cross_entropy, path=SCRATCH,
        opt_func=functools.partial(OptimWrapper, opt=torch.optim.AdamW),
    )  # fmt: skip
    learner._do_epoch_validate = lambda *a, **k: None
    train, seconds = learner._do_epoch_train, []

    def measured():
        began = time.perf_counter()
        train()
        seconds.append(time.perf_counter() - began)

    learner._do_epoch_train = measured

    def epoch():
        seconds.clear()
        with ExitStack() as stack:
            stack.enter_context(learner.no_logging())
            stack.enter_context(learner.no_bar())
            learner.fit(2, lr=1e-3)
        return seconds[-1]

    return epoch


def skorch():
    from skorch import NeuralNetClassifier

    image, table, target = arrays()

    class Named(Dataset):
        def __len__(self):
            return ROWS

        def __getitem__(self, k):
            return {"image": image[k], "table": table[k]}, target[k]

    trainer = NeuralNetClassifier(
        Net, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.AdamW, lr=1e-3, batch_size=BATCH, max_epochs=1,
        iterator_train__shuffle=True, train_split=None, verbose=0, classes=[0, 1], callbacks__valid_acc=None,
    )  # fmt: skip
    trainer.initialize()
    data = Named()
    return timed(lambda: trainer.partial_fit(data, None))


TRAINERS = {
    "plain": plain,
    "lightning_bare": lambda: lightning(logger=False, enable_checkpointing=False, enable_progress_bar=False),
    "lightning": lightning,
    "ignite": ignite,
    "monai": monai,
    "fastai": fastai,
    "skorch": skorch,
}
make = functools.cache(lambda name: TRAINERS[name]())
answer_all(lambda trainer: {"seconds": make(trainer)()})
