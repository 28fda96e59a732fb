"""A checkpoint is there whole or not at all, and gives back exactly what it was given."""

import errno
import os

import pytest
import torch

from medfusion_jupyter.training import CheckpointError
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
