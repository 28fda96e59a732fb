"""A checkpoint is there whole or not at all, and gives back exactly what it was given."""

import errno
import os
import threading

import pytest
import torch
from patience import wait_for

from medfusion_jupyter.training import CheckpointError, checkpoints
from medfusion_jupyter.training.checkpoints import (
    CheckpointWriter,
    load_optimizer_tensors,
    optimizer_tensors,
    read_checkpoint,
    write_checkpoint,
)


def test_what_is_read_is_what_was_written(tmp_path):
    tensors = {"model/a": torch.randn(3, 4), "model/n": torch.tensor(7), "generator/torch": torch.get_rng_state()}
    write_checkpoint(tmp_path / "one.safetensors", tensors, {"epoch": 3})
    back = read_checkpoint(tmp_path / "one.safetensors")
    assert back.description["epoch"] == 3
    assert back.tensors.keys() == tensors.keys()
    assert all(torch.equal(back.tensors[name], tensors[name]) for name in tensors)
    assert back.section("model").keys() == {"a", "n"}
    assert read_checkpoint(back.path, sections=("model", "ema")).tensors.keys() == {"model/a", "model/n"}


def test_the_snapshot_is_of_the_moment_of_the_call(tmp_path):
    writer, weight, sizes = CheckpointWriter(), torch.zeros(1000), []
    writer.save(tmp_path / "a.safetensors", {"model/w": weight}, {}, sizes.append)
    weight.fill_(1)
    writer.save(tmp_path / "b.safetensors", {"model/w": weight}, {}, sizes.append)
    weight.fill_(2)
    writer.wait()
    assert read_checkpoint(tmp_path / "a.safetensors").tensors["model/w"].sum() == 0
    assert read_checkpoint(tmp_path / "b.safetensors").tensors["model/w"].sum() == 1000
    assert sizes == [os.path.getsize(tmp_path / name) for name in ("a.safetensors", "b.safetensors")]


class Gate:
    """Holds the writing of files, once begun, until it is opened; the first `failures` of them find a full disk."""

    def __init__(self, monkeypatch, failures=0):
        self.begun, self.open, self.failures = threading.Event(), threading.Event(), failures
        self._save = checkpoints.save_file
        monkeypatch.setattr(checkpoints, "save_file", self)

    def __call__(self, tensors, path, metadata):
        self.begun.set()
        assert self.open.wait(60)
        if self.failures:
            self.failures -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._save(tensors, path, metadata=metadata)


def zeros_then_ones(writer, path, gate, *, resting=("model/w",)):
    """Save a weight of zeros, and make it one of ones as soon as that is allowed; gives what was told of the file."""
    weight, sizes = torch.zeros(1000), []

    def change():
        writer.let_change()
        weight.fill_(1)

    writer.save(path, {"model/w": weight, "model/statistic": torch.zeros(1)}, {}, sizes.append, resting)
    step = threading.Thread(target=change)
    step.start()
    assert gate.begun.wait(60)
    if not resting:
        step.join(60)  # it need not wait for the file
    gate.open.set()
    step.join(60)
    assert weight.sum() == 1000
    return sizes


@pytest.mark.parametrize("resting", [["model/w"], []], ids=["resting", "copied"])
def test_what_is_changed_while_a_file_is_being_written_is_not_changed_in_it(tmp_path, monkeypatch, resting):
    path, writer = tmp_path / "a.safetensors", CheckpointWriter()
    sizes = zeros_then_ones(writer, path, Gate(monkeypatch), resting=resting)
    writer.wait()
    assert read_checkpoint(path).tensors["model/w"].sum() == 0
    assert sizes == [path.stat().st_size]


def test_what_rests_is_copied_where_steps_are_too_short_to_write_in(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "LONGEST_WAIT", -1)
    path, writer = tmp_path / "a.safetensors", CheckpointWriter()
    zeros_then_ones(writer, path, Gate(monkeypatch))
    writer.wait()
    gate, weight = Gate(monkeypatch), torch.zeros(1000)
    writer.save(path, {"model/w": weight}, {}, lambda size: None, ["model/w"])
    assert gate.begun.wait(60)
    writer.let_change()  # although the file waits
    weight.fill_(1)
    gate.open.set()
    writer.wait()
    assert read_checkpoint(path).tensors["model/w"].sum() == 0


