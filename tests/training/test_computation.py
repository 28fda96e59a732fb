"""Precision, memory layout, recomputation, compilation and determinism: what is asked for is what happens."""

import dataclasses
import os
import random
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from medfusion_jupyter.nn import image_encoders
from medfusion_jupyter.training import Callback, ConfigError, JobFailed, TrainingConfig
from medfusion_jupyter.training.devices import autocast, computing
from medfusion_jupyter.training.generators import generators_as_they_are


def first_outputs(loop):
    """dtype and layout of what passes the first layer of the image encoder in training."""
    seen = []
    layer = next(module for module in loop.state.model.modules() if isinstance(module, torch.nn.Conv2d))
    hook = layer.register_forward_hook(lambda module, given, out: seen.append((out, given[0])))
    loop.run()
    hook.remove()
    return seen[0]


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("auto", torch.float32), ("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_layers_compute_in_the_precision_that_was_asked_for(loop_of, precision, dtype):
    loop = loop_of(epochs=1, precision=precision)
    out, _ = first_outputs(loop)
    assert out.dtype == dtype
    assert all(parameter.dtype == torch.float32 for parameter in loop.state.model.parameters())
    assert (loop.state.scaler is not None) == (precision == "fp16")
    if loop.state.scaler is not None:
        assert loop.state.scaler.get_scale() > 1


def test_a_step_whose_scaled_gradients_overflow_is_left_out_and_the_scale_halved(loop_of):
    loop = loop_of(epochs=1, precision="fp16", image_encoder=None)
    loop.state.scaler.load_state_dict({**loop.state.scaler.state_dict(), "scale": 2.0**60})
    before = [parameter.detach().clone() for parameter in loop.state.model.parameters()]
    loop._lay_out_batches()
    loop._step()
    assert all(torch.equal(a, b) for a, b in zip(before, loop.state.model.parameters(), strict=True))
    assert loop.state.scaler.get_scale() == 2.0**59


def test_tf32_is_refused_where_there_is_no_gpu(train):
    with pytest.raises(JobFailed, match="precision='tf32' is of GPUs"):
        train(precision="tf32").wait()


def test_switches_of_the_process_hold_for_the_run_alone(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.get_float32_matmul_precision()
    with computing("cuda:0", precision="tf32", deterministic=True):
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.allow_tf32
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    with computing("cpu", precision="fp32", deterministic=False):
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == before
    assert torch.backends.cudnn.allow_tf32
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_gpu_of_a_run_is_the_current_one_for_its_generator_is_that_of_a_checkpoint(monkeypatch):
    """As on a machine with two GPUs, of which the second was chosen."""
    now = [None]

    @contextmanager
    def current(device):
        now.append(device)
        yield
        now.pop()

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device", current)
    with computing("cuda:1", precision="auto", deterministic=False):
        assert now == [None, "cuda:1"]
        # a later run of this process may be deterministic, and cuBLAS is asked for it once
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert now == [None]
    with computing("cpu", precision="auto", deterministic=False):
        assert now == [None]


@pytest.mark.parametrize("native", [True, False])
def test_auto_takes_bf16_where_a_gpu_computes_in_it_and_not_where_it_only_imitates_it(monkeypatch, native):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    assert isinstance(autocast("cuda:0", "auto"), torch.autocast) == native


def test_generators_go_back_to_where_they_were():
    put_back = generators_as_they_are()
    first = [draw() for draw in DRAWS]
    assert [draw() for draw in DRAWS] != first
    put_back()
    assert [draw() for draw in DRAWS] == first


DRAWS = [lambda: float(torch.rand(())), random.random, lambda: random.gauss(0, 1), np.random.random, np.random.normal]


def test_a_deterministic_job_is_one(train):
    class Look(Callback):
        def step_end(self, state):
            self.seen = torch.are_deterministic_algorithms_enabled()

    look = Look()
    train(deterministic=True, callbacks=[look]).wait()
    assert look.seen
    assert not torch.are_deterministic_algorithms_enabled()


def test_images_and_weights_are_laid_out_with_the_channels_last(loop_of):
    loop = loop_of(epochs=1, channels_last=True)
    out, _ = first_outputs(loop)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert not out.is_contiguous()
    # images of one channel have both layouts at once
    batch = next(iter(loop.train.epoch((0, 0), None, None)))
    given = []
    loop.step.forward = lambda images, *rest: given.extend(images) or torch.zeros(len(batch), 2, requires_grad=True)
    loop.step.backward(dataclasses.replace(batch, images=(torch.zeros(len(batch), 3, 16, 16),)))
    assert given[0].is_contiguous(memory_format=torch.channels_last)
    plain = loop_of(epochs=1)
    plain.run()
    for (name, a), b in zip(
        loop.state.model.state_dict().items(), plain.state.model.state_dict().values(), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-3), name


def test_an_encoder_that_cannot_recompute_is_refused():
    class Whole(image_encoders("light_cnn")):
        recomputes = False

    image_encoders.register("whole")(Whole)
    try:
        with pytest.raises(ConfigError, match="the image encoder 'whole' does not allow it"):
            TrainingConfig.of({"image_encoder": "whole", "gradient_checkpointing": True})
    finally:
        del image_encoders._builders["whole"]


def test_a_compiled_model_learns_as_the_plain_one_does(loop_of):
    loops = [loop_of(epochs=1, image_encoder=None, compile=compiled) for compiled in (False, True)]
    for loop in loops:
        for module in loop.state.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        loop.run()
    assert isinstance(loops[1].step.forward, torch._dynamo.OptimizedModule)
    states = [loop.state.model.state_dict() for loop in loops]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.allclose(value, states[1][name], atol=1e-4), name
