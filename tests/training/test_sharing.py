"""Two processes that share each batch train what one process trains with the same batches."""

import threading
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributed, multiprocessing, nn

import medfusion as mf
from medfusion_jupyter.data.batch_rows import rows_of_share
from medfusion_jupyter.training import Callback
from medfusion_jupyter.training.assembly import build_loop, build_state, callbacks_of
from medfusion_jupyter.training.callbacks import Callbacks
from medfusion_jupyter.training.checkpoints import read_checkpoint, write_checkpoint
from medfusion_jupyter.training.config import TrainingConfig
from medfusion_jupyter.training.control import Control
from medfusion_jupyter.training.generators import seed_all
from medfusion_jupyter.training.parallel.ranks import Ranks
from medfusion_jupyter.training.parallel.together import SharedControl, Together
from medfusion_jupyter.training.preparation import prepare
from medfusion_jupyter.training.state import restore

# 71 rows in the training part: batches of 15 in shares of 7 and 8, and a last one of 11
BASIS = {
    "image_encoder": "light_cnn",
    "image_size": 16,
    "batch_size": 15,
    "lr": 0.05,
    "optimizer": "sgd",
    "epochs": 3,
    "device": "cpu",
    "patience": None,
}
SETTINGS = {
    "as they come": {},
    "a last batch of three rows, which each takes whole": {"batch_size": 17},
    "classes that weigh": {"class_weights": "balanced", "label_smoothing": 0.1, "optimizer": "adamw", "lr": 1e-3},
    "accumulated and clipped": {"accumulate_grad_batches": 2, "gradient_clip_val": 0.05, "class_weights": [1.0, 3.0]},
    "mixed": {"mixup": 0.4, "cutmix": 1.0, "class_weights": [1.0, 3.0]},
    "drawn with replacement, averaged, on a plateau": {
        "sampler": "balanced",
        "ema_decay": 0.9,
        "schedule": "plateau",
        "plateau_patience": 0,
        "plateau_threshold": 10.0,
    },
    "unfrozen on the way": {"freeze": ["image_encoder", "head"], "unfreeze_epoch": {"image_encoder": 2, "head": 3}},
    "with gradients that are scaled": {"precision": "fp16", "image_encoder": None},
    "of a loss that is no mean over rows": {"target": mf.Ordinal("lesion", classes=["no", "yes"]), "fusion": "concat"},
    "of several targets that not every row knows": {
        "target": {"lesion": "lesion", "death": mf.Survival("days", "event")},
        "class_weights": {"lesion": "balanced"},
        "label_smoothing": 0.1,
        "lr": 0.01,
    },
    "recomputed": {"gradient_checkpointing": True, "channels_last": True},
    "stopped early": {"patience": 1, "min_delta": 1.0, "epochs": 9},
}


class Seen(Callback):
    """What is told of a run."""

    def __init__(self):
        self.losses_of_steps = []
        self.rows = []

    def losses(self, state):
        self.losses_of_steps += [loss for _, loss, _ in state.read_losses]

    def epoch_end(self, state):
        self.rows.append({name: value for name, value in state.row.items() if name != "seconds"})


def loop_over(cohort, folder, ranks=None, callbacks=(), as_it_is=False, target=None, **settings):
    """as_it_is: with dropout, which each process draws for itself, and batch norm, which knows the rows of its share alone."""
    config = TrainingConfig.of({**BASIS, **settings})
    if target is not None:
        row = np.arange(len(cohort))
        followed = cohort.frame.assign(
            days=np.where(row % 7, 5.0 + row % 40, np.nan), event=np.where(row % 7, row % 2, np.nan)
        )
        cohort = mf.Cohort(followed, **{**cohort.roles(), "target": target})
    seed_all(config.seed)
    prepared = prepare(cohort.split(test=0.2, val=0.2, seed=0), config, device="cpu", cache_dir=folder)
    state = build_state(prepared, config, "cpu")
    for module in () if as_it_is else state.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            module.train = lambda mode=True, module=module: module
    control = Control() if ranks is None else SharedControl(ranks)
    together = [] if ranks is None else [Together(ranks, control)]
    seen = Seen()
    callbacks = Callbacks([*callbacks_of(config, state), seen, *callbacks, *together])
    loop = build_loop(state, prepared, config, "cpu", callbacks, control)
    for one in together:
        one.take_part_in(loop)
    return loop, seen


def result_of(loop, seen):
    loop.run()
    return {"weights": dict(loop.state.judged.state_dict()), "losses": seen.losses_of_steps, "rows": seen.rows}