def test_a_disk_that_was_full_gets_what_rested_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "RETRY_SECONDS", 0.02)
    said = []
    path, writer = tmp_path / "a.safetensors", CheckpointWriter(on_failure=said.append)
    sizes = zeros_then_ones(writer, path, Gate(monkeypatch, failures=3))
    wait_for(lambda: sizes, "it was not tried again")
    writer.wait()
    assert read_checkpoint(path).tensors["model/w"].sum() == 0
    assert len(said) == 1


def test_a_disk_that_fails_when_all_was_handed_over_costs_that_checkpoint(tmp_path, monkeypatch):
    def full(fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    said = []
    path, writer = tmp_path / "a.safetensors", CheckpointWriter(on_failure=said.append)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        zeros_then_ones(writer, path, Gate(patch))
        with pytest.raises(CheckpointError, match="No space left"):
            writer.wait()
    assert len(said) == 1
    assert list(tmp_path.iterdir()) == []
    writer.save(path, {"model/w": torch.ones(3)}, {}, lambda size: None, ["model/w"])
    writer.wait()
    assert torch.equal(read_checkpoint(path).tensors["model/w"], torch.ones(3))


def test_weights_that_share_memory_or_lie_otherwise_are_written_too(tmp_path):
    weight, path, writer = torch.arange(12.0).reshape(3, 4), tmp_path / "a.safetensors", CheckpointWriter()
    tensors = {
        "model/a": weight,
        "model/b": weight,
        "model/turned": weight.T,
        "model/row": weight[1],
        "model/none": weight[:0],
    }
    writer.save(path, tensors, {}, lambda size: None, list(tensors))
    writer.wait()
    back = read_checkpoint(path).tensors
    assert all(torch.equal(back[name], tensor) for name, tensor in tensors.items())


def test_a_full_disk_is_said_and_the_one_before_is_kept(tmp_path, monkeypatch):
    path = tmp_path / "one.safetensors"
    write_checkpoint(path, {"model/w": torch.zeros(3)}, {})

    def full(fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    writer = CheckpointWriter()
    writer.save(path, {"model/w": torch.ones(3)}, {}, lambda size: pytest.fail("it was not written"))
    with pytest.raises(CheckpointError, match=r"No space left on device.*MB are free.*MEDFUSION_HOME"):
        writer.wait()
    assert torch.equal(read_checkpoint(path).tensors["model/w"], torch.zeros(3))
    assert [p.name for p in tmp_path.iterdir()] == ["one.safetensors"]


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_file_cut_short_is_refused(tmp_path, kept):
    path = tmp_path / "one.safetensors"
    write_checkpoint(path, {"model/w": torch.ones(300)}, {})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(path)


def test_a_pickle_is_not_loaded(tmp_path):
    torch.save({"w": torch.ones(3)}, tmp_path / "one.safetensors")
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "one.safetensors")


def test_an_optimiser_goes_on_as_if_nothing_had_been(tmp_path):
    def make():
        torch.manual_seed(0)
        layer = torch.nn.Linear(4, 2)
        return layer, torch.optim.AdamW([{"params": [layer.weight]}, {"params": [layer.bias]}], lr=0.1, fused=True)

    def step(layer, optimizer, x):
        layer(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    x = torch.randn(8, 4)
    (one, first), (other, second) = make(), make()
    for _ in range(3):
        step(one, first, x)
    other.load_state_dict(one.state_dict())
    load_optimizer_tensors(second, {k: v.clone() for k, v in optimizer_tensors(first).items()})
    step(one, first, x)
    step(other, second, x)
    assert torch.equal(one.weight, other.weight)
    assert torch.equal(one.bias, other.bias)
