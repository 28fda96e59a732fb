"""Trials for a learning rate and a batch size give a suggestion with its curve and leave nothing behind."""

import random
import re

import numpy as np
import pytest
import torch

import medfusion as mf
from medfusion_jupyter.training import ConfigError
from medfusion_jupyter.training.finders import _lr_search
from medfusion_jupyter.training.step import Step

SMALL = {"image_encoder": "light_cnn", "image_size": 16, "device": "cpu"}


def drawn():
    return random.random(), np.random.rand(), torch.rand(3).tolist()


@pytest.mark.parametrize("find", [mf.find_lr, mf.find_batch_size])
def test_nothing_is_left_behind(cohort, find, medfusion_home):
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = drawn()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    find(cohort, **SMALL)
    assert drawn() == expected
    assert len(mf.jobs()) == len(mf.models()) == 0
    assert not (medfusion_home / "jobs").exists()
    assert not (medfusion_home / "models").exists()
    assert torch.get_default_dtype() == torch.float32


def test_a_rate_is_found_at_which_the_model_learns(cohort):
    found = mf.find_lr(cohort, steps=60, min_lr=1e-6, max_lr=10, batch_size=16, **SMALL)
    assert 1e-5 < found.suggestion < 0.5
    assert list(found.data.columns) == ["lr", "loss", "smoothed"]
    rates = found.data["lr"]
    assert rates.iloc[0] == pytest.approx(1e-6)
    assert np.allclose(np.diff(np.log(rates)), np.log(1e7) / 59)
    assert np.isfinite(found.data).all(axis=None)
    assert found.suggestion in set(rates)
    assert mf.find_lr(cohort, steps=60, min_lr=1e-6, max_lr=10, batch_size=16, **SMALL).data.equals(found.data)


def test_the_suggestion_is_where_the_loss_falls_fastest():
    rates = np.geomspace(1e-6, 1, 200)
    fall = 1 / (1 + np.exp(4 * (np.log10(rates) + 3)))  # steepest at 1e-3
    noise = np.random.default_rng(0).normal(0, 0.02, 200)
    losses = 0.2 + fall + noise + 3 * (rates > 0.1)
    assert np.log10(_lr_search(list(zip(rates, losses, strict=True))).suggestion) == pytest.approx(-3, abs=0.3)


def test_a_loss_that_only_rises_gives_no_suggestion():
    rates = np.geomspace(1e-6, 1, 50)
    found = _lr_search(list(zip(rates, 1 + np.log(rates / 1e-6), strict=True)))
    assert found.suggestion is None
    assert "never fell" in repr(found)
    assert "never fell" in found._repr_html_()


def test_what_is_frozen_is_frozen_in_the_trial_too(cohort, monkeypatch):
    learning = []
    monkeypatch.setattr(Step, "update", lambda self: learning.append({p.grad is not None for p in self.parameters[:3]}))
    mf.find_lr(cohort, steps=10, freeze=["image_encoder"], **SMALL)
    assert learning[0] == {False}


def test_batch_sizes_double_to_the_whole_training_part(cohort):
    found = mf.find_batch_size(cohort, start=8, steps=2, **SMALL)
    rows = len(cohort.split().train)
    assert found.data["batch_size"].tolist() == [8, 16, 32, 64, rows]
    assert (found.largest, found.ended) == (rows, "all training rows are in one batch")
    assert found.suggestion in found.data["batch_size"].tolist()
    data = found.data
    best = data["seconds_per_sample"].min()
    good = data[data["seconds_per_sample"] <= 1.1 * best]
    assert found.suggestion == good["batch_size"].min()
    assert np.allclose(data["samples_per_second"], 1 / data["seconds_per_sample"])
    assert (data["memory_bytes"] > 0).all()


def test_it_ends_where_memory_does(cohort, monkeypatch):
    backward = Step.backward

    def full(self, batch, *more):
        if len(batch) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return backward(self, batch, *more)

    monkeypatch.setattr(Step, "backward", full)
    found = mf.find_batch_size(cohort, steps=1, **SMALL)
    assert (found.largest, found.ended) == (16, "no memory for 32")
    with pytest.raises(ConfigError, match="no memory for start=32 at image_size=16"):
        mf.find_batch_size(cohort, start=32, steps=1, **SMALL)


def test_on_a_cpu_it_ends_before_the_memory_of_the_machine_does(cohort, monkeypatch):
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": -1})())
    found = mf.find_batch_size(cohort, steps=1, **SMALL, max_batch_size=64)
    assert (found.largest, found.ended) == (8, "16 would need more memory than is free")


def test_another_error_is_not_taken_for_full_memory(cohort, monkeypatch):
    def broken(self, batch, *more):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(Step, "backward", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        mf.find_batch_size(cohort, steps=1, **SMALL)


@pytest.mark.parametrize("find", [mf.find_lr, mf.find_batch_size])
def test_the_view_is_a_picture_with_the_suggestion_and_in_the_range(cohort, find):
    found = find(cohort, **SMALL)
    page = found._repr_html_()
    assert "<svg" in page
    assert "stroke-dasharray" in page
    assert f"{found.suggestion:.2g}" in page or str(found.suggestion) in page
    points = [float(n) for group in re.findall(r"points='([^']+)'", page) for n in re.split(r"[ ,]", group)]
    assert min(points) >= 0
    assert max(points[::2]) <= 460
    assert max(points[1::2]) <= 220


@pytest.mark.parametrize(
    ("find", "settings", "words"),
    [
        (mf.find_lr, {"epoch": 3}, "Did you mean 'epochs'"),
        (mf.find_lr, {"min_lr": 1.0, "max_lr": 0.1}, "min_lr=1.0 and max_lr=0.1"),
        (mf.find_lr, {"steps": 3}, "steps=3 are too few"),
        (mf.find_batch_size, {"batch_size": 8}, "batch_size is what is looked for"),
        (mf.find_batch_size, {"start": 1}, "start=1"),
    ],
)
def test_bad_settings_are_named(cohort, find, settings, words):
    with pytest.raises(ConfigError, match=words):
        find(cohort, **{**SMALL, **settings})


def test_not_beside_a_job_that_trains_here(cohort, train):
    job = train(epochs=400, patience=None)
    with pytest.raises(ConfigError, match=f"{job.job_id} trains in this process"):
        mf.find_lr(cohort, **SMALL)
    job.stop()
    job.wait()