def in_one_process(rank, size, folder, cohort):
    """What each of the processes runs; what it found is in a file."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size)
    ranks = Ranks("cpu")
    found = {name: result_of(*loop_over(cohort, folder, ranks, **settings)) for name, settings in SETTINGS.items()}
    found["few images"] = result_of(*loop_over(few_images(cohort), folder, ranks, batch_size=6))
    found["straight"], found["resumed"] = straight_and_cut(ranks, folder, cohort)
    found["heard"] = heard(ranks, folder, cohort)
    torch.save(found, folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The cohort, a folder, and what each of two processes found: all in one go, for they take seconds to begin."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDFUSION_HOME", str(folder / "home"))
        cohort = mf.synthetic_cohort(n=120, seed=0, image_size=16)
    multiprocessing.spawn(in_one_process, (2, folder, cohort), nprocs=2)
    return cohort, folder, [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def few_images(cohort):
    """The same cohort where one row in five has an image, so that a share has none, or a whole batch."""
    table = cohort.frame.copy()
    table.loc[table.index % 5 > 0, cohort.image] = None
    with warnings.catch_warnings(action="ignore"):
        return mf.Cohort(table, **{**cohort.roles(), "image_root": cohort.image_root})


def same_within_tolerance(one, other):
    assert len(one["losses"]) == len(other["losses"]) > 0
    assert one["losses"] == pytest.approx(other["losses"], rel=1e-4)
    for ours, theirs in zip(one["rows"], other["rows"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    for name, tensor in one["weights"].items():
        torch.testing.assert_close(tensor, other["weights"][name], rtol=1e-4, atol=1e-5)


def same_bits(one, other):
    assert one.keys() == other.keys()
    assert not [name for name, tensor in one.items() if not torch.equal(tensor, other[name])]


@pytest.mark.parametrize("name", SETTINGS)
def test_two_processes_train_what_one_trains(shared, name):
    cohort, folder, (first, second) = shared
    same_within_tolerance(first[name], result_of(*loop_over(cohort, folder, **SETTINGS[name])))
    same_bits(first[name]["weights"], second[name]["weights"])


def test_a_process_whose_rows_have_no_image_learns_the_same(shared):
    cohort, folder, (first, _) = shared
    same_within_tolerance(first["few images"], result_of(*loop_over(few_images(cohort), folder, batch_size=6)))


class CutAt(Callback):
    essential = True

    def __init__(self, step):
        self.step = step

    def step_end(self, state):
        if state.step == self.step:
            raise Cut


class Cut(Exception):
    pass


def straight_and_cut(ranks, folder, cohort):
    """With dropout and batch norm: a run, and another that is cut off and goes on from what the first process saved of it."""
    settings = {"as_it_is": True, "ema_decay": 0.9, "optimizer": "adamw", "lr": 1e-3}
    straight = result_of(*loop_over(cohort, folder, ranks, **settings))
    loop, _ = loop_over(cohort, folder, ranks, callbacks=[CutAt(7)], **settings)
    with pytest.raises(Cut):
        loop.run()
    if ranks.leads:
        write_checkpoint(folder / "cut.safetensors", *loop.snapshot())
    distributed.barrier()
    again, seen = loop_over(cohort, folder, ranks, **settings)
    again.callbacks.load_state_dicts(restore(read_checkpoint(folder / "cut.safetensors"), again.state))
    resumed = result_of(again, seen)
    return straight, resumed


def test_what_the_first_process_saved_goes_on_to_the_same_bits(shared):
    cohort, folder, (first, _) = shared
    same_bits(first["straight"]["weights"], first["resumed"]["weights"])
    assert first["straight"]["rows"][1:] == first["resumed"]["rows"]
    # and with another number of processes it goes on too
    alone, seen = loop_over(cohort, folder, as_it_is=True, ema_decay=0.9, optimizer="adamw", lr=1e-3)
    alone.callbacks.load_state_dicts(restore(read_checkpoint(folder / "cut.safetensors"), alone.state))
    assert [row.keys() for row in result_of(alone, seen)["rows"]] == [row.keys() for row in first["resumed"]["rows"]]


class Watch(Callback):
    """When what was heard, and on the first process who speaks."""

    essential = True

    def __init__(self, ranks):
        self.ranks = ranks
        self.control = None
        self.seen = []

    def step_end(self, state):
        if self.ranks.leads and state.step == 2:
            self.control.deliver("pause")
            self.control.deliver("set", {"lr": 0.01, "epochs": 9})
            self.control.deliver("checkpoint")
        if self.ranks.leads and state.step == 8:
            self.control.deliver("stop")
        if not self.ranks.leads and state.step == 4:
            state.finish_early = True  # its own clock: only the first one's counts

    def paused(self, state):
        self.seen.append(("paused", state.step))
        if self.ranks.leads:
            threading.Timer(0.2, lambda: self.control.deliver("resume")).start()

    def resumed(self, state):
        self.seen.append(("resumed", state.step))

    def changed(self, state):
        self.seen.append(("changed", state.step, state.changes))

    def checkpoint_wanted(self, state):
        self.seen.append(("checkpoint", state.step))

    def fit_end(self, state):
        self.seen.append(("stopped" if state.stopped else "ended", state.step, state.epochs))


def heard(ranks, folder, cohort):
    watch = Watch(ranks)
    loop, _ = loop_over(cohort, folder, ranks, callbacks=[watch], image_encoder=None)
    watch.control = loop.control
    loop.run()
    return [list(one) for one in watch.seen]


def test_what_the_first_process_hears_takes_effect_on_all_at_the_same_batch(shared):
    _, _, (first, second) = shared
    assert first["heard"] == second["heard"]
    assert first["heard"] == [
        ["checkpoint", 2],  # a pause is saved
        ["paused", 2],
        ["resumed", 2],
        ["changed", 2, {"lr": 0.01, "epochs": 9}],
        ["checkpoint", 2],
        ["stopped", 8, 9],
    ]


@given(st.integers(1, 400), st.integers(1, 9))
def test_shares_are_like_and_leave_no_row_out(count, shares):
    parts = [list(range(count))[rows_of_share(count, number, shares)] for number in range(shares)]
    if count < 2 * shares:
        assert parts == [list(range(count))] * shares
    else:
        assert [row for part in parts for row in part] == list(range(count))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        assert min(map(len, parts)) >= 2
